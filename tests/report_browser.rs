//! The page of `ckpt report` in a real browser: headless Chromium, driven through its debugging protocol.
//!
//! `CKPT_SCREENSHOTS=DIR` keeps pictures of it, light and dark.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use assert_cmd::prelude::*;
use serde_json::{Value, json};

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The browser's program. Without one that is said loudly, and is a failure in CI.
fn program() -> Option<&'static str> {
    let there = |name: &&str| {
        let mut probe = Command::new(name);
        probe.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    };
    let found = NAMES.into_iter().find(|name| there(name));
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "the page needs Chromium to be tested, and CI must not skip it"
        );
        eprintln!("SKIPPED: the page needs Chromium to be tested");
    }
    found
}

/// A browser with one page, which lives as long as this value.
struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    next: u64,
    /// What the page complained of, and what it asked to load.
    complaints: Vec<Value>,
    requests: Vec<String>,
    loaded: bool,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn open(program: &str, page: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The protocol is spoken over the descriptors 3 and 4.
        let script = "exec \"$0\" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
                      --window-size=1280,1000 --remote-debugging-pipe --user-data-dir=\"$1\" 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null";
        let mut child = Command::new("sh")
            .args(["-c", script, program])
            .arg(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (
            child.stdin.take().unwrap(),
            BufReader::new(child.stdout.take().unwrap()),
        );
        let mut browser = Self {
            child,
            to,
            from,
            session: None,
            next: 0,
            complaints: Vec::new(),
            requests: Vec::new(),
            loaded: false,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Runtime", "Log", "Page", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.requests.clear();
        browser.call("Page.navigate", json!({"url": format!("file://{}", page.display())}));
        while !browser.loaded {
            browser.message();
        }
        browser
    }

    /// Reads a message; events are noted.
    fn message(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser has ended");
        let message: Value = serde_json::from_slice(&bytes).unwrap();
        match message["method"].as_str() {
            Some("Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded") => {
                self.complaints.push(message["params"].clone());
            }
            Some("Network.requestWillBeSent") => {
                self.requests.push(
                    message["params"]["request"]["url"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                );
            }
            Some("Page.loadEventFired") => self.loaded = true,
            _ => {}
        }
        message
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut call = json!({"id": self.next, "method": method, "params": params});
        if let Some(session) = &self.session {
            call["sessionId"] = session.as_str().into();
        }
        self.to.write_all(call.to_string().as_bytes()).unwrap();
        self.to.write_all(b"\0").unwrap();
        self.to.flush().unwrap();
        loop {
            let message = self.message();
            if message["id"] == self.next {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    /// The value of an expression in the page.
    fn value(&mut self, expression: &str) -> Value {
        let result = self.call(
            "Runtime.evaluate",
            json!({"expression": expression, "returnByValue": true}),
        );
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    fn text(&mut self, expression: &str) -> String {
        self.value(expression)
            .as_str()
            .unwrap_or_else(|| panic!("no text: {expression}"))
            .to_owned()
    }

    /// Presses a key as a person does.
    fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            " " => (32, " "),
            "ArrowUp" => (38, ""),
            "ArrowDown" => (40, ""),
            "ArrowLeft" => (37, ""),
            "ArrowRight" => (39, ""),
            "Home" => (36, ""),
            "End" => (35, ""),
            other => panic!("{other}"),
        };
        let event = |kind: &str| json!({"type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text});
        self.call("Input.dispatchKeyEvent", event("keyDown"));
        self.call("Input.dispatchKeyEvent", event("keyUp"));
    }

    fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    fn colours(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    fn picture(&mut self, name: &str) {
        let Some(directory) = std::env::var_os("CKPT_SCREENSHOTS") else {
            return;
        };
        let result = self.call("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        let path = PathBuf::from(directory).join(format!("{name}.png.base64"));
        fs::write(path, result["data"].as_str().unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/dump-counter")
        .join(name)
}

/// `pstree.img` of processes, each with its parent.
fn tree(processes: &[(u8, u8)]) -> Vec<u8> {
    let mut image = [0x5456_4319_u32.to_le_bytes(), 0x5027_3030_u32.to_le_bytes()].concat();
    for &(pid, ppid) in processes {
        let message = [0x08, pid, 0x10, ppid, 0x18, pid, 0x20, pid, 0x28, pid];
        image.extend((message.len() as u32).to_le_bytes());
        image.extend(message);
    }
    image
}

/// Replaces bytes by as many others.
fn replace(path: &Path, from: &[u8], to: &[u8]) {
    let mut content = fs::read(path).unwrap();
    let at = content.windows(from.len()).position(|bytes| bytes == from).unwrap();
    content[at..at + from.len()].copy_from_slice(to);
    fs::write(path, content).unwrap();
}

/// The page of a dump with three processes, one of them with a name that would be markup, as has an open file.
fn page(directory: &Path) -> PathBuf {
    let images = directory.join("images");
    fs::create_dir(&images).unwrap();
    for entry in fs::read_dir(fixture("images")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, images.join(path.file_name().unwrap())).unwrap();
    }
    for pid in [2, 3] {
        for kind in ["core", "ids", "mm", "fs", "pagemap"] {
            fs::copy(
                images.join(format!("{kind}-1.img")),
                images.join(format!("{kind}-{pid}.img")),
            )
            .unwrap();
        }
    }
    fs::write(images.join("pstree.img"), tree(&[(1, 0), (2, 1), (3, 2)])).unwrap();
    replace(&images.join("core-3.img"), b"counter", b"<b>no</");
    replace(&images.join("files.img"), b"/log", b"<i>x");
    let ckpt = || {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ckpt"));
        command.current_dir(directory).stdin(Stdio::null());
        command
    };
    let mut export = ckpt();
    export
        .args([
            "export",
            "--runtime",
            "runc",
            "-q",
            "-o",
            "a.ckpt",
            "--images",
            "images",
            "--bundle",
        ])
        .arg(fixture("bundle"));
    export.assert().success();
    ckpt().args(["report", "a.ckpt", "-o", "page.html"]).assert().success();
    directory.join("page.html")
}

fn with_page(test: impl FnOnce(&mut Browser)) {
    let Some(program) = program() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut browser = Browser::open(program, &page(directory.path()));
    test(&mut browser);
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    let others: Vec<&String> = browser
        .requests
        .iter()
        .filter(|url| !url.ends_with("/page.html"))
        .collect();
    assert!(others.is_empty(), "the page loads {others:?}");
}

const ROWS: &str = "[...document.querySelectorAll('#mounts-table tbody tr')].map((row) => row.cells[0].textContent)";

#[test]
fn tables_sort_by_keyboard_and_filter() {
    with_page(|page| {
        let rows = |page: &mut Browser| -> Vec<String> { serde_json::from_value(page.value(ROWS)).unwrap() };
        let before = rows(page);
        assert!(before.len() > 20 && before.is_sorted(), "{before:?}");
        let head = "document.querySelector('#mounts-table th')";
        page.value(&format!("{head}.querySelector('button').focus()"));
        assert_eq!(page.text(&format!("{head}.getAttribute('aria-sort')")), "ascending");
        page.press("Enter");
        assert_eq!(page.text(&format!("{head}.getAttribute('aria-sort')")), "descending");
        let mut reversed = rows(page);
        reversed.reverse();
        assert_eq!(reversed, before);
        page.press("Tab");
        page.press(" ");
        let second = "document.querySelectorAll('#mounts-table th')[1].getAttribute('aria-sort')";
        assert_eq!(
            (
                page.text(second),
                page.text(&format!("{head}.getAttribute('aria-sort')"))
            ),
            ("ascending".into(), "none".into())
        );
        // Sizes sort as numbers, not as the text that they are shown as; largest first.
        let size = "document.querySelectorAll('#entries-table th')[1]";
        page.value(&format!("{size}.querySelector('button').click()"));
        let first = page.text("document.querySelector('#entries-table tbody tr').cells[0].textContent");
        assert_eq!(first, "dump.log");
        page.value("document.querySelector('#mounts-table input').focus()");
        page.write("cgroup PIDS");
        assert_eq!(rows(page), ["/sys/fs/cgroup/pids"]);
        assert_eq!(
            page.text("document.querySelector('#mounts-table [role=status]').textContent"),
            format!("1 of {} rows", before.len())
        );
        page.write(" nowhere");
        assert!(rows(page).is_empty());
    });
}

#[test]
fn the_process_tree_is_used_by_keyboard_and_the_rest_follows() {
    with_page(|page| {
        let selected = "document.querySelector('[role=treeitem][aria-selected=true]').dataset.pid";
        let focused = "document.activeElement.dataset.pid || ''";
        assert_eq!(page.text(selected), "1");
        page.value("document.querySelector('[role=treeitem][tabindex=\"0\"]').focus()");
        page.press("ArrowDown");
        page.press("ArrowDown");
        assert_eq!((page.text(focused), page.text(selected)), ("3".into(), "1".into()));
        page.press("Enter");
        assert_eq!(page.text(selected), "3");
        assert_eq!(page.text("document.querySelector('#maps select').value"), "3");
        assert!(
            page.text("document.querySelector('#maps [role=status]').textContent")
                .starts_with("3 <b>no</")
        );
        page.press("ArrowLeft");
        assert_eq!(page.text(focused), "2");
        page.press("ArrowLeft");
        let hidden = "getComputedStyle(document.querySelector('[data-pid=\"3\"]').parentElement).display";
        assert_eq!(page.text(hidden), "none");
        page.press("ArrowDown");
        assert_eq!(page.text(focused), "2", "what is folded away is passed over");
        page.press("ArrowRight");
        page.press("End");
        assert_eq!(page.text(focused), "3");
        page.press("Home");
        page.press(" ");
        assert_eq!(page.text(selected), "1");
        // The treemap selects, too; and tables of the selected process show only that.
        page.value("[...document.querySelectorAll('#treemap button')].find((b) => b.title.startsWith('2 ')).focus()");
        page.press("Enter");
        assert_eq!(page.text(selected), "2");
        page.value("{ const s = document.querySelector('#files-table select'); s.value = 'one'; s.dispatchEvent(new Event('change')); }");
        let pids = "[...new Set([...document.querySelectorAll('#files-table tbody tr')].map((row) => row.cells[0].textContent))].join()";
        assert_eq!(page.text(pids), "2");
    });
}

#[test]
fn names_of_an_archive_are_text() {
    with_page(|page| {
        let cells = "[...document.querySelectorAll('td')].map((cell) => cell.textContent)";
        assert_eq!(page.value(&format!("{cells}.includes('<i>x')")), true);
        assert_eq!(
            page.value("document.querySelectorAll('td i, td b, .command b').length"),
            0
        );
        // A script that came in somehow would not run.
        page.value("{ const s = document.createElement('script'); s.textContent = 'window.hostile = 1'; document.body.append(s); }");
        assert_eq!(page.value("window.hostile === undefined"), true);
        let refused = page
            .complaints
            .drain(..)
            .filter(|told| told.to_string().contains("Content Security Policy"))
            .count();
        assert!(refused > 0, "the policy refuses it");
    });
}

#[test]
fn colours_follow_the_system_until_somebody_chooses() {
    with_page(|page| {
        let back = "getComputedStyle(document.body).backgroundColor";
        page.colours("light");
        let light = page.text(back);
        page.picture("light");
        page.colours("dark");
        let dark = page.text(back);
        page.picture("dark");
        assert_ne!(light, dark);
        page.value("document.getElementById('theme').focus()");
        page.press("Enter");
        assert_eq!(
            (
                page.text(back),
                page.text("document.getElementById('theme').textContent")
            ),
            (light.clone(), "Colours: light".into())
        );
        page.press(" ");
        assert_eq!(page.text(back), dark);
        page.press("Enter");
        page.colours("light");
        assert_eq!(page.text(back), light, "the system's again");
    });
}

#[test]
fn everything_can_be_reached_and_has_a_name() {
    with_page(|page| {
        page.press("Tab");
        assert_eq!(page.text("document.activeElement.textContent"), "Skip to the content");
        page.press("Enter");
        assert_eq!(page.text("document.activeElement.id"), "main");
        let unnamed = "[...document.querySelectorAll('button, input, select, a, [role=img], [role=region], [role=tree], [role=list], section')]\
            .filter((node) => !(node.textContent.trim() && node.matches('button, a') || node.getAttribute('aria-label') || node.getAttribute('aria-labelledby')))\
            .map((node) => node.outerHTML.slice(0, 80))";
        assert_eq!(page.value(unnamed), json!([]));
        assert_eq!(page.value("document.querySelectorAll('h1').length"), 1);
        assert_eq!(
            page.value("[...document.querySelectorAll('nav a')].every((a) => document.querySelector(a.hash))"),
            true
        );
        assert_eq!(page.value("document.querySelectorAll('#nav a').length"), 11);
        // From the first to the last control: the focus never gets stuck.
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..120 {
            page.press("Tab");
            seen.insert(
                page.text(
                    "document.activeElement.closest('section') ? document.activeElement.closest('section').id : ''",
                ),
            );
        }
        for section in ["processes", "memory", "space", "files", "mounts", "limits", "entries"] {
            assert!(seen.contains(section), "{section}: {seen:?}");
        }
        // No text is wider than the page.
        page.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": true}),
        );
        assert_eq!(
            page.value("document.documentElement.scrollWidth <= window.innerWidth"),
            true
        );
    });
}

#[test]
fn the_timeline_and_the_maps_show_what_there_is() {
    with_page(|page| {
        let names = "[...document.querySelectorAll('#spans .name')].map((node) => node.title).join('|')";
        let names = page.text(names);
        assert!(
            names.contains("stopping all tasks") && names.contains("task ") && names.contains("memory of task"),
            "{names}"
        );
        let maps = page.value("[...document.querySelectorAll('#maps tbody tr')].map((row) => [row.cells[0].textContent, row.cells[3].textContent, row.cells[6].textContent])");
        assert_eq!(maps[0], json!(["000000400000-000000401000", "4.0 KiB", "/bin/counter"]));
        assert_eq!(page.value("document.querySelectorAll('#maps .strip').length"), 5);
        let label = page.text("document.querySelector('#maps .strip').getAttribute('aria-label')");
        assert!(label.starts_with("4.0 KiB of 4.0 KiB stored"), "{label}");
    });
}
