//! A host with a bridge and a container on it, as far as the network is concerned.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use crate::sys::rtnetlink::{Change, Interface, Netlink};
use crate::sys::testing::in_private_network;

/// A process in a network namespace of its own.
pub(super) struct Container {
    process: Child,
}

impl Container {
    fn start() -> Self {
        let process = Command::new("unshare")
            .args(["--net", "sleep", "60"])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare of util-linux");
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let theirs = format!("/proc/{}/ns/net", process.id());
        while std::fs::read_link(&theirs).unwrap() == own {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Self { process }
    }

    pub(super) fn pid(&self) -> i32 {
        i32::try_from(self.process.id()).unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The interface of that name in the calling thread's network namespace.
pub(super) fn interface(name: &str) -> Option<Interface> {
    let all = Netlink::open().unwrap().interfaces().unwrap();
    all.into_iter().find(|interface| interface.name == name)
}

/// Runs a test in a network namespace with the bridges `br0` and `br1` and a container whose `eth0` is on `br0` through
/// `vethc1`. Needs root.
pub(super) fn with_container(test: impl FnOnce(&Container) + Send) {
    in_private_network(|| {
        let container = Container::start();
        let netlink = Netlink::open().unwrap();
        for bridge in ["br0", "br1"] {
            netlink.make_bridge(bridge);
            let index = interface(bridge).unwrap().index;
            netlink.change(index, Change::Up(true)).unwrap();
        }
        let namespace = File::open(format!("/proc/{}/ns/net", container.pid())).unwrap();
        netlink.make_veth("vethc1", "eth0", namespace.as_fd());
        let (end, bridge) = (interface("vethc1").unwrap().index, interface("br0").unwrap().index);
        netlink.change(end, Change::Master(Some(bridge))).unwrap();
        netlink.change(end, Change::Up(true)).unwrap();
        test(&container);
    });
}
