# The machine's cgroups: every host gets one in each hierarchy, beneath the caller's own.
#
# Version 1: beneath the caller's own, where its use is accounted. Version 2: beneath the root, because a cgroup that has
# processes offers no controllers to those below it; for the same reason a host's processes are in a leaf of its cgroup.
# Hosts see theirs as the root through a cgroup namespace, so nothing a container runtime does there reaches further up.
# Sourced, never run.
# shellcheck shell=bash disable=SC2154,SC2016 # lib, session and the like are set by whoever sources this

# hierarchies: one line "CONTROLLERS MOUNTPOINT OWN-PATH" for each hierarchy, CONTROLLERS being "unified" for version 2
# and "name=systemd" and the like for named ones.
hierarchies() {
    local controllers path mountpoint
    while IFS=: read -r _ controllers path; do
        [[ -n $controllers ]] || controllers=unified
        mountpoint=$(hierarchy_mountpoint "$controllers") || continue
        [[ $controllers != unified ]] || path=''
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
        # Not beside version 1: crun refuses a machine that has controllers in both.
        [[ $controllers != unified || $cgroup_mode != v2 ]] || delegate "$dir"
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

# delegate DIR: offers DIR all controllers its parent has. There may be none, where all are mounted as version 1.
delegate() {
    local parent=${1%/*} controller
    for controller in $(<"$parent/cgroup.controllers"); do
        [[ " $(<"$parent/cgroup.subtree_control") " != *" $controller "* ]] || continue
        { echo "+$controller" >"$parent/cgroup.subtree_control"; } 2>/dev/null || continue
        [[ $parent == */ckpt-testhosts-* ]] || printf '%s %s\n' "$controller" "$parent/cgroup.subtree_control" >>"$session/delegated"
    done
}

# withdraw: takes back what delegate changed in cgroups that are not ours. Refused while another session uses it.
withdraw() {
    local controller file
    [[ -r $1/delegated ]] || return 0
    while read -r controller file; do
        { echo "-$controller" >"$file"; } 2>/dev/null || :
    done <"$1/delegated"
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
    local dir
    for dir in "$@"; do
        for _ in {1..50}; do
            [[ -d $dir ]] || break
            find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null && break
            sleep 0.1
        done
        [[ ! -d $dir ]] || log "cannot remove cgroup $dir"
    done
}
