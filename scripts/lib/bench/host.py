"""A test host that is taken down whatever happens, and commands in it."""

import json
import os
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TESTHOSTS = os.path.join(HERE, "../../testhosts")
NAME = "a"
# Of one command. Far above what any takes; below what a person waits before looking.
TIMEOUT_SECONDS = 900
OUTPUT = "/run/bench.out"


class Failed(Exception):
    """A command in the host failed; the text is its script and the end of what it said."""


def prepare():
    """Builds what hosts are made of, where it is not there yet. What that says is no part of the result."""
    subprocess.run([TESTHOSTS, "prepare"], check=True, stdout=subprocess.DEVNULL)


class Host:
    def __init__(self, binary):
        # Taken down with the host, also when this process is killed.
        self.session = tempfile.mkdtemp(prefix="ckpt-bench-", dir="/var/tmp")
        binds = [f"{binary}:/usr/local/bin/ckpt:ro", f"{HERE}:/opt/bench:ro"]
        arguments = [TESTHOSTS, "up", "--session", self.session]
        for bind in binds:
            arguments += ["--bind", bind]
        # Ctrl-C reaches the whole process group, and taking the host down is not to be interrupted by it.
        self.up = subprocess.Popen([*arguments, NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   start_new_session=True)
        try:
            if self.up.stdout.readline().strip() != b"ready":
                raise Failed("the test host did not start")
            with open(os.path.join(self.session, "hosts", NAME, "pid")) as file:
                self.pid = int(file.read().split()[0])
        except BaseException:
            self.close()
            raise

    def close(self):
        self.up.stdin.close()
        self.up.wait()

    def outside(self, path):
        """A path below one of the host's plain directories, as the machine sees it."""
        return os.path.join(self.session, "hosts", NAME, path.lstrip("/"))

    def inside_root(self, path):
        """Any path of the host, through its first process."""
        return f"/proc/{self.pid}/root{path}"

    def cgroups(self, which):
        """Lines of a file of the session that lists the host's cgroups: `roots`, or `cgroups` (their cgroup.procs)."""
        with open(os.path.join(self.session, "hosts", NAME, which)) as file:
            return file.read().split()

    def command(self, *arguments):
        return [TESTHOSTS, "exec", self.session, NAME, "--", *arguments]

    def spawn(self, *arguments):
        return subprocess.Popen(self.command(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def attempt(self, *arguments):
        return subprocess.run(self.command(*arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=TIMEOUT_SECONDS)

    def run(self, script):
        """Runs a shell script that must succeed; what it printed."""
        ran = self.attempt("sh", "-ec", script)
        if ran.returncode:
            raise Failed(f"{script}\n{(ran.stdout + ran.stderr)[-2000:]}")
        return ran.stdout

    def timed(self, script):
        """Runs a shell script that must succeed, timed in the host; see timed.py. What it printed is `output`."""
        # What earlier commands left to be written to disk is not this one's to wait for.
        self.run("sync -f /data")
        ran = self.attempt("python3", "/opt/bench/timed.py", OUTPUT, script)
        if ran.returncode:
            raise Failed(f"timed.py: {ran.stderr[-2000:]}")
        result = json.loads(ran.stdout)
        with open(self.inside_root(OUTPUT), errors="replace") as file:
            result["output"] = file.read()
        if result.pop("status"):
            raise Failed(f"{script}\n{result['output'][-2000:]}")
        return result


class Hosts:
    """The host of a run; another one after something failed in it."""

    def __init__(self, binary):
        self.binary, self.host = binary, None

    def __enter__(self):
        self.host = Host(self.binary)
        return self

    def __exit__(self, *_):
        if self.host:
            self.host.close()

    def renew(self):
        self.host, before = None, self.host
        before.close()
        self.host = Host(self.binary)
