# A whole virtual machine, for what depends on the kernel: memory tracking (pre-dump chains need CONFIG_MEM_SOFT_DIRTY, which
# Debian's cloud kernel has), version 2 controllers, and every capability.
#
#   $CACHE/vm.HASH/     kernel, initrd, and root.ext4: the criu-4.2 tree with the kernel's modules, and the workload
#                       trees in the very place where `testhosts up` looks for them, so hosts can be started in there too
#
# A run gets its files as a tar on one disk and returns its exit code and files as a tar on another: no network, no shared
# file system, no driver beyond virtio-blk. The image itself is never written to. Sourced, never run.
# shellcheck shell=bash disable=SC2154,SC2016 # lib, session and the like are set by whoever sources this

readonly VM_PACKAGES=(qemu-system-x86 e2fsprogs)
readonly KERNEL_PACKAGE=linux-image-cloud-amd64

# Modules without which the root file system cannot be mounted; the rest is loaded on demand by modprobe.
readonly INITRD_MODULES=(virtio_pci virtio_blk ext4)

# Room for containers beside the trees. A sparse file, so it costs nothing until it is used.
readonly VM_FREE_MIB=6144
readonly VM_OUTPUT_MIB=2048
readonly VM_MEMORY_MIB=2048
# Booting takes 10 to 15 s under emulation, and everything in it is some ten times slower than outside.
readonly VM_TIMEOUT=900
# A machine that has not begun with its job by then hangs (seen in one of some twenty boots while other things ran).
readonly VM_BOOT_TIMEOUT=240
# What booting ends with then, which no command of ours ends with.
readonly NEVER_UP=125
readonly KERNEL_DIED='Oops:|Kernel panic|BUG: unable|invalid opcode|general protection fault'

vm_path() {
    local hash
    hash=$({
        echo "$RECIPE_HASH"
        declare -f build_vm vm_kernel vm_initrd vm_image
        printf '%s\n' "$KERNEL_PACKAGE" "${INITRD_MODULES[@]}" "$VM_FREE_MIB"
        cat "$lib/vm-init"
    } | sha256sum | cut -c1-12)
    printf '%s/trees/vm.%s\n' "$CACHE" "$hash"
}

prepare_vm() {
    install_machine_packages "${VM_PACKAGES[@]}"
    ensure_built vm "$(vm_path)"
    touch "$(vm_path)"
}

build_vm() {
    local out=$1 root=$1/root
    mkdir "$root"
    cp -a "$(tree_path criu-4.2)/." "$root"
    vm_kernel "$root" "$out"
    vm_initrd "$root" "$out"
    vm_image "$root" "$out"
    rm -rf "$root"
}

# vm_kernel ROOT OUT: the kernel and its modules. Unpacked rather than installed, because installing it would pull in and
# run what makes Debian's own initrd, which is ten times the size of ours and boots that much slower.
vm_kernel() {
    local root=$1 out=$2 packages=$1/var/cache/kernel
    mkdir "$packages"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    in_tree "$root" apt-get -q update
    in_tree "$root" apt-get -q install -y --no-install-recommends kmod
    # The meta package names the real one.
    in_tree "$root" sh -ec 'cd "$1"; apt-get -q download "$(apt-cache depends "$2" |
        sed -n "s/^ *Depends: \(linux-image-[0-9].*\)/\1/p" | head -n 1)"' sh /var/cache/kernel "$KERNEL_PACKAGE"
    dpkg-deb -x "$packages"/linux-image-*.deb "$packages/x"
    cp "$packages"/x/boot/vmlinuz-* "$out/kernel"
    mkdir -p "$root/usr/lib/modules"
    cp -a "$packages"/x/*lib/modules/. "$packages"/x/usr/lib/modules/. "$root/usr/lib/modules/" 2>/dev/null || :
    rm -rf "$packages" "$root"/var/lib/apt/lists/*
    in_tree "$root" depmod "$(kernel_release "$root")"
    : >"$root/etc/resolv.conf"
}

kernel_release() { ls "$1/usr/lib/modules"; }

# vm_initrd ROOT OUT: busybox, the modules in the order they need each other, and a script that loads them.
vm_initrd() {
    local root=$1 out=$2 dir=$1/initrd release module path number=100
    release=$(kernel_release "$root")
    mkdir -p "$dir"/{bin,dev,modules,root}
    cp "$root/usr/bin/busybox" "$dir/bin/busybox"
    for path in $(in_tree "$root" modprobe --set-version "$release" --show-depends --all "${INITRD_MODULES[@]}" |
        sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++'); do
        module=${path##*/}
        number=$((number + 1))
        case $path in
            *.xz) in_tree "$root" xz -dc "$path" >"$dir/modules/$number-${module%.xz}" ;;
            *) cp "$root$path" "$dir/modules/$number-$module" ;;
        esac
    done
    cat >"$dir/init" <<-'INIT'
		#!/bin/busybox sh
		/bin/busybox mount -t devtmpfs dev /dev
		for module in /modules/*; do /bin/busybox insmod "$module"; done
		until [ -b /dev/vda ]; do /bin/busybox usleep 10000; done
		/bin/busybox mount -t ext4 /dev/vda /root
		exec /bin/busybox switch_root /root /sbin/vm-init
	INIT
    chmod 755 "$dir/init"
    (cd "$dir" && find . | "$root/usr/bin/busybox" cpio -o -H newc) | gzip -1 >"$out/initrd"
    rm -rf "$dir"
}

vm_image() {
    local root=$1 out=$2 name path size
    install -m 755 "$lib/vm-init" "$root/usr/sbin/vm-init"
    mkdir -p "$root$default_cache/trees" "$root/data"
    for name in debian busybox; do
        path=$(tree_path "$name")
        cp -a "$path" "$root$default_cache/trees/"
    done
    size=$(($(du -sm "$root" | cut -f1) + VM_FREE_MIB))
    # No journal: the image is thrown away after each run.
    mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=1 -m 0 -d "$root" "$out/root.ext4" "${size}M"
}

vm() {
    [[ ${1:-} == run ]] || usage_error "vm: the only thing to do is 'run'"
    shift
    vm_run "$@"
}

vm_run() {
    parse_vm_run "$@"
    vm=$(vm_path)
    [[ -d $vm ]] || die "run 'testhosts prepare --vm' first"
    work=$(mktemp -d /var/tmp/testhosts-vm.XXXXXX)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    pack_job
    local status=0
    run_vm || status=$?
    if ((status == NEVER_UP)) || { ((status != 124)) && guest_kernel_died; }; then
        printf '%s\n' "testhosts: the kernel in the virtual machine died or never came up, which no program in it may do; once more:" >&2
        grep -m 3 -E "$KERNEL_DIED" "$work/console" >&2 || tail -n 3 "$work/console" >&2
        status=0
        run_vm || status=$?
    fi
    [[ $status != 124 ]] || die "the virtual machine was ended after $vm_timeout s"
    vm_result
}

run_vm() {
    rm -f "$work/output" "$work/console"
    truncate -s "${VM_OUTPUT_MIB}M" "$work/output"
    boot_vm
}

# The emulator's fault or the kernel's, and neither is what a script in the machine looks for. A result that is there counts.
guest_kernel_died() {
    ! tar -tf "$work/output" 2>/dev/null | grep -qx exit-code && grep -qE "$KERNEL_DIED" "$work/console"
}

parse_vm_run() {
    vm_timeout=$VM_TIMEOUT vm_memory=$VM_MEMORY_MIB copies=() fetch='' script=''
    while (($#)) && [[ $1 == -* ]]; do
        case $1 in
            --timeout) vm_timeout=$2 && shift ;;
            --memory) vm_memory=$2 && shift ;;
            --copy) copies+=("$2") && shift ;;
            --fetch) fetch=$2 && shift ;;
            *) usage_error "vm run: unknown option '$1'" ;;
        esac
        shift
    done
    script=${1:-}
    [[ -f $script ]] || usage_error "vm run: which script?"
    shift
    script_arguments=("$@")
}

# pack_job: the script, its arguments and the files it wants, as they shall be found in the machine.
pack_job() {
    local job=$work/job copy source target
    mkdir -p "$job/job"
    install -m 755 "$script" "$job/job/script"
    printf '%s\0' "${script_arguments[@]}" >"$job/job/arguments"
    # What any script will want: this tool itself and the workloads.
    mkdir -p "$job/opt/ckpt-tree"
    cp -a "$here" "$job/opt/ckpt-tree/scripts"
    mkdir "$job/opt/ckpt-tree/tests"
    cp -a "$here/../tests/workloads" "$job/opt/ckpt-tree/tests/"
    cp -a "$here/../tests/workloads" "$job/opt/workloads"
    for copy in "${copies[@]}"; do
        source=${copy%%:*} target=/job/${copy##*/}
        [[ $copy != *:* ]] || target=${copy#*:}
        mkdir -p "$job$(dirname "$target")"
        cp -a "$source" "$job$target"
    done
    tar -C "$job" -cf "$work/input" .
    rm -rf "$job"
}

# KVM only where the processor offers virtualization: a /dev/kvm without it exists on some machines and boots nothing.
# Emulation with one processor: while the kernel patches its own code for static keys, a second emulated one can run into half
# an instruction, and the kernel dies in its scheduler (seen in one of some forty runs).
accelerator() {
    if [[ -w /dev/kvm ]] && grep -qwE 'vmx|svm' /proc/cpuinfo; then
        printf 'kvm -smp 2'
    else
        printf 'tcg,thread=single -smp 1'
    fi
}

boot_vm() {
    local accelerator
    read -ra accelerator <<<"${CKPT_TESTHOSTS_ACCEL:-$(accelerator)}"
    local arguments=(
        -accel "${accelerator[@]}"
        # Without five-level paging, which emulation has and which slows every walk.
        -cpu max,-la57
        -m "$vm_memory"
        -nodefaults -no-reboot -display none -nic none
        -kernel "$vm/kernel" -initrd "$vm/initrd"
        -append "console=ttyS0 quiet panic=-1 mitigations=off"
        -drive "file=$vm/root.ext4,format=raw,if=virtio,snapshot=on,cache=unsafe"
        -drive "file=$work/input,format=raw,if=virtio,readonly=on"
        -drive "file=$work/output,format=raw,if=virtio,cache=unsafe"
        # The first serial line is the kernel's, the second the script's output.
        -serial "file:$work/console" -serial stdio
    )
    # Both die with this process, whatever it dies of.
    TMPDIR=$work setpriv --pdeathsig KILL timeout --foreground -k 5 "$vm_timeout" \
        setpriv --pdeathsig KILL qemu-system-x86_64 "${arguments[@]}" </dev/null &
    wait_for_vm $!
}

# wait_for_vm PID: until it ends. One that has not come up in time is ended: booting takes 10 s, a minute on a busy machine.
wait_for_vm() {
    local deadline=$((SECONDS + VM_BOOT_TIMEOUT))
    until grep -qs 'vm: up' "$work/console" || ! kill -0 "$1" 2>/dev/null; do
        if ((SECONDS > deadline)); then
            kill "$1"
            wait "$1" || true
            return "$NEVER_UP"
        fi
        sleep 0.5
    done
    wait "$1"
}

vm_result() {
    mkdir "$work/result"
    if ! tar -C "$work/result" -xf "$work/output" 2>/dev/null || [[ ! -s $work/result/exit-code ]]; then
        tail -n 40 "$work/console" >&2
        die "the virtual machine ended without a result"
    fi
    if [[ -n $fetch ]]; then
        mkdir -p "$fetch"
        [[ ! -d $work/result/out ]] || cp -a "$work/result/out/." "$fetch/"
        cp "$work/console" "$fetch/console.log"
    fi
    exit "$(<"$work/result/exit-code")"
}
