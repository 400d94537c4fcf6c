"""What the parts take alone, to compare the whole with.

- CRIU dumping into a page server that throws everything away: a dump without any place to put memory.
- `zstd -T0 -3` of the very bytes that a dump writes.
- SHA-256 and zstd decoding on one core: what `ckpt verify` has to do, without ckpt.
"""

import statistics

from bench import container, stats, ticks
from bench.host import Failed
from bench.sampler import Sampler

PORT = 7000
# Its header grew with this version.
LARGE_HEADER_SINCE = (4, 2)
LOOKS = 5
IMAGES = "/data/reference"


def header(host):
    version = host.run("criu --version").split("Version:", 1)[1].split()[0]
    numbers = tuple(int(part) for part in version.split(".")[:2])
    return 32 if numbers >= LARGE_HEADER_SINCE else 24


def discard(host, counter):
    """Figures of a dump whose memory goes nowhere; the container runs on."""
    server = host.spawn("python3", "/opt/bench/discard.py", str(PORT), str(header(host)))
    try:
        if server.stdout.readline() != "ready\n":
            raise Failed("the page server does not start")
        result = host.timed(f"runc checkpoint --leave-running --page-server 127.0.0.1:{PORT} --image-path {IMAGES}/small "
                            f"--work-path {IMAGES}/work {container.NAME}")
        result["bytes"] = int(server.communicate(timeout=ticks.GOES_ON_SECONDS)[0])
    finally:
        server.kill()
        server.wait()
    result.pop("output")
    result["frozen"] = stats.dump(host.outside(f"{IMAGES}/work/stats-dump"))["frozen"]
    _, result["still"] = counter.longest_gap(result["began_ns"], result["ended_ns"])
    return result


def compress(host):
    """Figures of compressing what the same container's dump writes."""
    host.run(f"runc checkpoint --image-path {IMAGES}/images --work-path {IMAGES}/work {container.NAME}")
    result = host.timed(f"zstd -q -T0 -3 -c {IMAGES}/images/pages-*.img >{IMAGES}/pages.zst")
    result.pop("output")
    result["archive"] = int(host.run(f"stat -c %s {IMAGES}/pages.zst"))
    return result


def parts(host, size):
    counter = container.start_runc(host, size)
    try:
        host.run(f"mkdir {IMAGES}")
        return {"discard": discard(host, counter), "zstd": compress(host)}
    finally:
        counter.close()
        container.stop_runc(host)
        host.run(f"rm -rf {IMAGES}")


def reading(host, archive, content):
    """What reading an archive takes, and what one core needs for the parts of verifying it."""
    cores = int(host.run("nproc"))
    with Sampler(host) as sampler:
        verify = host.timed(f"ckpt verify -q {archive}")
    verify.update(sampler.figures())
    hashed = host.timed(f"sha256sum {archive}")
    decoded = host.timed(f"zstd -qdc {archive} >/dev/null")
    stored = int(host.run(f"stat -c %s {archive}"))
    # Every byte is hashed as it is stored, and again as it is decoded.
    one_core = hashed["own_cpu"] * (stored + content) / stored + decoded["own_cpu"]
    return {
        "verify": verify["wall"], "verify_cpu": verify["user"] + verify["system"], "verify_memory": verify["memory"],
        "verify_share": one_core / cores / verify["wall"], "one_core": one_core, "others": verify["others"],
        "sha256_bytes_per_second": stored / hashed["own_cpu"], "zstd_bytes_per_second": content / decoded["own_cpu"],
        "inspect": quick(host, f"ckpt inspect {archive}"), "ls": quick(host, f"ckpt ls {archive}"),
    }


def quick(host, command):
    return statistics.median(host.timed(f"exec {command}")["wall"] for _ in range(LOOKS))


def foreign(host, archive, _content):
    """What `ckpt inspect` of an archive without an index takes, beside one pass of decompression of it; by turns."""
    compression = host.run(f"head -c 2 {archive} | od -An -tx1").split()
    one_pass = {("28", "b5"): "zstd -qdc", ("1f", "8b"): "gzip -dc"}.get(tuple(compression), "cat")
    runs = {"inspect": f"exec ckpt inspect {archive}", "pass": f"exec {one_pass} {archive} >/dev/null"}
    found = {name: [] for name in runs}
    for _ in range(LOOKS):
        for name, command in runs.items():
            found[name].append(host.timed(command))
    walls = {name: statistics.median(run["wall"] for run in taken) for name, taken in found.items()}
    return {**walls, "inspect_memory": max(run["resident"] for run in found["inspect"]),
            "others": statistics.median(run["others"] for run in found["inspect"])}
