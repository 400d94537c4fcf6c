"""Tables, for a terminal and in Markdown."""

MIB = 1 << 20
BEGIN, END = "<!-- figures of scripts/bench -->", "<!-- end of figures -->"


def seconds(found):
    if found["least"] == found["most"]:
        return f"{found['median']:.2f}"
    return f"{found['median']:.2f} ({found['least']:.2f} to {found['most']:.2f})"


def mebibytes(found):
    return f"{found['median'] / MIB:.0f}"


def cpu(figures):
    return f"{figures['user']['median'] + figures['system']['median']:.2f}"


def cell(figures, name, draw):
    return draw(figures[name]) if name in figures else ""


COLUMNS = {
    "export": [("seconds", "wall", seconds), ("stands still", "still", seconds), ("frozen, as reported", "frozen", seconds)],
    "import": [("seconds", "wall", seconds), ("goes on after", "goes_on", seconds)],
}
LAST = [("disk at the peak, MiB", "disk", mebibytes), ("memory of ckpt, MiB", "memory", mebibytes)]


def table(heads, rows):
    """In Markdown, aligned so that it can be read as it is."""
    rows = [heads, *rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(heads))]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def plain(markdown):
    """The same for a terminal."""
    lines = (line for line in markdown.splitlines() if not line.startswith("|-"))
    return "\n".join(line.strip("|# ").replace(" | ", "  ").replace("**", "") for line in lines) + "\n"


def step_table(peers, what, steps, baseline):
    """One row for each peer and step, with its wall time against the baseline's."""
    columns = COLUMNS[what]
    heads = [what, *(head for head, _, _ in columns), "of podman zstd", "CPU seconds", *(head for head, _, _ in LAST)]
    if what == "export":
        heads.append("archive, MiB")
    rows = []
    for peer, found in peers.items():
        for step in steps:
            if step not in found:
                continue
            figures = found[step]
            share = f"{figures['wall']['median'] / baseline:.2f}" if baseline else ""
            row = [f"{peer}, lazy" if step == "lazy" else peer, *(cell(figures, name, draw) for _, name, draw in columns), share,
                   cpu(figures), *(cell(figures, name, draw) for _, name, draw in LAST)]
            if not peer.startswith("ckpt"):
                row[-1] = ""
            if what == "export":
                row.append(cell(figures, "archive", mebibytes))
            rows.append(row)
    return table(heads, rows)


def parts_table(parts):
    discard, zstd = parts["discard"], parts["zstd"]
    return table(["alone", "seconds", "stands still", "frozen, as reported", "CPU seconds"], [
        ["CRIU into a page server that discards", seconds(discard["wall"]), seconds(discard["still"]), seconds(discard["frozen"]),
         cpu(discard)],
        ["zstd -T0 -3 of the same bytes", seconds(zstd["wall"]), "", "", cpu(zstd)],
    ])


def reading_table(found):
    def milliseconds(name):
        return f"{found[name]['median'] * 1000:.0f} ms"

    def gigabytes(name):
        return f"{found[name]['median'] / 1e9:.2f} GB/s"

    return table(["reading ckpt's archive", ""], [
        ["verify", f"{seconds(found['verify'])} s"],
        ["of that, SHA-256 and zstd decoding on all cores", f"{found['verify_share']['median']:.0%}"],
        ["CPU seconds of verify, and of SHA-256 and zstd decoding alone",
         f"{found['verify_cpu']['median']:.2f}, {found['one_core']['median']:.2f}"],
        ["one core: SHA-256, zstd decoding", f"{gigabytes('sha256_bytes_per_second')}, {gigabytes('zstd_bytes_per_second')}"],
        ["inspect, ls", f"{milliseconds('inspect')}, {milliseconds('ls')}"],
    ])


def foreign_table(tools):
    """Archives that podman made itself, which have no index."""
    rows = []
    for name, found in tools.items():
        if name.startswith("podman-") and "reading" in found:
            reading = found["reading"]
            share = reading["inspect"]["median"] / reading["pass"]["median"]
            rows.append([name, seconds(reading["inspect"]), seconds(reading["pass"]), f"{share:.2f}",
                         mebibytes(reading["inspect_memory"])])
    heads = ["reading podman's own archive", "inspect, seconds", "decompression alone", "of that", "memory of ckpt, MiB"]
    return [table(heads, rows)] if rows else []


def size_tables(size, peers):
    tools = {name: found for name, found in peers.items() if "export" in found}
    podman = tools.get("podman-zstd", {})

    def baseline(step):
        return podman[step]["wall"]["median"] if step in podman else None

    found = [f"### {size} MiB"]
    if tools:
        found += [step_table(tools, "export", ["export"], baseline("export")),
                  step_table(tools, "import", ["import", "lazy"], baseline("import"))]
    if "parts" in peers:
        found.append(parts_table(peers["parts"]))
    if "reading" in peers.get("ckpt", {}):
        found.append(reading_table(peers["ckpt"]["reading"]))
    found += foreign_table(tools)
    return found


def bar_value(value, unit):
    if value is None:
        return "not measured"
    return {"x": f"{value:.2f}", "s": f"{value:.3f} s", "MiB": f"{value / MIB:.1f} MiB"}[unit]


def bars_table(bars):
    answers = {True: "met", False: "**missed**", None: ""}
    return table(["figure", "bar", "measured", ""], [
        [bar["what"], f"{bar['side']} {bar_value(bar['bar'], bar['unit'])}", bar_value(bar["value"], bar["unit"]), answers[bar["met"]]]
        for bar in bars])


def machine(found, figures):
    return (f"{found['cpu']}, {found['cores']} cores, {found['memory'] / (1 << 30):.0f} GiB, Linux {found['kernel']}; CRIU {found['criu']}, "
            f"runc {found['runc']}, podman {found['podman']}. Medians of {found['rounds']}, least and most in brackets. Other "
            f"programs used {others(figures)} of the processors meanwhile.")


def others(figures):
    """The largest median of any step."""
    steps = (step for peers in figures.values() for found in peers.values() for step in found.values())
    shares = [step["others"]["median"] for step in steps if "others" in step]
    return f"at most {max(shares):.0%}"


def render(about, figures, bars):
    parts = [machine(about, figures)]
    for size, peers in sorted(figures.items()):
        parts += size_tables(size, peers)
    parts += ["### What must be reached", bars_table(bars)]
    return "\n\n".join(parts) + "\n"


def put_into(path, markdown):
    """Replaces the figures of a document, between its two marks."""
    with open(path) as file:
        text = file.read()
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    with open(path, "w") as file:
        file.write(f"{before}{BEGIN}\n{markdown}{END}{after}")
