//! Archives are ordinary: other people's tools read them, and the same input makes the same bytes.

use crate::container::{start_counter, status};
use crate::support::{Cgroup, Hosts, possible};

#[test]
fn tar_zstd_sha256sum_and_checkpointctl_read_an_archive() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    start_counter(a, "runc", "c1", "");
    a.run("ckpt export c1 -o /data/c1.tar.zst --leave-running");
    a.run("mkdir /data/x; cd /data/x; zstd -qdc /data/c1.tar.zst | tar x; sha256sum --quiet -c SHA256SUMS");
    let identity = a.run("sha256sum < /data/x/SHA256SUMS | cut -d' ' -f1");
    assert_eq!(a.run("ckpt verify --json /data/c1.tar.zst | jq -r .identity"), identity);
    assert_eq!(
        a.run("tar tf /data/c1.tar.zst --zstd | grep -v /$"),
        a.run("ckpt ls /data/c1.tar.zst")
    );
    let shown = a.run("checkpointctl show /data/c1.tar.zst");
    assert!(shown.contains("runc"), "{shown}");
    let tree = a.run("checkpointctl inspect --all /data/c1.tar.zst");
    assert!(tree.contains("sh") && tree.contains("Process tree"), "{tree}");
    for compress in ["gzip", "none"] {
        a.run(&format!("ckpt export c1 -o /data/c1.{compress} --leave-running --compress {compress}; ckpt verify /data/c1.{compress}"));
        a.run(&format!(
            "rm -rf /data/x; mkdir /data/x; cd /data/x; tar xf /data/c1.{compress}; sha256sum --quiet -c SHA256SUMS"
        ));
    }
}

#[test]
fn somebody_else_s_dump_becomes_the_same_bytes_with_any_number_of_threads() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    start_counter(a, "runc", "c1", "");
    a.run("runc checkpoint --image-path /data/images --work-path /data/work c1");
    assert_eq!(status(a, "runc", "c1"), "");
    for threads in ["1", "8"] {
        a.run(&format!(
            "SOURCE_DATE_EPOCH=1700000000 ckpt export --images /data/images --bundle /data/c1 --runtime runc --threads {threads} -o /data/t{threads}"
        ));
    }
    a.run("cmp /data/t1 /data/t8; ckpt verify /data/t1");
    a.run("ckpt import /data/t1 --name c2 --bundle /data/there");
    crate::container::assert_counts(a, "/data/there/rootfs/count");
}
