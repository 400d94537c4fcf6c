//! Real services move: redis with a client connected all the while, nginx with workers, postgres in a transaction.

use crate::container::{start, status};
use crate::support::{Cgroup, Host, Hosts, Tree, possible};

const ADDRESS: &str = "10.77.0.50/24";
const MAC: &str = "02:77:00:00:01:50";

fn three() -> Hosts {
    Hosts::with(Cgroup::V1, Tree::Criu42, &["a", "b", "c"])
}

/// Moves a container whose network namespace has the name of the container and an address on the hosts' network.
fn move_connected(a: Host<'_>, b: Host<'_>, name: &str, import: &str) {
    a.run(&format!(
        "ckpt export {name} -o /data/{name}.tar.zst --tcp-established\n\
         /opt/workloads/mknetns --delete {name}; scp -q /data/{name}.tar.zst b:/data/"
    ));
    // Plugged in only afterwards: before its sockets are back, the kernel would answer the client with a reset.
    b.run(&format!(
        "/opt/workloads/mknetns --unplugged {name} {ADDRESS} {MAC}\n\
         ckpt import /data/{name}.tar.zst --name {name}-2 --bundle /data/there --netns /run/netns/{name} {import}\n\
         /opt/workloads/mknetns --plug {name}"
    ));
    assert_eq!(status(b, "runc", &format!("{name}-2")), "running");
}

fn redis_moves(import: &str) {
    if !possible() {
        return;
    }
    let hosts = three();
    let (a, b, c) = (hosts.host("a"), hosts.host("b"), hosts.host("c"));
    a.run(&format!("/opt/workloads/mknetns redis {ADDRESS} {MAC}"));
    let options = "--base debian --rootfs overlay --netns /run/netns/redis";
    start(a, "runc", "redis", options, "redis-server /opt/workloads/redis.conf");
    c.wait_until("python3 /opt/workloads/redis-client.py 10.77.0.50 load 1");
    c.run("python3 /opt/workloads/redis-client.py 10.77.0.50 load 100000");
    let mut client = c.spawn("exec python3 /opt/workloads/redis-client.py 10.77.0.50 steady /data/steady");
    c.wait_until("[ $(wc -l < /data/steady) -gt 5 ]");
    move_connected(a, b, "redis", &format!("--root /workloads/debian {import}"));
    let before = c.run("wc -l < /data/steady");
    c.wait_until(&format!("[ $(wc -l < /data/steady) -gt $(({before} + 20)) ]"));
    c.run("! grep FAIL /data/steady; awk '$1 != NR { exit 1 }' /data/steady");
    assert_eq!(
        c.run("python3 /opt/workloads/redis-client.py 10.77.0.50 check 100000"),
        "100000"
    );
    client.kill().expect("the client is still there");
    let _ = client.wait();
}

#[test]
fn redis_keeps_its_keys_and_its_client() {
    redis_moves("");
}

#[test]
fn redis_keeps_its_keys_and_its_client_while_its_memory_follows() {
    redis_moves("--lazy --detach");
}

#[test]
fn nginx_goes_on_with_its_workers_and_its_connection() {
    if !possible() {
        return;
    }
    let hosts = three();
    let (a, b, c) = (hosts.host("a"), hosts.host("b"), hosts.host("c"));
    a.run(&format!("/opt/workloads/mknetns nginx {ADDRESS} {MAC}"));
    let options = "--base debian --rootfs overlay --netns /run/netns/nginx";
    start(a, "runc", "nginx", options, "nginx -c /opt/workloads/nginx.conf");
    c.wait_until("nc -z 10.77.0.50 8080");
    let mut client = c.spawn(
        "exec unshare -m sh -c 'mount --bind /data /workloads/debian/mnt && exec chroot /workloads/debian \
         python3 - 10.77.0.50 /mnt/steady < /opt/workloads/http-client.py'",
    );
    c.wait_until("[ $(wc -l < /data/steady) -gt 5 ]");
    move_connected(a, b, "nginx", "--root /workloads/debian");
    let before = c.run("wc -l < /data/steady");
    c.wait_until(&format!("[ $(wc -l < /data/steady) -gt $(({before} + 20)) ]"));
    c.run("! grep FAIL /data/steady; awk '$1 != NR { exit 1 }' /data/steady");
    assert_eq!(
        b.run("runc exec nginx-2 pgrep -c nginx"),
        "3",
        "a master and two workers"
    );
    let _ = client.kill();
    let _ = client.wait();
}

#[test]
fn postgres_commits_the_transaction_that_it_was_in() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    a.run("mkdir -p /data/shm; mount -t tmpfs -o size=64m,mode=1777 shm /data/shm");
    let options = "--base debian --rootfs overlay --userns identity --shm /data/shm";
    start(a, "runc", "pg", options, "bash /opt/workloads/postgres.sh");
    a.wait_until("grep -q transaction /data/pg/rootfs/var/tmp/sql/out");
    assert_ne!(a.run("ls -A /data/shm"), "", "postgres uses /dev/shm");
    a.run("ckpt export pg -o /data/pg.tar.zst; scp -q /data/pg.tar.zst b:/data/");
    b.run("ckpt import /data/pg.tar.zst --name pg2 --bundle /data/there --root /workloads/debian");
    b.run("printf \"INSERT INTO kept VALUES ('after');\\nCOMMIT;\\nSELECT count(*) || ' kept' FROM kept;\\n\" > /data/there/rootfs/var/tmp/sql/in");
    b.wait_until("grep -q '^2 kept' /data/there/rootfs/var/tmp/sql/out");
    b.run("runc exec pg2 setpriv --reuid=postgres --clear-groups psql -h /run/postgresql -AtXc 'SELECT what FROM kept' postgres 2>/dev/null || :");
}
