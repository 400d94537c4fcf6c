# The file trees that hosts and containers are made of, built from packages and kept between runs.
#
# A tree lives in $CACHE/trees/NAME.HASH, HASH being that of its recipe: the text of the functions and lists below. It is
# built beside that place and renamed, so a tree that is there is whole, and a changed recipe builds a new one.
# Sourced, never run.
# shellcheck shell=bash disable=SC2016 # "$1" in hooks and in in_tree is for the shell that runs them

readonly SUITE=trixie
# CRIU 4.2 is the first that dumps TCP sockets on kernels >= 6.16; it installs into a Debian 13 tree from here.
readonly CRIU_SUITE=forky

# Needed on the machine itself, to start hosts and to build trees. mmdebstrap rather than debootstrap: the same trees in 20 s
# instead of 45 s, and it makes its mounts in a namespace of its own, so an interrupted build leaves none.
readonly START_PACKAGES=(iproute2 openssh-client util-linux)
readonly BUILD_PACKAGES=(mmdebstrap)

readonly HOST_PACKAGES=(
    criu libcriu2 runc crun podman lxc checkpointctl
    iproute2 procps nftables iptables iputils-arping iputils-ping netcat-openbsd
    openssh-server openssh-client busybox-static zstd xz-utils jq python3 strace systemd
)
readonly CRIU_42_PACKAGES=(criu libcriu2 libcompel1)
readonly WORKLOAD_PACKAGES=(
    redis-server nginx-light postgresql python3 busybox-static procps iproute2 cron vim-tiny
)

# Applets the minimal root filesystem offers, besides the busybox binary itself.
readonly BUSYBOX_APPLETS=(
    sh cat echo ls sleep mkdir rm mv cp ln touch stat head tail wc grep sed awk sha256sum md5sum dd sync
    ip ifconfig nc wget httpd ps kill top mount umount df du id hostname env true false test date seq usleep mkfifo
)

# Debian's archive is signed with dates; a machine whose clock is off, or a frozen mirror, must not stop the tests.
readonly APT_OPTIONS=(--aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"'
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"')

# Manual pages and translations are never read on a test host.
readonly DPKG_OPTIONS=(--dpkgopt=path-exclude=/usr/share/man/* --dpkgopt=path-exclude=/usr/share/locale/*
    --dpkgopt=path-exclude=/usr/share/doc/*)

readonly KEEP_DAYS=2

readonly TREES=(criu-4.1 criu-4.2 debian busybox)

# debian_tree DIR PACKAGE...: a minimal Debian with these packages. Downloaded packages are kept in $CACHE/apt.
debian_tree() {
    local dir=$1 include archives=$CACHE/apt
    shift
    include=$(IFS=,; printf '%s' "$*")
    mkdir -p "$archives"
    mmdebstrap --quiet --mode=root --variant=minbase --include="$include" "${APT_OPTIONS[@]}" "${DPKG_OPTIONS[@]}" \
        --skip=download/empty,essential/unlink,cleanup/apt/cache \
        --setup-hook='mkdir -p "$1/var/cache/apt/archives/partial"' \
        --setup-hook="cp -l '$archives'/*.deb \"\$1/var/cache/apt/archives/\" 2>/dev/null || :" \
        --customize-hook="cp -ln \"\$1/var/cache/apt/archives/\"*.deb '$archives'/" \
        --customize-hook='rm -f "$1"/var/cache/apt/archives/*.deb' \
        "$SUITE" "$dir" ${CKPT_TESTHOSTS_MIRROR:+"$CKPT_TESTHOSTS_MIRROR"}
}

# What makes a Debian tree a test host, whatever the session: sshd that asks nothing and waits for nothing.
host_settings() {
    cat >"$1/etc/ssh/sshd_config.d/testhost.conf" <<-'CONFIG'
		HostKey /etc/ssh/testhost_key
		PidFile /run/sshd.pid
		PermitRootLogin prohibit-password
		PasswordAuthentication no
		UsePAM no
		UseDNS no
		GSSAPIAuthentication no
		PrintMotd no
		MaxStartups 100
	CONFIG
    rm -f "$1"/etc/ssh/ssh_host_*
    : >"$1/etc/resolv.conf"
}

build_criu-4.1() {
    debian_tree "$1" "${HOST_PACKAGES[@]}"
    host_settings "$1"
}

build_criu-4.2() {
    cp -a "$(tree_path criu-4.1)/." "$1"
    # The mirror is whatever the first tree came from; only the suite's name changes.
    sed -n "s/^deb  *\(\[[^]]*\] \)\?\([^ ]*\) $SUITE main.*/deb [check-valid-until=no] \2 $CRIU_SUITE main/p" \
        "$1/etc/apt/sources.list" >"$1/etc/apt/sources.list.d/criu.list"
    printf 'Package: *\nPin: release n=%s\nPin-Priority: 100\n' "$CRIU_SUITE" >"$1/etc/apt/preferences.d/criu"
    cp /etc/resolv.conf "$1/etc/resolv.conf"
    in_tree "$1" apt-get -q update
    in_tree "$1" apt-get -q install -y --no-install-recommends "${CRIU_42_PACKAGES[@]/%//$CRIU_SUITE}"
    in_tree "$1" sh -c 'apt-get clean; rm -rf /var/lib/apt/lists/*'
    host_settings "$1"
}

build_debian() {
    debian_tree "$1" "${WORKLOAD_PACKAGES[@]}"
    # Container runtimes mount over these or expect them; a read-only shared tree cannot get them later.
    mkdir -p "$1/data" "$1/workloads" "$1/mnt/a" "$1/mnt/b"
}

build_busybox() {
    local applet
    mkdir -p "$1"/{bin,dev,proc,sys,tmp,etc,root,data,workloads,var/tmp,mnt/a,mnt/b}
    cp "$(tree_path debian)/usr/bin/busybox" "$1/bin/busybox"
    for applet in "${BUSYBOX_APPLETS[@]}"; do ln -sf busybox "$1/bin/$applet"; done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$1/etc/passwd"
    echo 'root:x:0:' >"$1/etc/group"
    chmod 1777 "$1/tmp" "$1/var/tmp"
}

# in_tree DIR COMMAND...: runs a command chrooted, its mounts in a namespace that ends with it.
in_tree() {
    local dir=$1
    shift
    unshare --mount --propagation private env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
        sh -ec 'dir=$1; shift; mount -t proc proc "$dir/proc"; mount --rbind /dev "$dir/dev"; exec chroot "$dir" "$@"' \
        in_tree "$dir" "$@"
}

# The hash covers all that trees are made from. One for all of them, because they are made from one another.
recipe_hash() {
    {
        declare -f "${TREES[@]/#/build_}" debian_tree host_settings in_tree
        printf '%s\n' "$SUITE" "$CRIU_SUITE" "${HOST_PACKAGES[@]}" -- "${CRIU_42_PACKAGES[@]}" -- \
            "${WORKLOAD_PACKAGES[@]}" -- "${BUSYBOX_APPLETS[@]}" "${APT_OPTIONS[@]}" "${DPKG_OPTIONS[@]}"
        uname -m
    } | sha256sum | cut -c1-12
}

RECIPE_HASH=$(recipe_hash)
readonly RECIPE_HASH

tree_path() { printf '%s/trees/%s.%s\n' "$CACHE" "$1" "$RECIPE_HASH"; }

# ensure_tree NAME: builds the tree if it is not there.
ensure_tree() { ensure_built "$1" "$(tree_path "$1")"; }

# ensure_built NAME PATH: runs build_NAME in a directory that becomes PATH.
ensure_built() {
    local name=$1 path=$2 partial
    [[ ! -d $path ]] || return 0
    log "building $name"
    partial=$(mktemp -d "$CACHE/trees/.building.XXXXXX")
    # In the background, because bash ignores errexit inside a condition.
    (
        set -e
        "build_$name" "$partial"
    ) >"$CACHE/$name.log" 2>&1 &
    if ! wait $!; then
        tail -n 30 "$CACHE/$name.log" >&2
        rm -rf --one-file-system "$partial"
        die "building $name failed; the whole log is $CACHE/$name.log"
    fi
    chmod 755 "$partial"
    touch "$partial"
    mv "$partial" "$path"
}

# remove_superseded: what interrupted builds left, and trees not asked for in days. Not at once: another checkout with
# another recipe may be using the same cache. Only called when no session is running.
remove_superseded() {
    local path
    for path in "$CACHE"/trees/.building.* $(find "$CACHE/trees" -mindepth 1 -maxdepth 1 -mtime "+$KEEP_DAYS"); do
        [[ ! -d $path ]] || rm -rf --one-file-system "$path"
    done
}

install_machine_packages() {
    local missing=() package
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) == ii* ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    log "installing ${missing[*]}"
    apt-get -q update >"$CACHE/apt.log" 2>&1 || log "apt-get update failed, trying with the lists there are"
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" \
        >>"$CACHE/apt.log" 2>&1 || {
        tail -n 20 "$CACHE/apt.log" >&2
        die "apt-get install ${missing[*]} failed"
    }
}

prepare() {
    local vm=''
    while (($#)); do
        case $1 in
            --vm) vm=yes ;;
            *) usage_error "prepare: unknown argument '$1'" ;;
        esac
        shift
    done
    mkdir -p "$CACHE/trees"
    exec {prepare_lock}>"$CACHE/prepare.lock"
    flock "$prepare_lock"
    install_machine_packages "${START_PACKAGES[@]}"
    live_sessions >/dev/null || remove_superseded
    build_trees
    touch "$CACHE/trees"/*."$RECIPE_HASH"
    [[ -z $vm ]] || prepare_vm
    exec {prepare_lock}>&-
}

build_trees() {
    local name missing=() first
    for name in $(needed_trees); do
        [[ -d $(tree_path "$name") ]] || missing+=("$name")
    done
    ((${#missing[@]})) || return 0
    install_machine_packages "${BUILD_PACKAGES[@]}"
    # The two that are made from packages at the same time, one core each; the others are made from these.
    if [[ ${missing[0]} == criu-4.1 ]]; then
        ensure_tree criu-4.1 &
        first=$!
        ensure_tree debian
        wait "$first"
    fi
    for name in "${missing[@]}"; do ensure_tree "$name"; done
}

# needed_trees: a machine with a working CRIU of its own is a host's tree itself.
needed_trees() {
    if [[ -z ${CKPT_TESTHOSTS_TREE:-} ]] && own_criu >/dev/null 2>&1; then
        printf '%s\n' debian busybox
    else
        printf '%s\n' "${TREES[@]}"
    fi
}
