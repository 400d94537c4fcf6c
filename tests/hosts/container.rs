//! Containers in a test host, and what is asked of them.

use crate::support::Host;

/// Makes a bundle in `/data/NAME` and starts the container NAME from it; `options` are `mkbundle`'s.
pub fn start(host: Host<'_>, runtime: &str, name: &str, options: &str, command: &str) {
    host.run(&format!(
        "/opt/workloads/mkbundle /data/{name} --runtime {runtime} {options} -- {command}\n\
         {runtime} run -d --bundle /data/{name} {name} </dev/null >/dev/null 2>&1"
    ));
}

/// Starts a container that counts into `/count`, and waits until it does.
pub fn start_counter(host: Host<'_>, runtime: &str, name: &str, options: &str) {
    start(host, runtime, name, options, "sh /opt/workloads/counter.sh /count");
    host.wait_until(&format!("[ $(wc -l < /data/{name}/rootfs/count) -ge 3 ]"));
}

/// The state that the runtime tells of a container; empty where it knows none.
pub fn status(host: Host<'_>, runtime: &str, name: &str) -> String {
    host.attempt(&format!("{runtime} state {name} 2>/dev/null | jq -r .status"))
        .stdout
        .trim()
        .to_owned()
}

/// The last number in a counter's file.
pub fn last(host: Host<'_>, file: &str) -> u64 {
    host.run(&format!("tail -n 1 {file}")).parse().expect("a number")
}

/// Asserts that the numbers in a counter's file have no gap and no repetition, and that they go on.
pub fn assert_counts(host: Host<'_>, file: &str) {
    host.run(&format!(
        "awk 'NR > 1 && $1 != last + 1 {{ print \"after \" last \" came \" $1; bad = 1 }} {{ last = $1 }} END {{ exit bad }}' {file}"
    ));
    let before = last(host, file);
    host.wait_until(&format!("[ $(tail -n 1 {file}) -gt {before} ]"));
}

/// Asserts that the container runs and counts as if nothing had happened.
pub fn assert_untouched(host: Host<'_>, runtime: &str, name: &str) {
    assert_eq!(status(host, runtime, name), "running", "{name} must run on");
    assert_counts(host, &format!("/data/{name}/rootfs/count"));
}
