# What every part of `testhosts` shares: where things are kept, messages, locks, process identity.
# Sourced, never run. Nothing here changes the machine.
# shellcheck shell=bash disable=SC2034 # used by those that source this

readonly default_cache=/var/cache/ckpt-testhosts
CACHE=${CKPT_TESTHOSTS:-$default_cache}
REGISTRY=$CACHE/sessions

# Host names are used in paths, cgroup names and interface names (IFNAMSIZ is 16 with the "sw-" prefix and the NUL).
readonly HOST_NAME_PATTERN='^[a-z][a-z0-9]{0,9}$'

log() { printf 'testhosts: %s\n' "$*" >&2; }

die() {
    log "$*"
    exit 1
}

usage_error() {
    log "$*"
    log "see 'testhosts help'"
    exit 2
}

# Start time of a process in clock ticks. A pid alone may have been reused since it was written down; with this it is
# one process for sure. The command name may hold spaces and brackets, so fields are counted after the last ")".
# Fails for a zombie too: it has ended, and who its new parent is and when that one collects it is not ours to wait for.
start_time() {
    local line fields
    { line=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    read -r -a fields <<<"${line##*) }"
    [[ ${fields[0]} != Z ]] || return 1
    printf '%s\n' "${fields[19]}"
}

# Whether "PID STARTTIME", as written by remember_process, is still that very process.
same_process() {
    local pid=${1%% *} started=${1##* }
    [[ -n $pid && $(start_time "$pid") == "$started" ]]
}

remember_process() { printf '%s %s\n' "$1" "$(start_time "$1")"; }

absolute() { realpath -m -- "$1"; }
