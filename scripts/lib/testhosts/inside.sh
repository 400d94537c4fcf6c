#!/bin/bash
# What runs inside a session's namespaces: the session's first process, and each host's.
#
# The session's process has the switch (a bridge) in its network namespace and one named network namespace per host, in
# which everything is set up before the host starts. A host's process makes its mounts, pivots into its tree, starts sshd
# and then only reaps. No process holds a descriptor of the outer machine once the host is ready: a container
# that inherited one could not be dumped.
# shellcheck disable=SC2154,SC2016 # hosts, binds and the like come from the session's settings
set -euo pipefail

readonly NETWORK=10.77.0
readonly SSHD_TIMEOUT=20

session_main() {
    session=$1
    # shellcheck disable=SC1091
    source "$session/settings"
    mount -t proc proc /proc
    make_switch
    local name unshared=()
    for name in "${hosts[@]}"; do
        start_host "$name"
    done
    await_hosts
    local number
    # Nothing of a host's may stay in its root cgroup, not even the unshare that waits for it.
    for number in "${!hosts[@]}"; do
        enter_leaves "${hosts[number]}" "${unshared[number]}"
        offer_controllers "${hosts[number]}"
    done
    echo up
    exec >/dev/null 2>&1
    reap
}

# make_switch: the bridge, and for each host a network namespace whose br0 is the address and eth0 the way out.
make_switch() {
    local name number=0
    # The pins of the network namespaces, gone with this mount namespace.
    mount -t tmpfs -o mode=700 tmpfs "$session/mnt"
    ip -batch - <<-COMMANDS
		link set lo up
		link add sw type bridge
		link set sw up
	COMMANDS
    for name in "${hosts[@]}"; do
        number=$((number + 1))
        make_link "$name" "$number"
    done
}

make_link() {
    local name=$1 number=$2 pin=$session/mnt/$1 mac
    mac=$(printf '02:77:00:00:00:%02x' "$number")
    : >"$pin"
    unshare --net="$pin" true
    ip link add "sw-$name" type veth peer name eth0 netns "$pin"
    ip link set "sw-$name" master sw up
    # br0's own address is set, because a bridge without one takes its ports' lowest and changes it when a container's
    # veth joins, and every peer's ARP entry is stale.
    nsenter --net="$pin" ip -batch - <<-COMMANDS
		link set lo up
		link add br0 address $mac type bridge
		link set eth0 master br0 up
		link set br0 up
		addr add $NETWORK.$number/24 dev br0
	COMMANDS
    # Forwarding for podman's networks; no duplicate address detection, which would delay IPv6 by a second.
    nsenter --net="$pin" bash -c '
        echo 1 >/proc/sys/net/ipv4/ip_forward
        for file in /proc/sys/net/ipv6/conf/{all,default,br0}/accept_dad; do [[ ! -e $file ]] || echo 0 >$file; done'
}

start_host() {
    local name=$1 root
    # In a subshell that moves into the host's cgroups first: unshare --cgroup takes the current ones as the roots.
    (
        while read -r root; do echo "$BASHPID" >"$root/cgroup.procs"; done <"$session/hosts/$name/roots"
        exec setpriv --pdeathsig KILL nsenter --net="$session/mnt/$name" unshare --mount --pid --uts --ipc --cgroup \
            --fork --kill-child --propagation private /bin/bash "$0" host "$session" "$name" >&"$ready_in"
    ) &
    unshared+=("$!")
}

# enter_leaves HOST PID
enter_leaves() {
    local procs
    while read -r procs; do echo "$2" >"$procs"; done <"$session/hosts/$1/cgroups"
}

# offer_controllers HOST: as systemd does, so that containers can use what version 2 controllers there are.
offer_controllers() {
    local root controller
    while read -r root; do
        [[ -e $root/cgroup.controllers ]] || continue
        for controller in $(<"$root/cgroup.controllers"); do
            { echo "+$controller" >"$root/cgroup.subtree_control"; } 2>/dev/null || :
        done
    done <"$session/hosts/$1/roots"
}

await_hosts() {
    local waiting=${#hosts[@]}
    exec {ready_in}>&-
    while ((waiting)); do
        read -r _ <&"$ready_out" || {
            echo "a host died while starting" >&2
            exit 1
        }
        waiting=$((waiting - 1))
    done
    exec {ready_out}<&-
}

# reap: the duty of a first process. Bash collects every child that ends, adopted ones too, while it waits.
reap() {
    trap : CHLD
    while :; do
        sleep 3600 &
        wait $! || :
    done
}

# ---------------------------------------------------------------- in a host, before pivot_root

host_main() {
    session=$1 name=$2
    # shellcheck disable=SC1091
    source "$session/settings"
    dir=$session/hosts/$name root=$session/hosts/$name/root
    enter_leaves "$name" $$
    echo "$name" >/proc/sys/kernel/hostname
    mount_tree
    mount_system
    mount_cgroups
    mount_binds
    write_identity
    cp "$0" "$root/run/testhost"
    cd "$root"
    mkdir -p mnt/outside
    pivot_root . mnt/outside
    umount -l /mnt/outside
    rmdir /mnt/outside
    # From here on the tree's own programs only. fd 3 tells the session that the host is ready.
    exec /bin/bash /run/testhost serve "$name" 3>&1 </dev/null >/var/log/testhost.log 2>&1
}

mount_tree() {
    local upper=$dir/upper work=$dir/work plain
    # An upper layer inside the lower one is refused, so with the machine's own tree the changes are kept in memory.
    if [[ $lower == / ]]; then
        mount -t tmpfs tmpfs "$work"
        mkdir "$work/upper" "$work/work"
        upper=$work/upper work=$work/work
    fi
    mount -t overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work" overlay "$root"
    for plain in "${PLAIN_DIRECTORIES[@]}"; do
        mkdir -p "$root/$plain"
        mount --bind "$dir/$plain" "$root/$plain"
    done
}

mount_system() {
    local device
    mkdir -p "$root"/{proc,sys,dev,run,tmp}
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mkdir -p "$root/run/lock" "$root/run/sshd"
    # Not the machine's /dev: its /dev/shm and terminals would be shared by all hosts.
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    mkdir "$root"/dev/{pts,shm,mqueue,net}
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    mount -t mqueue mqueue "$root/dev/mqueue"
    for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 kmsg:1:11 fuse:10:229 net/tun:10:200; do
        mknod -m 666 "$root/dev/${device%%:*}" c "$(cut -d: -f2 <<<"$device")" "${device##*:}"
    done
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s /proc/self/fd/0 "$root/dev/stdin"
    ln -s /proc/self/fd/1 "$root/dev/stdout"
    ln -s /proc/self/fd/2 "$root/dev/stderr"
}

# mount_cgroups: fresh mounts, whose root is the host's own cgroup because of the cgroup namespace.
mount_cgroups() {
    local controllers directory=$root/sys/fs/cgroup
    if [[ $cgroup_mode == v2 ]]; then
        mount -t cgroup2 cgroup2 "$directory"
        return
    fi
    mount -t tmpfs -o mode=755 tmpfs "$directory"
    while IFS=: read -r _ controllers _; do
        case $controllers in
            '') mount_hierarchy unified cgroup2 nsdelegate ;;
            name=*) mount_hierarchy "${controllers#name=}" cgroup "none,$controllers" ;;
            *) mount_hierarchy "$controllers" cgroup "$controllers" ;;
        esac
    done </proc/self/cgroup
}

mount_hierarchy() {
    mkdir "$directory/$1"
    if [[ $2 == cgroup2 ]]; then
        mount -t cgroup2 cgroup2 "$directory/$1"
    else
        mount -t cgroup -o "$3" cgroup "$directory/$1"
    fi
}

# mount_binds: SRC:DST or SRC:DST:ro, directories or files.
mount_binds() {
    local bind source target mode
    for bind in "${binds[@]}"; do
        IFS=: read -r source target mode <<<"$bind"
        if [[ -d $source ]]; then
            mkdir -p "$root$target"
        else
            mkdir -p "$(dirname "$root$target")"
            [[ -e $root$target ]] || : >"$root$target"
        fi
        mount --bind "$source" "$root$target"
        [[ $mode != ro ]] || mount -o remount,bind,ro "$root$target"
    done
}

# write_identity: who this host is, whom it knows, and whom it lets in.
write_identity() {
    local other number=0
    echo "$name" >"$root/etc/hostname"
    {
        echo '127.0.0.1 localhost'
        for other in "${hosts[@]}"; do
            number=$((number + 1))
            echo "$NETWORK.$number $other"
        done
    } >"$root/etc/hosts"
    mkdir -p "$root/root/.ssh"
    chmod 700 "$root/root/.ssh"
    install -m 600 "$session/ssh/host_key" "$root/etc/ssh/testhost_key"
    install -m 600 "$session/ssh/id_ed25519" "$root/root/.ssh/id_ed25519"
    install -m 600 "$session/ssh/id_ed25519.pub" "$root/root/.ssh/authorized_keys"
    echo "* $(cut -d' ' -f1,2 "$session/ssh/host_key.pub")" >"$root/root/.ssh/known_hosts"
    printf 'Host *\n    ConnectTimeout 10\n    BatchMode yes\n' >"$root/root/.ssh/config"
    chmod 600 "$root/root/.ssh/config"
    # One id per host: something may tell hosts apart by it.
    printf '%s\n' "$session/$name" | md5sum | cut -c1-32 >"$root/etc/machine-id"
}

# ---------------------------------------------------------------- in a host, after pivot_root

serve() {
    local deadline=$((SECONDS + SSHD_TIMEOUT))
    cd /
    close_descriptors
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
    /usr/sbin/sshd 3>&-
    # It writes its pid once it listens.
    until [[ -s /run/sshd.pid ]]; do
        ((SECONDS < deadline))
        sleep 0.01
    done
    echo ready >&3
    exec 3>&-
    reap
}

# Whatever the machine's shells left open from 4 on; 255 is bash's own, the file it is reading.
close_descriptors() {
    local fd
    for fd in /proc/self/fd/*; do
        fd=${fd##*/}
        if ((fd > 3 && fd != 255)); then exec {fd}>&-; fi
    done
}

case $1 in
    session)
        # A pipe with both ends here: hosts write into it, await_hosts reads from it.
        exec {pipe}<> <(:)
        exec {ready_out}</proc/self/fd/"$pipe" {ready_in}>/proc/self/fd/"$pipe" {pipe}>&-
        session_main "$2"
        ;;
    host) host_main "$2" "$3" ;;
    serve) serve ;;
esac
