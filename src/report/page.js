"use strict";
// Shows the data in this page. Text of the archive is only ever set as text: nothing here makes markup of it.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const inspection = data.inspection;
  const processes = inspection.processes || [];
  const KINDS = [["anonymous", "private"], ["shared", "shared"], ["file", "changed files"], ["shared-file", "shared files"], ["special", "kernel's"]];
  const ROWS = 500;
  const by = (id) => document.getElementById(id);

  function make(name, options = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(options)) {
      if (key === "class") node.className = value;
      else if (key === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
      else if (key === "color") node.style.setProperty("--color", `var(--${value})`);
      else if (key === "style") Object.assign(node.style, value);
      else if (value !== undefined && value !== null && value !== false) node.setAttribute(key, value === true ? "" : String(value));
    }
    node.append(...children.filter((child) => child !== undefined && child !== null));
    return node;
  }

  // What a reader cannot see must not look like something else.
  function visible(text) {
    return String(text).replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\u2028\u2029]/g,
      (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  }

  function bytes(count) {
    const units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if (count < 1024) return `${count} B`;
    let value = count / 1024, unit = 0;
    while (value >= 1023.95 && unit + 1 < units.length) { value /= 1024; unit += 1; }
    return `${value.toFixed(1)} ${units[unit]}`;
  }

  const milliseconds = (us) => us >= 1e6 ? `${(us / 1e6).toFixed(2)} s` : `${(us / 1e3).toFixed(us < 1e4 ? 2 : 1)} ms`;
  const command = (process) => (process.command_line && process.command_line.length ? process.command_line.join(" ") : process.name);
  const plural = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
  const sum = (list, of) => list.reduce((total, one) => total + of(one), 0);

  // ---- theme: the system's, until somebody chooses
  const root = document.documentElement, themes = ["system", "light", "dark"];
  let theme = 0;
  function setTheme(next) {
    theme = next;
    if (theme === 0) root.removeAttribute("data-theme"); else root.setAttribute("data-theme", themes[theme]);
    by("theme").textContent = `Colours: ${themes[theme]}`;
    by("theme").setAttribute("aria-label", `Colours: ${themes[theme]}. Press to change`);
  }
  by("theme").addEventListener("click", () => setTheme((theme + 1) % themes.length));
  setTheme(0);

  // ---- a table that sorts and filters
  function table(place, label, columns, rows, options = {}) {
    const state = { column: options.sort ?? -1, down: false, filter: "", shown: ROWS };
    const holder = make("div");
    const count = make("span", { class: "muted", role: "status" });
    const body = make("tbody");
    const more = make("button", { type: "button", on: { click: () => { state.shown += ROWS; draw(); } } }, "Show more");
    const value = (row, column) => column.key ? column.key(row) : column.text(row);
    const heads = columns.map((column, number) => {
      const head = make("th", { scope: "col", class: column.number ? "number" : "" });
      head.append(make("button", { type: "button", on: { click: () => {
        state.down = state.column === number ? !state.down : Boolean(column.number);
        state.column = number;
        draw();
      } } }, column.label));
      return head;
    });
    const filter = make("input", { type: "search", placeholder: "Filter", "aria-label": `Filter ${label}`, on: { input: () => {
      state.filter = filter.value.toLowerCase();
      state.shown = ROWS;
      draw();
    } } });
    const compare = (one, other) => typeof one !== "string" && typeof one === typeof other ? (one < other ? -1 : one > other ? 1 : 0) : String(one).localeCompare(String(other), "en", { numeric: true });
    let all = rows;
    function draw() {
      const words = state.filter.split(/\s+/).filter(Boolean);
      const found = all.filter((row) => {
        if (!words.length) return true;
        const text = columns.map((column) => column.text(row)).join("\n").toLowerCase();
        return words.every((word) => text.includes(word));
      });
      if (state.column >= 0) {
        const column = columns[state.column], sign = state.down ? -1 : 1;
        found.sort((one, other) => sign * compare(value(one, column), value(other, column)));
      }
      heads.forEach((head, number) => head.setAttribute("aria-sort", number !== state.column ? "none" : state.down ? "descending" : "ascending"));
      body.replaceChildren(...found.slice(0, state.shown).map((row) => make("tr", {}, ...columns.map((column) => {
        const cell = make("td", { class: [column.number ? "number" : "", column.mono ? "mono" : "", column.nowrap ? "nowrap" : ""].join(" ").trim() });
        if (column.node) cell.append(column.node(row)); else cell.textContent = visible(column.text(row));
        return cell;
      }))));
      more.hidden = found.length <= state.shown;
      count.textContent = words.length ? `${found.length} of ${plural(all.length, "row")}` : plural(all.length, "row");
    }
    holder.append(
      make("div", { class: "tools" }, filter, ...(options.tools || []), count),
      make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, make("table", {}, make("caption", { class: "skip" }, label), make("thead", {}, make("tr", {}, ...heads)), body)),
      more,
    );
    draw();
    place.replaceChildren(holder);
    return { show: (next) => { all = next; state.shown = ROWS; draw(); } };
  }

  const nothing = (place, text) => place.replaceChildren(make("p", { class: "empty" }, text));
  const legend = (items) => make("ul", { class: "legend" }, ...items.map(([color, text]) => make("li", {}, make("i", { color, "aria-hidden": true }), text)));

  // ---- overview
  function overview() {
    const { manifest, archive, statistics, memory } = inspection;
    const { container, host } = manifest;
    by("title").textContent = visible(container.name || container.id);
    const made = manifest.engine ? `${manifest.engine.name}, ${manifest.runtime.name}` : manifest.runtime.name;
    by("subtitle").textContent = visible(`taken ${manifest.checkpointed_at} · ${made} · ${data.file}`);
    const sockets = sum(processes, (process) => process.files.filter((file) => file.socket).length);
    const tiles = [
      [processes.length, "processes"], [sum(processes, (process) => process.threads.length), "threads"],
      [bytes(memory.private + memory.shared), "memory in the archive"], [bytes(archive.bytes), `archive (${archive.compression})`],
      [sum(processes, (process) => process.files.length), "open files"], [sockets, "sockets"],
      [statistics ? milliseconds(statistics.frozen_time) : "unknown", "frozen"],
    ];
    by("tiles").append(...tiles.map(([value, label]) => make("div", { class: "tile" }, make("b", {}, String(value)), make("span", {}, label))));
    const facts = [
      ["Container", [["id", container.id], ["image", container.image && container.image.name], ["host name", inspection.hostname || container.hostname], ["created", container.created],
        ["pod", manifest.engine && manifest.engine.pod && [manifest.engine.pod.namespace, manifest.engine.pod.name].filter(Boolean).join("/")], ["root", container.rootfs]]],
      ["Made on", [["kernel", host.kernel && `${host.kernel} ${host.arch}`], ["processor", host.cpu && host.cpu.name], ["cgroups", host.cgroup_mode], ["CRIU", host.criu], ["runtime", `${manifest.runtime.name} ${manifest.runtime.version}`]]],
      ["Archive", [["identity", archive.identity && `sha256:${archive.identity}`], ["content", bytes(archive.content_bytes)], ["format", manifest.producer && `${manifest.producer.name} ${manifest.producer.version}`]]],
      ["Memory", KINDS.filter(([kind]) => memory.kinds[kind]).map(([kind, label]) => [label, `${bytes(memory.kinds[kind].stored)} of ${bytes(memory.kinds[kind].mapped)}`])],
    ];
    by("facts").append(...facts.map(([title, lines]) => make("dl", {}, make("h3", {}, title), ...lines.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, visible(value))]))));
    by("problems").append(...(inspection.problems || []).map((problem) => make("p", { class: "notice" }, `Not shown (${problem.part}): ${visible(problem.problem)}`)));
    by("footer").textContent = `Made by ckpt ${data.version}. This page loads nothing and sends nothing.`;
  }

  // ---- timeline
  function timeline() {
    const place = by("spans"), spans = data.timeline || [], statistics = inspection.statistics;
    const colors = { prepare: "prepare", freeze: "freeze", task: "task", pages: "pages", shared: "common", archive: "archive" };
    if (!spans.length && !statistics) return nothing(place, "The archive has neither statistics nor a log of the dump.");
    const rows = spans.length ? spans : [
      { name: "stopping all tasks", kind: "freeze", start: 0, end: statistics.freezing_time },
      { name: "collecting memory", kind: "task", start: statistics.freezing_time, end: statistics.freezing_time + statistics.memdump_time },
      { name: "writing memory", kind: "pages", start: statistics.freezing_time + statistics.memdump_time, end: statistics.freezing_time + statistics.memdump_time + statistics.memwrite_time },
      { name: "frozen", kind: "archive", start: 0, end: statistics.frozen_time },
    ];
    const end = Math.max(...rows.map((row) => row.end), 1);
    const grid = make("div", { class: "spans", role: "list", "aria-label": "What CRIU did when" });
    for (const row of rows) {
      const long = row.end - row.start;
      grid.append(make("div", { class: row.kind === "pages" && spans.length ? "name inner" : "name", role: "listitem", title: visible(row.name) }, visible(row.name), make("span", { class: "skip" }, ` from ${milliseconds(row.start)} for ${milliseconds(long)}`)),
        make("div", { class: "lane", "aria-hidden": true }, make("i", { color: colors[row.kind], style: { left: `${row.start / end * 100}%`, width: `${long / end * 100}%` } })),
        make("div", { class: "time" }, milliseconds(long)));
    }
    const axis = make("div", { class: "axis" }, ...[0, 1, 2, 3, 4].map((part) => make("span", {}, milliseconds(end * part / 4))));
    grid.append(make("div"), axis, make("div"));
    place.append(grid, legend([["prepare", "preparing, the container runs"], ["freeze", "stopping"], ["task", "dumping a task (pids are the host's)"], ["pages", "its memory"], ["common", "what is shared"], ["archive", spans.length ? "completing the archive" : "frozen"]]));
    if (statistics) {
      const times = [["stopping", statistics.freezing_time], ["frozen", statistics.frozen_time], ["collecting", statistics.memdump_time], ["writing", statistics.memwrite_time]];
      // Where ckpt took the memory itself, CRIU has not measured everything.
      const lines = [...times.filter(([, time]) => time > 0).map(([name, time]) => [name, milliseconds(time)]), ["pages", `${statistics.pages_written} written of ${statistics.pages_scanned} looked at`]];
      place.append(make("div", { class: "facts" }, make("dl", {}, ...lines.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]))));
    }
  }

  // ---- the selected process
  let selected = null;
  const listeners = [];
  function select(pid) {
    selected = pid;
    listeners.forEach((listen) => listen(pid));
  }

  function processTree() {
    const place = by("tree");
    if (!processes.length) return nothing(place, "No process could be read.");
    const pids = new Set(processes.map((process) => process.pid));
    const children = new Map();
    for (const process of processes) {
      const parent = pids.has(process.ppid) && process.ppid !== process.pid ? process.ppid : null;
      if (!children.has(parent)) children.set(parent, []);
      children.get(parent).push(process);
    }
    for (const list of children.values()) list.sort((one, other) => one.pid - other.pid);
    const items = new Map();
    const tree = make("ul", { role: "tree", "aria-label": "Processes" });
    const rest = (children.get(null) || []).map((process) => [tree, process, 1]).reverse();
    while (rest.length) {
      const [list, process, level] = rest.pop();
      const below = children.get(process.pid) || [];
      const notes = [process.state === "alive" ? "" : process.state, process.threads.length > 1 ? plural(process.threads.length, "thread") : "", process.uid === undefined ? "" : `uid ${process.uid}`, process.memory ? bytes(process.memory.stored) : ""];
      const item = make("li", { role: "treeitem", tabindex: -1, "aria-selected": "false", "aria-level": level, "data-pid": process.pid });
      const twist = make("span", { class: "twist", "aria-hidden": true }, below.length ? "▾" : "");
      const node = make("div", { class: "node" }, twist, make("span", { class: "pid" }, String(process.pid)), make("span", { class: "command mono" }, visible(command(process))), make("span", { class: "muted" }, notes.filter(Boolean).join(" · ")));
      node.addEventListener("click", (event) => event.target === twist && below.length ? open(item, item.getAttribute("aria-expanded") === "false") : (focus(item), select(process.pid)));
      item.append(node);
      if (below.length) {
        const group = make("ul", { role: "group" });
        item.setAttribute("aria-expanded", "true");
        item.append(group);
        below.slice().reverse().forEach((child) => rest.push([group, child, level + 1]));
      }
      list.append(item);
      items.set(process.pid, item);
    }
    const shown = () => [...tree.querySelectorAll('[role="treeitem"]')].filter((item) => !item.parentElement.closest('[role="treeitem"][aria-expanded="false"]'));
    function open(item, wanted) {
      item.setAttribute("aria-expanded", String(wanted));
      item.querySelector(".twist").textContent = wanted ? "▾" : "▸";
    }
    function focus(item) {
      tree.querySelectorAll('[tabindex="0"]').forEach((other) => other.setAttribute("tabindex", "-1"));
      item.setAttribute("tabindex", "0");
      item.focus();
    }
    tree.addEventListener("keydown", (event) => {
      const item = event.target.closest('[role="treeitem"]'), list = shown(), at = list.indexOf(item);
      const expanded = item.getAttribute("aria-expanded");
      const parent = item.parentElement.closest('[role="treeitem"]');
      const moves = {
        ArrowDown: () => list[at + 1] && focus(list[at + 1]),
        ArrowUp: () => list[at - 1] && focus(list[at - 1]),
        Home: () => focus(list[0]),
        End: () => focus(list[list.length - 1]),
        ArrowRight: () => expanded === "false" ? open(item, true) : expanded === "true" && focus(list[at + 1]),
        ArrowLeft: () => expanded === "true" ? open(item, false) : parent && focus(parent),
        Enter: () => select(Number(item.dataset.pid)),
        " ": () => select(Number(item.dataset.pid)),
      };
      if (moves[event.key]) {
        event.preventDefault();
        moves[event.key]();
      }
    });
    listeners.push((pid) => items.forEach((item, other) => item.setAttribute("aria-selected", String(other === pid))));
    tree.firstElementChild.setAttribute("tabindex", "0");
    place.append(tree);
  }

  // ---- treemap: squarified, largest first
  function squarify(values, x, y, width, height) {
    const total = sum(values, (one) => one.size), found = [];
    if (!total) return found;
    const scale = width * height / total;
    let rest = values.slice();
    const worst = (row, side) => {
      const area = sum(row, (one) => one.size * scale), large = row[0].size * scale, small = row[row.length - 1].size * scale;
      return Math.max(side * side * large / (area * area), area * area / (side * side * small));
    };
    while (rest.length) {
      const side = Math.min(width, height), row = [rest[0]];
      let next = 1;
      while (next < rest.length && worst([...row, rest[next]], side) <= worst(row, side)) row.push(rest[next++]);
      const area = sum(row, (one) => one.size * scale), thick = side ? area / side : 0;
      let at = 0;
      for (const one of row) {
        const long = thick ? one.size * scale / thick : 0;
        found.push(width >= height ? { one, x, y: y + at, width: thick, height: long } : { one, x: x + at, y, width: long, height: thick });
        at += long;
      }
      if (width >= height) { x += thick; width -= thick; } else { y += thick; height -= thick; }
      rest = rest.slice(row.length);
    }
    return found;
  }

  function treemap() {
    const place = by("treemap"), WIDTH = 1000, HEIGHT = 300, MOST = 300;
    const withMemory = processes.filter((process) => process.memory);
    const of = (process) => KINDS.map(([kind, label]) => ({ process, kind, label, size: (process.memory.kinds[kind] || { stored: 0 }).stored })).filter((one) => one.size > 0);
    const groups = withMemory.map((process) => ({ process, parts: of(process) })).map((group) => ({ ...group, size: sum(group.parts, (one) => one.size) })).filter((group) => group.size > 0);
    if (!groups.length) return nothing(place, "No memory is in the archive.");
    groups.sort((one, other) => other.size - one.size);
    const total = sum(groups, (group) => group.size);
    const map = make("div", { class: "map", role: "group", "aria-label": "Memory in the archive by process and kind" });
    const percent = (value, whole) => `${value / whole * 100}%`;
    for (const outer of squarify(groups.slice(0, MOST), 0, 0, WIDTH, HEIGHT)) {
      const parts = outer.one.parts.sort((one, other) => other.size - one.size);
      for (const box of squarify(parts, outer.x, outer.y, outer.width, outer.height)) {
        const { process, kind, label, size } = box.one;
        const title = `${process.pid} ${visible(process.name)}: ${label}, ${bytes(size)}, ${(size / total * 100).toFixed(1)} %`;
        const button = make("button", { type: "button", color: kind, title, "aria-label": title, style: { left: percent(box.x, WIDTH), top: percent(box.y, HEIGHT), width: percent(box.width, WIDTH), height: percent(box.height, HEIGHT) }, on: { click: () => { select(process.pid); by("space").scrollIntoView(); } } });
        if (box.width > 70 && box.height > 24) button.append(make("span", {}, `${process.pid} ${visible(process.name)}`));
        if (box.width > 70 && box.height > 44) button.append(make("span", {}, `${label} ${bytes(size)}`));
        map.append(button);
      }
    }
    place.append(map, legend(KINDS.filter(([kind]) => groups.some((group) => group.parts.some((part) => part.kind === kind)))));
    if (groups.length > MOST) place.append(make("p", { class: "muted" }, `The ${MOST} largest of ${groups.length} processes.`));
    const cell = (kind, what) => (process) => ((process.memory.kinds[kind] || {})[what] || 0);
    const size = (label, of) => ({ label, number: true, key: of, text: (process) => bytes(of(process)) });
    table(by("kinds"), "memory by process", [
      { label: "PID", number: true, key: (process) => process.pid, text: (process) => String(process.pid) },
      { label: "Process", text: (process) => process.name, mono: true },
      size("Mapped", (process) => process.memory.mapped), size("Own, stored", (process) => process.memory.stored), size("Shared, stored", (process) => process.memory.shared),
      size("Private", cell("anonymous", "stored")), size("Files", cell("file", "stored")), size("In parent", (process) => process.memory.in_parent),
    ], withMemory, { sort: 0 });
  }

  // ---- address space
  function strip(mapping) {
    const base = mapping.kind, cells = mapping.cells.length || 1, stops = [];
    const mix = (name, share) => `color-mix(in srgb, var(--${name}) ${Math.round(25 + share / 9 * 75)}%, var(--empty))`;
    for (let at = 0; at < mapping.cells.length; at += 1) {
      const stored = Number(mapping.cells[at]), zero = Number(mapping.zeros[at]);
      const color = stored === 0 ? "var(--empty)" : zero >= stored ? mix("zero", stored) : mix(base, stored);
      stops.push(`${color} ${at / cells * 100}% ${(at + 1) / cells * 100}%`);
    }
    const empty = [...mapping.cells].filter((cell) => cell === "0").length;
    const label = `${bytes(mapping.stored)} of ${bytes(mapping.length)} stored${mapping.zero ? `, ${bytes(mapping.zero)} of it zeros` : ""}; ${Math.round(empty / cells * 100)} % of it has nothing stored`;
    return make("span", { class: "strip", role: "img", "aria-label": label, title: label, style: { background: `linear-gradient(to right, ${stops.join(", ")})` } });
  }

  function addressSpace() {
    const place = by("maps"), spaces = data.mappings || {};
    const withMaps = processes.filter((process) => spaces[process.pid]);
    if (!withMaps.length) return nothing(place, "No mapping could be read.");
    const chooser = make("select", { "aria-label": "Process", on: { change: () => select(Number(chooser.value)) } }, ...withMaps.map((process) => make("option", { value: process.pid }, `${process.pid} ${visible(process.name)}`)));
    const holder = make("div"), sizes = make("p", { class: "muted", role: "status" });
    const size = (label, of) => ({ label, number: true, key: of, text: (mapping) => bytes(of(mapping)) });
    const shown = table(holder, "mappings of the process", [
      { label: "Address", mono: true, nowrap: true, key: (mapping) => BigInt(`0x${mapping.start}`), text: (mapping) => `${mapping.start}-${mapping.end}` },
      { label: "Access", mono: true, text: (mapping) => mapping.protection },
      size("Size", (mapping) => mapping.length), size("Stored", (mapping) => mapping.stored), size("Zeros", (mapping) => mapping.zero || 0),
      { label: "Pages", text: (mapping) => mapping.kind, node: strip },
      { label: "What", mono: true, text: (mapping) => mapping.name },
    ], [], { sort: 0, tools: [chooser] });
    place.append(sizes, holder, legend([...KINDS, ["zero", "pages of zeros"], ["empty", "nothing stored: never written, zero, or as in the file"]]));
    listeners.push((pid) => {
      const mappings = spaces[pid] || [];
      if (spaces[pid]) chooser.value = String(pid);
      shown.show(mappings);
      const process = processes.find((process) => process.pid === pid);
      const cut = data.cut_mappings && data.cut_mappings[pid];
      sizes.textContent = `${pid} ${visible(process.name)}: ${plural(mappings.length, "mapping")}, ${bytes(sum(mappings, (one) => one.length))} of addresses, ${bytes(sum(mappings, (one) => one.stored))} stored, ${bytes(sum(mappings, (one) => one.zero || 0))} of it zeros${cut ? `; ${cut} smaller mappings are not listed` : ""}`;
    });
  }

  // ---- files, sockets, mounts and the rest
  const pid = { label: "PID", number: true, key: (row) => row.pid, text: (row) => String(row.pid) };
  function ofSelected(place, label, columns, rows, empty) {
    if (!rows.length) return nothing(place, empty);
    const only = make("select", { "aria-label": `Whose ${label}` }, make("option", { value: "all" }, "of all processes"), make("option", { value: "one" }, "of the selected process"));
    const shown = table(place, label, columns, rows, { sort: 0, tools: [only] });
    const show = () => shown.show(only.value === "one" ? rows.filter((row) => row.pid === selected) : rows);
    only.addEventListener("change", show);
    listeners.push(show);
  }

  function tables() {
    const files = processes.flatMap((process) => process.files.filter((file) => !file.socket).map((file) => ({ pid: process.pid, ...file })));
    const number = (label, of) => ({ label, number: true, key: (row) => of(row) ?? -1, text: (row) => of(row) === undefined ? "" : String(of(row)) });
    ofSelected(by("files-table"), "open files", [pid, number("FD", (row) => row.fd), { label: "Type", text: (row) => row.type }, { label: "Path", mono: true, text: (row) => row.path }, { label: "Access", text: (row) => row.access || "" }, number("Offset", (row) => row.offset), number("Size", (row) => row.size)], files, "No files were open.");
    const sockets = processes.flatMap((process) => process.files.filter((file) => file.socket).map((file) => ({ pid: process.pid, fd: file.fd, ...file.socket })));
    const end = (endpoint) => endpoint ? `${endpoint.address === null ? "*" : endpoint.address.includes(":") ? `[${endpoint.address}]` : endpoint.address}:${endpoint.port}` : "";
    ofSelected(by("sockets-table"), "sockets", [pid, number("FD", (row) => row.fd), { label: "Protocol", text: (row) => `${row.protocol}${row.family === "ipv6" ? " (IPv6)" : ""}` }, { label: "Type", text: (row) => row.type }, { label: "State", text: (row) => row.state || "" }, { label: "Local", mono: true, text: (row) => end(row.local) || row.path || (row.inode ? `[${row.inode}]` : "") }, { label: "Remote", mono: true, text: (row) => row.remote && row.remote.port ? end(row.remote) : row.peer ? `[${row.peer}]` : "" }, number("Unread", (row) => row.receive_queue), number("Unsent", (row) => row.send_queue)], sockets, "No sockets were open.");
    const mounts = inspection.mounts || [];
    if (mounts.length) table(by("mounts-table"), "mounts", [{ label: "Mount point", mono: true, text: (row) => row.mountpoint }, { label: "Type", text: (row) => row.filesystem }, { label: "Source", mono: true, text: (row) => row.source }, { label: "Root", mono: true, text: (row) => row.root }, { label: "Options", text: (row) => row.flags.join(", ") }, { label: "External", mono: true, text: (row) => row.external || "" }], mounts, { sort: 0 });
    else nothing(by("mounts-table"), "No mounts could be read.");
    const engine = inspection.manifest.engine || {}, network = inspection.network || { devices: [], routes: [] };
    const lines = [
      ...(engine.networks || []).map((one) => ({ what: "network", name: `${one.name} ${one.interface}`, value: [...one.addresses, ...(one.gateways || []).map((gateway) => `via ${gateway}`), one.mac || ""].join(" ").trim() })),
      ...(engine.ports || []).map((one) => ({ what: "port", name: `${one.host_ip || "*"}:${one.host_port}`, value: `to ${one.container_port}/${one.protocol}${one.count > 1 ? `, ${one.count} of them` : ""}` })),
      ...network.devices.map((one) => ({ what: "device", name: one.name, value: [one.type, one.up ? "up" : "down", `mtu ${one.mtu}`, one.mac || "", ...one.addresses.map((address) => `${address.address}/${address.prefix}`)].filter(Boolean).join(" ") })),
      ...network.routes.map((one) => ({ what: "route", name: one.destination ? `${one.destination}/${one.prefix}` : "default", value: one.gateway ? `via ${one.gateway}` : "" })),
    ];
    if (lines.length) table(by("network-table"), "network", [{ label: "What", text: (row) => row.what }, { label: "Name", mono: true, text: (row) => row.name }, { label: "Value", mono: true, text: (row) => row.value }], lines);
    else nothing(by("network-table"), "The images have no network: it is the host's, or the runtime makes it anew.");
    const limits = (inspection.cgroups || []).flatMap((group) => Object.entries(group.limits).map(([file, value]) => ({ file, value: value.trim().split("\n").join(", "), path: group.path || "/", controllers: group.controllers.join(",") })));
    if (limits.length) table(by("limits-table"), "limits", [{ label: "Limit", mono: true, text: (row) => row.file }, { label: "Value", mono: true, text: (row) => row.value }, { label: "Cgroup", mono: true, text: (row) => row.path }, { label: "Controllers", text: (row) => row.controllers }], limits, { sort: 0 });
    else nothing(by("limits-table"), "No limits were recorded.");
    table(by("entries-table"), "entries", [{ label: "Name", mono: true, text: (row) => row.name }, { label: "Size", number: true, key: (row) => row.bytes, text: (row) => bytes(row.bytes) }, { label: "SHA-256", mono: true, text: (row) => row.sha256 || "" }], inspection.entries);
  }

  overview();
  timeline();
  processTree();
  treemap();
  addressSpace();
  tables();
  by("nav").append(...[...document.querySelectorAll("main > section")].map((section) => make("li", {}, make("a", { href: `#${section.id}` }, section.querySelector("h2").textContent))));
  const spaces = data.mappings || {};
  const first = processes.find((process) => spaces[process.pid]) || processes[0];
  if (first) select(first.pid);
})();
