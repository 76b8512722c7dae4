//! What a step did to a disk, as text.

use std::fmt::Write as _;

use crashtest_sim::node::{Ground, Place};
use crashtest_sim::plan::Who;
use wal::disk::SimDisk;

/// The view's files.
const VIEW: &str = "view";
/// Steps that [`traced_until`] tries.
const TRIES_MAX: usize = 1_000;

/// The operations of a step. Files are numbered in the order in which the step meets them, because
/// which of the spare ones is taken next is nobody's promise.
fn told(disk: &SimDisk) -> String {
    let mut names: Vec<String> = Vec::new();
    let mut lines: Vec<(String, u32)> = Vec::new();
    for op in disk.trace() {
        if op.path.starts_with(VIEW) {
            continue;
        }
        let mut name = op.path.clone();
        if name.is_empty() {
            name.push('.');
        }
        if name.chars().any(|c| c.is_ascii_digit()) {
            let known = names.iter().position(|known| *known == op.path);
            let number = known.unwrap_or_else(|| {
                names.push(op.path.clone());
                names.len() - 1
            });
            let kind: String = op.path.chars().filter(|c| !c.is_ascii_hexdigit()).collect();
            name = format!("{kind} #{}", number + 1);
        }
        let line = format!("{:<9} {name}", op.kind);
        match lines.last_mut() {
            Some((last, count)) if *last == line => *count += 1,
            _ => lines.push((line, 1)),
        }
    }
    let mut text = String::new();
    for (line, count) in lines {
        let times = if count > 1 {
            format!("  (x{count})")
        } else {
            String::new()
        };
        writeln!(text, "  {line}{times}").unwrap();
    }
    if text.is_empty() {
        "  nothing\n".to_owned()
    } else {
        text
    }
}

/// Does something and writes down what it did to a disk.
pub(crate) fn traced<T>(
    text: &mut String,
    disk: &SimDisk,
    who: Who,
    name: &str,
    act: impl FnOnce() -> T,
) -> T {
    disk.record_trace();
    let result = act();
    writeln!(text, "{who:?}: {name}\n{}", told(disk)).unwrap();
    result
}

/// Does something again and again, and writes down the one time that came to what is wanted.
///
/// Which time that is depends on how full a log file or a disk was before, and is nobody's promise.
pub(crate) fn traced_until<T>(
    text: &mut String,
    disk: &SimDisk,
    who: Who,
    name: &str,
    mut act: impl FnMut() -> Option<T>,
) -> T {
    for _ in 0..TRIES_MAX {
        let mut tried = String::new();
        if let Some(result) = traced(&mut tried, disk, who, name, &mut act) {
            text.push_str(&tried);
            return result;
        }
    }
    panic!("{who:?}: {name}: it never comes to that");
}

/// Whether the step that was traced last left this disk alone.
pub(crate) fn is_untouched(disk: &SimDisk) -> bool {
    disk.trace().is_empty()
}

/// Whether the step that was traced last wrote a checkpoint.
pub(crate) fn wrote_checkpoint(disk: &SimDisk) -> bool {
    disk.trace()
        .iter()
        .any(|op| op.kind == "write" && op.path.starts_with("checkpoint-"))
}

pub(crate) fn ground(disk: &SimDisk) -> Ground {
    Ground::new(Place::Simulated(disk.clone()))
}
