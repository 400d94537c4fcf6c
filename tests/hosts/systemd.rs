//! Units of a real systemd, which boots in a test host: exported by name, ended for good, imported beside it and under it.

use crate::process::ping;
use crate::support::{Cgroup, Host, Hosts, possible};

/// A counter that says each number to the journal, too, and is started anew whatever ends it.
const COUNT: &str = "[Service]\nType=exec\nRestart=always\nRestartSec=0\n\
    ExecStart=/bin/sh -c 'i=0; while :; do i=$$((i+1)); echo $$i; echo $$i >> /data/count; sleep 0.1; done'\n";

/// nginx as Debian's package starts it.
const NGINX: &str = "[Service]\nType=forking\nPIDFile=/run/nginx.pid\nRestart=on-failure\n\
    ExecStart=/usr/sbin/nginx -c /etc/nginx/service.conf\n\
    ExecStop=-/sbin/start-stop-daemon --quiet --stop --retry QUIT/5 --pidfile /run/nginx.pid\n";

/// What has systemd start an archive instead of the unit's program, as docs/processes.md has it.
fn drop_in(archive: &str, pid_file: &str) -> String {
    format!(
        "[Service]\nType=forking\nPIDFile={pid_file}\nExecStart=\n\
         ExecStart=+/usr/local/bin/ckpt import {archive} --pid-file {pid_file} --manage-cgroups-mode ignore\n"
    )
}

/// A host with a systemd in it, where everything below runs.
pub(crate) struct Booted<'a>(Host<'a>);

impl<'a> Booted<'a> {
    pub(crate) fn on(host: Host<'a>) -> Self {
        host.run("/opt/workloads/mksystemd");
        Self(host)
    }

    pub(crate) fn run(&self, script: &str) -> String {
        self.0.run(&format!("insystemd sh -es <<'SCRIPT'\n{script}\nSCRIPT"))
    }

    pub(crate) fn wait_until(&self, script: &str) {
        self.0
            .wait_until(&format!("insystemd sh -es <<'SCRIPT'\n{script}\nSCRIPT"));
    }

    /// Makes the unit, in place of an older one of that name.
    fn unit(&self, name: &str, text: &str) {
        self.run(&format!(
            "cat > /etc/systemd/system/{name} <<'UNIT'\n{text}\nUNIT\nsystemctl daemon-reload"
        ));
    }

    /// Starts the unit with an archive in the place of its program.
    fn start_from(&self, unit: &str, archive: &str, pid_file: &str) {
        let directory = format!("/run/systemd/system/{unit}.d");
        self.run(&format!(
            "mkdir -p {directory}; cat > {directory}/ckpt.conf <<'UNIT'\n{}\nUNIT\n\
             systemctl daemon-reload; systemctl start {unit}; rm -r {directory}; systemctl daemon-reload",
            drop_in(archive, pid_file)
        ));
    }

    fn property(&self, unit: &str, name: &str) -> String {
        self.run(&format!("systemctl show -P {name} {unit}"))
    }
}

#[test]
fn a_unit_that_restarts_itself_ends_with_its_export_and_its_journal_goes_on_with_the_import() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V2);
    let host = Booted::on(hosts.host("a"));
    host.unit("count.service", COUNT);
    host.run("systemctl start count.service");
    host.wait_until("[ $(wc -l < /data/count) -ge 3 ]");
    let pid = host.property("count.service", "MainPID");

    // A dump that fails leaves the unit as it is, and systemd unaware.
    host.run("mkdir /data/small; mount -t tmpfs -o size=16k tmpfs /data/small");
    host.run("! ckpt export --unit count.service -o /data/small/count.ckpt");
    assert_eq!(host.property("count.service", "MainPID"), pid);
    assert_eq!(host.property("count.service", "NRestarts"), "0");
    let before = host.run("wc -l < /data/count");
    host.wait_until(&format!("[ $(wc -l < /data/count) -gt {before} ]"));

    host.run("ckpt export --unit count.service -o /data/count.ckpt");
    host.wait_until("! systemctl is-active count.service");
    host.run(&format!("! [ -e /proc/{pid} ]; sleep 1"));
    assert_eq!(host.property("count.service", "NRestarts"), "0");
    assert_eq!(host.property("count.service", "MainPID"), "0");

    // Beside systemd: with its number, and its words in the journal.
    host.run("ckpt import /data/count.ckpt");
    let last = host.run("tail -n 1 /data/count");
    host.wait_until(&format!(
        "journalctl -u count.service -o cat | grep -qx $(({last} + 2))"
    ));
    host.run(&format!("ckpt export --pid {pid} -o /data/again.ckpt"));
    let twice = host.run("journalctl -u count.service -o cat | grep -x '[0-9]*' | sort | uniq -d");
    assert_eq!(twice, "", "no line twice");

    // Under systemd: it is the unit's main process again, and is started anew when it ends.
    host.start_from("count.service", "/data/again.ckpt", "/run/count.pid");
    assert_eq!(host.property("count.service", "MainPID"), pid);
    assert_eq!(host.property("count.service", "ActiveState"), "active");
    crate::container::assert_counts(host.0, "/data/count");
    // Exported by the number of its main process it is the unit that ends.
    host.run(&format!("ckpt export --pid {pid} -o /data/count.ckpt"));
    host.wait_until("! systemctl is-active count.service");
    host.start_from("count.service", "/data/count.ckpt", "/run/count.pid");
    host.run(&format!("rm /data/count; kill -9 {pid}"));
    host.wait_until("[ \"$(head -n 1 /data/count)\" = 1 ]");
    assert_eq!(host.property("count.service", "ActiveState"), "active");
}

#[test]
fn nginx_of_systemd_serves_elsewhere_as_the_same_unit() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V2);
    let (a, b) = (Booted::on(hosts.host("a")), Booted::on(hosts.host("b")));
    for host in [&a, &b] {
        host.run("/opt/workloads/nginx-service.sh install");
        host.unit("nginx.service", NGINX);
    }
    a.run("systemctl start nginx.service");
    let answer = ping(a.0, "127.0.0.1");
    let pid = a.property("nginx.service", "MainPID");
    a.run("ckpt export --unit nginx.service -o /data/nginx.ckpt");
    a.0.run("! pgrep nginx; scp -q /data/nginx.ckpt /var/log/nginx/error.log b:/data/");
    // Numbers that are free there: ckpt's own would be among them.
    b.run("echo 3000 > /proc/sys/kernel/ns_last_pid");
    b.run("cp /data/error.log /var/log/nginx/; ckpt check --runtime process /data/nginx.ckpt");
    b.start_from("nginx.service", "/data/nginx.ckpt", "/run/nginx.pid");
    assert_eq!(b.property("nginx.service", "MainPID"), pid);
    assert_eq!(ping(b.0, "127.0.0.1"), answer, "the same worker answers");
    // systemd looks after it as if it had started it.
    b.run("grep -q system.slice/nginx.service /proc/$(cat /run/nginx.pid)/cgroup; systemctl stop nginx.service");
    b.0.run("! pgrep nginx");
    assert_eq!(b.property("nginx.service", "Result"), "success");
}
