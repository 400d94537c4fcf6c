"""Medians of the rounds, and what ckpt must reach."""

import statistics

MIB = 1 << 20
# The size that ratios are judged at.
JUDGED = 1024
LARGEST = 4096

# Small images and logs may be on disk beside an archive, pages may not: far less than the least memory that is measured.
NO_PAGES = 4 * MIB


def summary(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def collect(runs):
    """size -> peer -> step -> figure -> median, least and most."""
    found = {}
    for run in runs:
        for step, figures in run["steps"].items():
            place = found.setdefault(run["size"], {}).setdefault(run["peer"], {}).setdefault(step, {})
            for name, value in figures.items():
                place.setdefault(name, []).append(value)
    for peers in found.values():
        for steps in peers.values():
            for figures in steps.values():
                figures.update((name, summary(values)) for name, values in figures.items())
    return found


class Missing(Exception):
    """A figure that this run did not measure."""


class Figures:
    """Medians by place."""

    def __init__(self, collected):
        self.collected = collected

    def __call__(self, size, peer, step, name, which="median"):
        try:
            return self.collected[size][peer][step][name][which]
        except KeyError:
            raise Missing(f"{name} of {peer} {step} at {size} MiB") from None

    def sizes(self):
        return sorted(self.collected)


def ratio(size, ours, theirs):
    return lambda get: get(size, *ours) / get(size, *theirs)


def against_parts(get):
    parts = get(JUDGED, "parts", "discard", "wall") + get(JUDGED, "parts", "zstd", "wall")
    return get(JUDGED, "ckpt", "export", "wall") / parts


def largest(steps, name, which="most"):
    """The largest of a figure of ckpt in any of these steps, at any size."""
    def of(get):
        found = []
        for size in get.sizes():
            for step in steps:
                try:
                    found.append(get(size, "ckpt", step, name, which))
                except Missing:
                    continue
        if not found:
            raise Missing(name)
        return max(found)
    return of


def above_archive(get):
    return max(get(size, "ckpt", "export", "disk_above") for size in get.sizes())


# What, unit, the most it may be (or the least, where the third is so), how it is found.
BARS = [
    ("export, zstd, against podman zstd", "x", "at most", 1 / 3,
     ratio(JUDGED, ("ckpt", "export", "wall"), ("podman-zstd", "export", "wall"))),
    ("export against CRIU into a page server that discards + zstd -T0 -3", "x", "at most", 0.8, against_parts),
    ("stands still (seen from outside) against podman", "x", "at most", 0.5,
     ratio(JUDGED, ("ckpt", "export", "still"), ("podman-zstd", "export", "still"))),
    ("frozen (as reported) against podman", "x", "at most", 0.5,
     ratio(JUDGED, ("ckpt", "export", "frozen"), ("podman-zstd", "export", "frozen"))),
    ("eager import against podman", "x", "at most", 1 / 3,
     ratio(JUDGED, ("ckpt", "import", "wall"), ("podman-zstd", "import", "wall"))),
    ("lazy import until the counter goes on, largest of all sizes", "s", "at most", 0.5, largest(["lazy"], "goes_on", "median")),
    ("peak memory of ckpt, largest of all", "MiB", "at most", 96 * MIB, largest(["export", "import", "lazy"], "memory")),
    ("disk above the archive, export, largest of all sizes", "MiB", "at most", NO_PAGES, above_archive),
    ("disk beside the archive, lazy import, largest of all sizes", "MiB", "at most", NO_PAGES, largest(["lazy"], "disk")),
    ("inspect of a 4 GiB archive", "s", "at most", 0.05, lambda get: get(LARGEST, "ckpt", "reading", "inspect")),
    ("ls of a 4 GiB archive", "s", "at most", 0.05, lambda get: get(LARGEST, "ckpt", "reading", "ls")),
    ("inspect of podman's own archive against one pass of zstd -d", "x", "at most", 1,
     ratio(JUDGED, ("podman-zstd", "reading", "inspect"), ("podman-zstd", "reading", "pass"))),
    ("verify, share of what SHA-256 and zstd decoding allow", "x", "at least", 0.8,
     lambda get: get(JUDGED, "ckpt", "reading", "verify_share")),
]


def judge(collected):
    """Each bar with its value and whether it is met; None where this run does not tell."""
    get, found = Figures(collected), []
    for what, unit, side, bar, value_of in BARS:
        try:
            value = value_of(get)
        except Missing:
            value = None
        met = None if value is None else (value <= bar if side == "at most" else value >= bar)
        found.append({"what": what, "unit": unit, "side": side, "bar": bar, "value": value, "met": met})
    return found
