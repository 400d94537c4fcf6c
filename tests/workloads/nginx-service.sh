#!/bin/sh
# A host's own nginx, started as a service would be: in a cgroup of its unit, with a master, a worker and a cache manager.
# nginx-service.sh install | start
set -e
debian=/workloads/debian
case $1 in
install)
    # Programs and libraries of the Debian tree, at the paths that Debian has them at.
    cp "$debian/usr/sbin/nginx" /usr/sbin/nginx
    for library in $(ldd "$debian/usr/sbin/nginx" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p'); do
        [ -e "$library" ] || cp -L "$debian$library" "$library"
    done
    mkdir -p /etc/nginx /var/log/nginx /var/lib/nginx /var/cache/nginx
    cat > /etc/nginx/service.conf <<'CONF'
user root;
worker_processes 1;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events { worker_connections 64; }
http {
    access_log off;
    keepalive_timeout 3600;
    client_body_temp_path /var/lib/nginx/body;
    proxy_temp_path /var/lib/nginx/proxy;
    fastcgi_temp_path /var/lib/nginx/fastcgi;
    uwsgi_temp_path /var/lib/nginx/uwsgi;
    scgi_temp_path /var/lib/nginx/scgi;
    proxy_cache_path /var/cache/nginx keys_zone=one:1m loader_threshold=1ms;
    server {
        listen 8080;
        location = /ping { return 200 "pong $pid\n"; }
    }
}
CONF
    ;;
start)
    mkdir -p /sys/fs/cgroup/pids/system.slice/nginx.service
    sh -c 'echo $$ > /sys/fs/cgroup/pids/system.slice/nginx.service/cgroup.procs
        exec /usr/sbin/nginx -c /etc/nginx/service.conf' </dev/null >/dev/null 2>&1
    ;;
esac
