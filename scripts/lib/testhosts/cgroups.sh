# The machine's cgroups: every host gets one in each hierarchy, beneath the caller's own.
#
# Beneath the caller's own, because that is where a session may make some and where its use is accounted; hosts see
# theirs as the root through a cgroup namespace, so nothing a container runtime does there reaches further up.
# Sourced, never run.
# shellcheck shell=bash

# hierarchies: one line "CONTROLLERS MOUNTPOINT OWN-PATH" for each hierarchy, CONTROLLERS being "unified" for version 2
# and "name=systemd" and the like for named ones.
hierarchies() {
    local id controllers path mountpoint
    while IFS=: read -r id controllers path; do
        [[ -n $controllers ]] || controllers=unified
        mountpoint=$(hierarchy_mountpoint "$controllers") || continue
        printf '%s %s %s\n' "$controllers" "$mountpoint" "${path%/}"
    done </proc/self/cgroup
}

# hierarchy_mountpoint CONTROLLERS: where the machine has it mounted at its root.
hierarchy_mountpoint() {
    local wanted=$1 root point type options fields
    while read -r -a fields; do
        root=${fields[3]} point=${fields[4]} type=${fields[-3]} options=${fields[-1]}
        [[ $root == / ]] || continue
        case $type in
            cgroup2) [[ $wanted == unified ]] || continue ;;
            cgroup) [[ ,$options, == *",$wanted,"* || ${options#*,} == "$wanted" ]] || continue ;;
            *) continue ;;
        esac
        printf '%s\n' "$point"
        return
    done </proc/self/mountinfo
    return 1
}

# make_cgroups NAME: makes it in every hierarchy and prints the directories.
make_cgroups() {
    local controllers mountpoint own dir
    while read -r controllers mountpoint own; do
        dir=$mountpoint${own:+/${own#/}}/$1
        mkdir -p "$dir"
        [[ $controllers != *cpuset* ]] || inherit_cpuset "$mountpoint" "$dir"
        [[ $controllers != unified ]] || delegate "$dir"
        printf '%s\n' "$dir"
    done < <(hierarchies)
}

# A new version 1 cpuset is empty, and a task cannot be put into it (ENOSPC).
inherit_cpuset() {
    local parent file
    [[ $2 != "$1" ]] || return 0
    parent=${2%/*}
    inherit_cpuset "$1" "$parent"
    for file in cpuset.cpus cpuset.mems; do
        [[ -n $(<"$2/$file") ]] || echo "$(<"$parent/$file")" >"$2/$file"
    done
}

# Offers what controllers there are to the cgroups below. None do on a machine that has them all in version 1.
delegate() {
    local controller
    for controller in $(<"${1%/*}/cgroup.controllers"); do
        echo "+$controller" 2>/dev/null >"${1%/*}/cgroup.subtree_control" || :
    done
}

# thaw_cgroups DIR...: a task frozen by a version 1 freezer does not even die of SIGKILL.
thaw_cgroups() {
    local dir state
    for dir in "$@"; do
        [[ -e $dir/freezer.state ]] || continue
        while read -r state; do
            [[ $(<"$state") == THAWED ]] || echo THAWED >"$state" || :
        done < <(find "$dir" -name freezer.state)
    done 2>/dev/null
}

# remove_cgroups DIR...: innermost first. A cgroup whose last task has just died may be busy for a moment.
remove_cgroups() {
    local dir try
    for dir in "$@"; do
        for try in {1..50}; do
            [[ -d $dir ]] || break
            find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null && break
            sleep 0.1
        done
        [[ ! -d $dir ]] || log "cannot remove cgroup $dir"
    done
}
