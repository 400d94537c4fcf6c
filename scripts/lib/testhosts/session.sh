# A session: some hosts and the network between them, and everything they leave behind, in one directory.
#
#   DIR/settings        what `up` was asked for, read by inside.sh
#   DIR/ssh/            the session's keys
#   DIR/log             what went wrong while starting
#   DIR/cgroups         the session's cgroups, one per line
#   DIR/owner           "PID STARTTIME" of `up`
#   DIR/init            "PID STARTTIME" of the session's first process; when it dies all the others do
#   DIR/hosts/HOST/     pid and cgroups (for exec), upper (changes to the tree), and the host's plain directories
#
# `up` holds a lock on $CACHE/sessions/ID for as long as it lives, so a session whose lock is free is a dead one's.
# Mounts and interfaces exist only in the session's namespaces and go with them. Sourced, never run.
# shellcheck shell=bash disable=SC2154 # lib, here and the like are set by the script that sources this

# Directories of a host that are not on its overlay, because an overlay's upper layer cannot be on another overlay.
readonly PLAIN_DIRECTORIES=(data var/tmp var/lib/ckpt var/lib/containers var/lib/lxc)

# Starting takes about a second; a slow machine under load gets this long.
readonly START_TIMEOUT=60
# Killing takes milliseconds unless a task is stuck in the kernel.
readonly STOP_TIMEOUT=30

session_id() { printf '%s' "$(absolute "$1")" | sha256sum | cut -c1-12; }

# try_lock FILE: takes the lock in descriptor $session_lock. Child processes must be started with it closed.
try_lock() {
    exec {session_lock}>>"$1"
    flock -n "$session_lock" && return
    exec {session_lock}>&-
    return 1
}

unlock() { exec {session_lock}>&-; }

# Held while sessions are registered or swept, so that a session that is just being registered is not taken for a dead one.
lock_registry() {
    mkdir -p "$REGISTRY"
    exec {registry_lock}>"$CACHE/registry.lock"
    flock "$registry_lock"
}

unlock_registry() { exec {registry_lock}>&-; }

up() {
    parse_up "$@"
    [[ $EUID == 0 ]] || die "hosts can only be started by root"
    choose_tree
    register
    trap 'tear_down "$session" "$registered"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    lay_out
    start
    echo ready
    stay
}

register() {
    lock_registry
    sweep_registered
    registered=$REGISTRY/$(session_id "$session")
    try_lock "$registered" || die "there are hosts in $session already"
    printf '%s\n' "$session" >"$registered"
    unlock_registry
    mkdir -p "$session"
    remember_process $$ >"$session/owner"
}

parse_up() {
    session='' cgroup_mode=v1 tree='' stay='' hosts=() binds=()
    while (($#)); do
        case $1 in
            --session) session=$(absolute "$2") && shift ;;
            --cgroup) cgroup_mode=$2 && shift ;;
            --tree) tree=$2 && shift ;;
            --bind) binds+=("$2") && shift ;;
            --stay) stay=yes ;;
            -*) usage_error "up: unknown option '$1'" ;;
            *) hosts+=("$1") ;;
        esac
        shift
    done
    [[ -n $session ]] || usage_error "up: --session is missing"
    ((${#hosts[@]})) || usage_error "up: name at least one host"
    [[ $cgroup_mode == v[12] ]] || usage_error "up: --cgroup is v1 or v2"
    local name
    for name in "${hosts[@]}"; do
        [[ $name =~ $HOST_NAME_PATTERN ]] || usage_error "up: '$name' is no name for a host"
    done
    check_binds
}

check_binds() {
    local bind source rest
    for bind in "${binds[@]}"; do
        source=${bind%%:*} rest=${bind#*:}
        [[ $rest == /* && -e $source ]] || usage_error "up: --bind '$bind' is not SRC:/DST with an existing SRC"
    done
}

# A machine with a working CRIU of its own is tested with that one, unless another tree is asked for.
choose_tree() {
    tree=${tree:-${CKPT_TESTHOSTS_TREE:-}}
    if [[ -z $tree ]]; then
        tree=criu-4.2
        ! own_criu >/dev/null 2>&1 || tree=machine
    fi
    case $tree in
        machine) lower=/ ;;
        criu-4.1 | criu-4.2) lower=$(tree_path "$tree") ;;
        *) usage_error "there is no tree '$tree'" ;;
    esac
    [[ -d $lower && -d $(tree_path debian) && -d $(tree_path busybox) ]] || die "run 'testhosts prepare' first"
}

# lay_out: the session's directory, keys and cgroups.
lay_out() {
    local name dir
    mkdir -p "$session/ssh" "$session/mnt"
    ssh-keygen -q -t ed25519 -N '' -C testhost -f "$session/ssh/host_key" <<<y >/dev/null
    ssh-keygen -q -t ed25519 -N '' -C testhosts -f "$session/ssh/id_ed25519" <<<y >/dev/null
    parent_cgroup=ckpt-testhosts-$(session_id "$session")
    make_cgroups "$parent_cgroup" >"$session/cgroups"
    for name in "${hosts[@]}"; do
        dir=$session/hosts/$name
        mkdir -p "$dir"/{upper,work,root} "${PLAIN_DIRECTORIES[@]/#/$dir/}"
        chmod 1777 "$dir/var/tmp"
        make_cgroups "$parent_cgroup/$name" >"$dir/roots"
        leaves <"$dir/roots" >"$dir/cgroups"
    done
    local workload_trees=("$(tree_path debian):/workloads/debian:ro" "$(tree_path busybox):/workloads/busybox:ro"
        "$(absolute "$here/../tests/workloads"):/opt/workloads:ro")
    binds=("${workload_trees[@]}" "${binds[@]}")
    declare -p session cgroup_mode lower hosts binds PLAIN_DIRECTORIES | sed 's/^declare -[-a]*r/declare -a/' >"$session/settings"
}

# leaves: of a host's cgroups, the files by which its processes are put where they belong.
leaves() {
    local dir
    while read -r dir; do
        if [[ -e $dir/cgroup.controllers ]]; then
            dir+=/init
            mkdir -p "$dir"
        fi
        printf '%s\n' "$dir/cgroup.procs"
    done
}

# start: the session's processes. Should this one be killed, --pdeathsig ends unshare, --kill-child the session's first
# process, and the kernel everything else, since that one is the first of a PID namespace.
start() {
    local line
    exec {from_session}< <(
        exec {session_lock}>&-
        exec setpriv --pdeathsig KILL unshare --mount --net --pid --fork --kill-child --propagation private \
            /bin/bash "$lib/inside.sh" session "$session" </dev/null 2>"$session/log"
    )
    unshare_pid=$!
    while IFS= read -r -t "$START_TIMEOUT" -u "$from_session" line; do
        [[ $line != up ]] || break
    done
    if [[ ${line:-} != up ]]; then
        cat "$session/log" >&2
        die "the hosts did not start"
    fi
    remember_pids
}

# The session's processes do not know their own pids outside, so they are found as children of children.
remember_pids() {
    local init child name
    init=$(children "$unshare_pid")
    remember_process "${init% }" >"$session/init"
    for child in $(children "${init% }"); do
        name=$(tr '\0' '\n' <"/proc/$child/cmdline" | tail -n 1)
        [[ -d $session/hosts/$name ]] || continue
        init=$(children "$child")
        remember_process "${init% }" >"$session/hosts/$name/pid"
    done
    for name in "${hosts[@]}"; do
        [[ -s $session/hosts/$name/pid ]] || die "host $name is not there"
    done
}

children() { cat "/proc/$1/task/$1/children"; }

stay() {
    local status
    while :; do
        same_process "$(<"$session/init")" || die "the hosts have died"
        if [[ -n $stay ]]; then
            sleep 1 {session_lock}>&- &
            wait $! || :
            continue
        fi
        status=0
        read -r -t 1 _ || status=$?
        # Above 128 is the timeout; anything else that is not a line is the end of the input.
        ((status == 0 || status > 128)) || return 0
    done
}

# tear_down DIR REGISTERED: the session's processes, cgroups and files. Knows nothing but what is in DIR, so that it
# works as well for a session whose `up` was killed.
tear_down() {
    local dir=$1 registered=$2 cgroups=()
    trap - EXIT
    [[ ! -r $dir/cgroups ]] || mapfile -t cgroups <"$dir/cgroups"
    [[ -z ${unshare_pid:-} ]] || kill -KILL "$unshare_pid" 2>/dev/null || :
    [[ ! -s $dir/init ]] || kill_session "$(<"$dir/init")" "${cgroups[@]}"
    wait_until_empty "${cgroups[@]}"
    remove_cgroups "${cgroups[@]}"
    withdraw "$dir"
    remove_files "$dir"
    rm -f "$registered"
    unlock
}

kill_session() {
    local init=$1 deadline=$((SECONDS + STOP_TIMEOUT))
    shift
    same_process "$init" && kill -KILL "${init%% *}" 2>/dev/null
    while same_process "$init"; do
        thaw_cgroups "$@"
        ((SECONDS < deadline)) || {
            log "process ${init%% *} does not die"
            return 0
        }
        sleep 0.02
    done
}

# Also covers a session that was killed before its first process was written down.
wait_until_empty() {
    local dir deadline=$((SECONDS + STOP_TIMEOUT))
    for dir in "$@"; do
        while [[ -d $dir && -n $(find "$dir" -name cgroup.procs -exec cat {} + 2>/dev/null) ]]; do
            thaw_cgroups "$@"
            ((SECONDS < deadline)) || return 0
            sleep 0.02
        done
    done
}

remove_files() {
    local entry
    for entry in hosts ssh mnt settings log cgroups delegated owner init; do
        rm -rf --one-file-system "${1:?}/$entry" || log "cannot remove $1/$entry"
    done
    rmdir "$1" 2>/dev/null || :
}

# down DIR: asks the session's `up` to end it; if that was killed, does it in its stead.
down() {
    (($# == 1)) || usage_error "down: which session?"
    local dir registered deadline=$((SECONDS + STOP_TIMEOUT))
    dir=$(absolute "$1")
    registered=$REGISTRY/$(session_id "$dir")
    [[ -e $registered ]] || die "there is no session in $dir"
    [[ ! -s $dir/owner ]] || { same_process "$(<"$dir/owner")" && kill -TERM "$(cut -d' ' -f1 "$dir/owner")"; } || :
    while [[ -e $registered ]]; do
        ((SECONDS < deadline)) || die "the session in $dir does not end"
        ! flock -n "$registered" true || sweep
        sleep 0.05
    done
}

# sweep: ends what is left of sessions whose `up` is gone.
sweep() {
    lock_registry
    sweep_registered
    unlock_registry
}

sweep_registered() {
    local registered
    for registered in "$REGISTRY"/*; do
        [[ -e $registered ]] || continue
        try_lock "$registered" || continue
        if [[ -s $registered ]]; then
            (
                unset unshare_pid
                tear_down "$(<"$registered")" "$registered"
            )
        fi
        rm -f "$registered"
        unlock
    done
}

# live_sessions: their directories; fails when there are none.
live_sessions() {
    local registered found=1
    for registered in "$REGISTRY"/*; do
        [[ -e $registered ]] || continue
        if try_lock "$registered"; then
            unlock
        else
            cat "$registered"
            found=0
        fi
    done
    return "$found"
}

status() {
    local dir name
    while read -r dir; do
        for name in "$dir"/hosts/*; do
            printf '%s %s pid %s\n' "$dir" "${name##*/}" "$(cut -d' ' -f1 "$name/pid")"
        done
    done < <(live_sessions || :)
}

# own_criu: the machine's own, if it is new enough, works, and comes with what hosts need beside it.
own_criu() {
    local version
    command -v criu runc sshd ip >/dev/null || return 1
    version=$(criu --version | sed -n 's/^Version: //p')
    [[ $(printf '%s\n' 4.1 "$version" | sort -V | head -n 1) == 4.1 ]] || return 1
    criu check >/dev/null 2>&1 || return 1
    printf '%s\n' "$version"
}

print_tree() {
    (($# == 1)) || usage_error "tree: which one?"
    local path
    path=$(tree_path "$1")
    [[ -d $path ]] || die "tree '$1' is not built; run 'testhosts prepare'"
    printf '%s\n' "$path"
}
