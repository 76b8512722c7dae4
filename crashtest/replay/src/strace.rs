//! What strace says a program did, per file, and whether a trace says the same.
//!
//! This room reads `strace -f -y` output of a few calls. It must never guess: a line about a file
//! beneath the directory that it cannot read is an error.

use std::collections::BTreeMap;

use crashtest_trace::{Event, Record};

/// The calls that strace must be asked for: all that we interpose, and all by which a program
/// could go past us.
pub const CALLS: &str = "open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,\
ftruncate,truncate,fallocate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,\
rmdir,fsync,fdatasync,sync_file_range,syncfs,msync,copy_file_range,sendfile,splice,mmap,\
io_uring_setup,io_submit";

/// One operation, as both sides can tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// Opened for writing. Other opens change nothing, and the C library makes some itself.
    Open,
    /// Bytes written; the offset if the call has one.
    Write {
        /// Where.
        offset: Option<u64>,
        /// How many.
        length: u64,
    },
    /// The length was set.
    SetLength(u64),
    /// Space was allocated or punched.
    Allocate {
        /// From.
        offset: u64,
        /// How much.
        length: u64,
    },
    /// Synced, wholly or its data only.
    Sync {
        /// `fdatasync`.
        data_only: bool,
    },
    /// `sync_file_range`.
    RangeSync,
    /// This name was made to stand for what another one stood for.
    RenamedFrom(String),
    /// Removed.
    Removed,
    /// Made, a directory.
    MadeDirectory,
    /// Linked.
    Linked,
    /// A call that no recorder can follow.
    Unseen(String),
}

/// Operations by file, in their order.
pub type PerFile = BTreeMap<String, Vec<Did>>;

/// What a trace says from one of its records on, in strace's terms. Failed operations are in neither.
#[must_use]
pub fn of_trace_from(records: &[Record], from: usize) -> PerFile {
    let mut paths: BTreeMap<u64, String> = BTreeMap::new();
    let mut all = PerFile::new();
    let mut truncated = None;
    for (number, record) in records.iter().enumerate() {
        let path = |file: &u64| {
            paths
                .get(file)
                .cloned()
                .unwrap_or_else(|| format!("#{file}"))
        };
        let cut = truncated.take();
        let (path, did) = match &record.event {
            Event::Open {
                file,
                path,
                created,
                writable,
                ..
            } => {
                paths.insert(*file, path.clone());
                // Its SetLen, if one follows, belongs to the open.
                truncated = (!created).then_some(*file);
                if !writable {
                    continue;
                }
                (path.clone(), Did::Open)
            }
            Event::Write {
                file,
                offset,
                content,
            } => {
                let offset = Some(*offset);
                let length = content.len();
                (path(file), Did::Write { offset, length })
            }
            Event::SetLen { file, length: 0 } if cut == Some(*file) => continue,
            Event::SetLen { file, length } => (path(file), Did::SetLength(*length)),
            Event::Allocate {
                file,
                offset,
                length,
                ..
            } => {
                let (offset, length) = (*offset, *length);
                (path(file), Did::Allocate { offset, length })
            }
            Event::Rename { from, to } => {
                for known in paths.values_mut().filter(|known| *known == from) {
                    known.clone_from(to);
                }
                (to.clone(), Did::RenamedFrom(from.clone()))
            }
            Event::Link { path, .. } => (path.clone(), Did::Linked),
            Event::Unlink { path } | Event::RemoveDir { path } => (path.clone(), Did::Removed),
            Event::MakeDir { file, path } => {
                paths.insert(*file, path.clone());
                (path.clone(), Did::MadeDirectory)
            }
            Event::SyncBegin { file, data_only } => {
                let data_only = *data_only;
                (path(file), Did::Sync { data_only })
            }
            Event::RangeSync { file, .. } => (path(file), Did::RangeSync),
            Event::Mapped { file, .. } => (path(file), Did::Unseen("mmap".into())),
            Event::Start { .. }
            | Event::SyncEnd { .. }
            | Event::Mark { .. }
            | Event::Send { .. }
            | Event::Fault { .. } => continue,
        };
        if number >= from {
            all.entry(path).or_default().push(did);
        }
    }
    all
}

/// What strace's output says about files beneath `root`.
///
/// # Errors
/// A line about such a file that is not understood.
pub fn of_strace(output: &str, root: &str) -> Result<PerFile, String> {
    let mut all = PerFile::new();
    let mut unfinished: BTreeMap<&str, String> = BTreeMap::new();
    for line in output.lines() {
        let Some((process, rest)) = line.trim_start().split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        let call = if let Some(begin) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(process, begin.trim_end().to_owned());
            continue;
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let end = resumed.split_once("resumed>").map_or("", |(_, end)| end);
            let begin = unfinished.remove(process).unwrap_or_default();
            format!("{begin}{end}")
        } else {
            rest.to_owned()
        };
        if let Some((path, did)) = one_call(&call, root)? {
            all.entry(path).or_default().push(did);
        }
    }
    Ok(all)
}

/// A whole line without its process: `name(arguments) = result`.
fn one_call(call: &str, root: &str) -> Result<Option<(String, Did)>, String> {
    let unknown = || format!("strace's line is not understood: {call}");
    let Some((name, rest)) = call.split_once('(') else {
        return Ok(None);
    };
    if name.contains([' ', '+', '-']) {
        // Signals and exits.
        return Ok(None);
    }
    if matches!(name, "io_uring_setup" | "io_submit") {
        return Ok(Some((String::new(), Did::Unseen(name.to_owned()))));
    }
    if !rest.contains(root) {
        return Ok(None);
    }
    let (arguments, result) = rest.rsplit_once(") ").ok_or_else(unknown)?;
    let result = result
        .trim_start()
        .strip_prefix('=')
        .ok_or_else(unknown)?
        .trim();
    if result.starts_with(['-', '?']) {
        return Ok(None);
    }
    let number = |text: &str| -> Option<u64> {
        let text = text.trim();
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    let parts: Vec<&str> = split(arguments);
    let at = |place: usize| parts.get(place).copied().unwrap_or_default();
    let value = |place: usize| number(at(place)).ok_or_else(unknown);
    let described = || of_descriptor(at(0), root);
    let did = match name {
        "open" | "openat" | "openat2" | "creat" => {
            // `creat` names no flags.
            let writable = name == "creat"
                || ["O_WRONLY", "O_RDWR"]
                    .iter()
                    .any(|flag| arguments.contains(flag));
            if !writable {
                return Ok(None);
            }
            return Ok(of_descriptor(result, root).map(|path| (path, Did::Open)));
        }
        "write" | "writev" => (
            described(),
            Did::Write {
                offset: None,
                length: number(result).ok_or_else(unknown)?,
            },
        ),
        "pwrite64" | "pwritev" | "pwritev2" => (
            described(),
            Did::Write {
                offset: Some(value(3)?),
                length: number(result).ok_or_else(unknown)?,
            },
        ),
        "ftruncate" => (described(), Did::SetLength(value(1)?)),
        "truncate" => (named(at(0), root), Did::SetLength(value(1)?)),
        "fallocate" => (
            described(),
            Did::Allocate {
                offset: value(2)?,
                length: value(3)?,
            },
        ),
        "fsync" => (described(), Did::Sync { data_only: false }),
        "fdatasync" => (described(), Did::Sync { data_only: true }),
        "sync_file_range" => (described(), Did::RangeSync),
        "rename" | "renameat" | "renameat2" => {
            let names: Vec<String> = parts.iter().filter_map(|part| named(part, root)).collect();
            match names.as_slice() {
                [from, to] => (Some(to.clone()), Did::RenamedFrom(from.clone())),
                [] => return Ok(None),
                _ => return Err(unknown()),
            }
        }
        "unlink" | "unlinkat" | "rmdir" => (in_directory(&parts, root), Did::Removed),
        "mkdir" | "mkdirat" => (in_directory(&parts, root), Did::MadeDirectory),
        "link" | "linkat" => {
            let mut names = parts.iter().filter_map(|part| named(part, root));
            (names.next_back(), Did::Linked)
        }
        "mmap" => {
            let shared = arguments.contains("MAP_SHARED") && arguments.contains("PROT_WRITE");
            if !shared {
                return Ok(None);
            }
            (of_descriptor(at(4), root), Did::Unseen(name.to_owned()))
        }
        _ => {
            let path = parts.iter().find_map(|part| of_descriptor(part, root));
            (path, Did::Unseen(name.to_owned()))
        }
    };
    Ok(did.0.map(|path| (path, did.1)))
}

/// Arguments at their commas, those inside of quotes, brackets and `<...>` excepted.
fn split(arguments: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut quoted, mut escaped, mut from) = (0_u32, false, false, 0);
    for (at, letter) in arguments.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '<' | '[' | '{' => depth += 1,
            '>' | ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(arguments.get(from..at).unwrap_or_default().trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(arguments.get(from..).unwrap_or_default().trim());
    parts
}

fn below(path: &str, root: &str) -> Option<String> {
    let rest = path.strip_prefix(root)?;
    match rest.strip_prefix('/') {
        Some(rest) => Some(rest.to_owned()),
        None => rest.is_empty().then(String::new),
    }
}

/// `12</path>` as a path below the root.
fn of_descriptor(text: &str, root: &str) -> Option<String> {
    let (_, rest) = text.split_once('<')?;
    let (path, _) = rest.rsplit_once('>')?;
    below(
        path.trim_end_matches("(deleted)").trim_end_matches('>'),
        root,
    )
}

/// `"/path"` as a path below the root.
fn named(text: &str, root: &str) -> Option<String> {
    let path = text.strip_prefix('"')?.strip_suffix('"')?;
    below(path, root)
}

/// The path of a call that has it alone or behind a directory's descriptor.
fn in_directory(parts: &[&str], root: &str) -> Option<String> {
    let path = parts.iter().find(|part| part.starts_with('"'))?;
    if let Some(path) = named(path, root) {
        return Some(path);
    }
    let directory = of_descriptor(parts.first()?, root)?;
    let name = path.strip_prefix('"')?.strip_suffix('"')?;
    if name.starts_with('/') {
        return None;
    }
    Some(if directory.is_empty() {
        name.to_owned()
    } else {
        format!("{directory}/{name}")
    })
}

/// Operations that are no syncs, and the syncs with how many of those came before each.
fn apart(all: Option<&Vec<Did>>) -> (Vec<&Did>, Vec<(&Did, usize)>) {
    let (mut others, mut syncs) = (Vec::new(), Vec::new());
    for did in all.into_iter().flatten() {
        match did {
            Did::Sync { .. } => syncs.push((did, others.len())),
            _ => others.push(did),
        }
    }
    (others, syncs)
}

/// Everything that the two tell differently, one sentence each.
#[must_use]
pub fn differences(trace: &PerFile, strace: &PerFile) -> Vec<String> {
    let mut all = Vec::new();
    let same = |one: &Did, two: &Did| match (one, two) {
        (
            Did::Write { offset, length },
            Did::Write {
                offset: other,
                length: same,
            },
        ) => length == same && (offset.is_none() || other.is_none() || offset == other),
        _ => one == two,
    };
    let mut paths: Vec<&String> = trace.keys().chain(strace.keys()).collect();
    paths.sort();
    paths.dedup();
    for path in paths {
        let (ours, our_syncs) = apart(trace.get(path));
        let (theirs, their_syncs) = apart(strace.get(path));
        let differs = |place: &usize| match (ours.get(*place), theirs.get(*place)) {
            (Some(one), Some(two)) => !same(one, two),
            _ => true,
        };
        if let Some(place) = (0..ours.len().max(theirs.len())).find(differs) {
            all.push(format!(
                "{path}: operation {place} is {:?} in the trace and {:?} in strace ({} and {} in all)",
                ours.get(place),
                theirs.get(place),
                ours.len(),
                theirs.len()
            ));
            continue;
        }
        // Between our note of a sync's beginning and the call another thread may write: the kernel
        // then covers more than we count on, never less.
        let fits = our_syncs.len() == their_syncs.len()
            && our_syncs
                .iter()
                .zip(&their_syncs)
                .all(|((ours, before), (theirs, covered))| ours == theirs && before <= covered);
        if !fits {
            all.push(format!(
                "{path}: syncs are {our_syncs:?} in the trace and {their_syncs:?} in strace (each \
                 with the number of operations before it)"
            ));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = r#"
11 openat(AT_FDCWD</>, "/r/log/1", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 5</r/log/1>
11 openat(AT_FDCWD</>, "/etc/hosts", O_RDONLY) = 6</etc/hosts>
11 openat(AT_FDCWD</>, "/r/log", O_RDONLY|O_PATH) = 6</r/log>
11 write(5</r/log/1>, "a, \"b\" (", 8) = 8
12 fdatasync(5</r/log/1> <unfinished ...>
11 pwrite64(5</r/log/1>, ""..., 4096, 8192) = 4096
12 <... fdatasync resumed>) = 0
11 unlinkat(AT_FDCWD</>, "/r/old", 0) = -1 ENOENT (No such file or directory)
11 renameat2(AT_FDCWD</>, "/r/a", AT_FDCWD</>, "/r/b", 0) = 0
11 unlinkat(7</r/view>, "x", 0) = 0
11 +++ exited with 0 +++
"#;

    #[test]
    fn the_lines_that_matter_are_understood() {
        let all = of_strace(OUTPUT, "/r").unwrap();
        let log = [
            Did::Open,
            Did::Write {
                offset: None,
                length: 8,
            },
            Did::Write {
                offset: Some(8192),
                length: 4096,
            },
            Did::Sync { data_only: true },
        ];
        assert_eq!(all["log/1"], log);
        assert_eq!(all["b"], [Did::RenamedFrom("a".into())]);
        assert_eq!(all["view/x"], [Did::Removed]);
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn a_missing_operation_is_a_difference() {
        let all = of_strace(OUTPUT, "/r").unwrap();
        assert!(differences(&all, &all).is_empty());
        for path in all.keys() {
            for place in 0..all[path].len() {
                let mut less = all.clone();
                less.get_mut(path).unwrap().remove(place);
                assert_eq!(differences(&less, &all).len(), 1, "{path} {place}");
            }
        }
        // A sync that the kernel began earlier than we say covers less than we count on.
        let mut early = all.clone();
        early.get_mut("log/1").unwrap().swap(2, 3);
        assert_eq!(differences(&all, &early).len(), 1);
        assert!(differences(&early, &all).is_empty());
    }
}
