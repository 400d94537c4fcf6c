//! What CRIU did when, told by the times in its log.

use schemars::JsonSchema;
use serde::Serialize;

/// Spans that are shown: a dump of many processes has thousands.
const MOST_SPANS: usize = 400;

/// What CRIU was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpanKind {
    /// Getting ready; the container ran.
    Prepare,
    /// Stopping every task.
    Freeze,
    /// Dumping a task.
    Task,
    /// Handing over the pages of a task.
    Pages,
    /// Dumping mounts, network and all that no task has for itself.
    Shared,
    /// Waiting until the archive was complete.
    Archive,
}

/// A span of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Span {
    /// What was done.
    pub name: String,
    /// Its kind.
    pub kind: SpanKind,
    /// When it began, microseconds from the beginning of the log.
    pub start: u64,
    /// When it ended.
    pub end: u64,
}

/// The spans in a log, in their order; none where it is not one of a dump.
#[must_use]
pub fn timeline(log: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    // One of each level: pages are within a task.
    let mut open: [Option<Span>; 2] = [None, None];
    let mut last = 0;
    for (time, line) in log.lines().filter_map(timed) {
        last = time.max(last);
        let Some((level, next)) = begins(line) else { continue };
        for span in &mut open[level..] {
            close(span.take(), time, &mut spans);
        }
        open[level] = next.map(|(name, kind)| Span {
            name,
            kind,
            start: time,
            end: time,
        });
    }
    for span in open {
        close(span, last, &mut spans);
    }
    spans.sort_by_key(|span| span.start);
    spans.truncate(MOST_SPANS);
    spans
}

/// Ends a span; one that goes on with what the last one did makes that longer.
fn close(span: Option<Span>, end: u64, spans: &mut Vec<Span>) {
    let Some(span) = span.filter(|span| end > span.start) else {
        return;
    };
    match spans.last_mut() {
        Some(last) if last.name == span.name && last.end == span.start => last.end = end,
        _ => spans.push(Span { end, ..span }),
    }
}

/// `(00.012345) text`: microseconds, and the text.
fn timed(line: &str) -> Option<(u64, &str)> {
    let (time, text) = line.strip_prefix('(')?.split_once(") ")?;
    let (seconds, fraction) = time.split_once('.')?;
    let fraction: u64 = fraction.get(..6)?.parse().ok()?;
    let seconds: u64 = seconds.parse().ok()?;
    Some((seconds.checked_mul(1_000_000)?.checked_add(fraction)?, text))
}

/// What begins with a line, and how deep it is; ending without beginning something is `None` inside.
fn begins(line: &str) -> Option<(usize, Option<(String, SpanKind)>)> {
    let outer = |name: &str, kind| Some((0, Some((name.to_owned(), kind))));
    let task = |prefix: &str| line.strip_prefix(prefix)?.strip_suffix(')');
    if line.starts_with("Running pre-dump scripts") {
        return outer("preparing", SpanKind::Prepare);
    }
    if line.starts_with("freezing cgroup ")
        || line.starts_with("freezing processes")
        || line.contains(" SEIZE ")
        || line.starts_with("SEIZE ")
    {
        return outer("stopping all tasks", SpanKind::Freeze);
    }
    if line.starts_with("Running network-lock scripts") {
        return outer("collecting namespaces", SpanKind::Shared);
    }
    if let Some(task) = task("Dumping task (pid: ") {
        return outer(&format!("task {}", task.replace(" comm:", "")), SpanKind::Task);
    }
    if let Some((_, pid)) = task("Dumping pages (").and_then(|rest| rest.rsplit_once("pid: ")) {
        return Some((1, Some((format!("memory of task {pid}"), SpanKind::Pages))));
    }
    if line.starts_with("Dumping core (") {
        return Some((1, None));
    }
    if line.starts_with("mnt: Dumping mountpoints") {
        return outer("mounts, network, cgroups", SpanKind::Shared);
    }
    if line.starts_with("Running post-dump scripts") {
        return outer("completing the archive", SpanKind::Archive);
    }
    let ends = line.starts_with("net: Unlock network") || line.starts_with("Unfreezing tasks");
    ends.then_some((0, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_spans_of_time() {
        let log = "(00.004437) Running pre-dump scripts\n(00.011827) freezing cgroup /a: 100 x 100ms\n(00.012004) SEIZE 463 (comm x): success\n\
            (00.019873) Running network-lock scripts\nnonsense\n(bad) x\n(00.042267) Dumping task (pid: 463 comm: a (b)\n\
            (00.042267) Dumping task (pid: 463 comm: python3)\n(00.068906) Dumping pages (type: 59 pid: 463)\n\
            (00.091903) Dumping core (pid: 463)\n(00.144127) mnt: Dumping mountpoints\n(00.290265) Running post-dump scripts\n\
            (00.347447) net: Unlock network\n(00.412251) Dumping finished successfully\n";
        let spans: Vec<_> = timeline(log)
            .into_iter()
            .map(|s| (s.name, s.kind, s.start, s.end))
            .collect();
        let span = |name: &str, kind, start, end| (name.to_owned(), kind, start, end);
        assert_eq!(
            spans,
            [
                span("preparing", SpanKind::Prepare, 4437, 11827),
                span("stopping all tasks", SpanKind::Freeze, 11827, 19873),
                span("collecting namespaces", SpanKind::Shared, 19873, 42267),
                span("task 463 python3", SpanKind::Task, 42267, 144_127),
                span("memory of task 463", SpanKind::Pages, 68906, 91903),
                span("mounts, network, cgroups", SpanKind::Shared, 144_127, 290_265),
                span("completing the archive", SpanKind::Archive, 290_265, 347_447),
            ]
        );
        assert!(timeline("whatever\n(99999999999999999999.000000) x").is_empty());
    }
}
