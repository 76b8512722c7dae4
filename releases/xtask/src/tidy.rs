//! The house rules that a tool can check: a rule that matters and is not checked is a wish.
//!
//! This room reads the tree, asks its neighbours for complaints and prints all of them. It changes no
//! file but the one that is made of others ([`bless_points`]), when asked. Untracked files count too (unless git ignores them): a slip should show before
//! it is committed.

mod documents;
mod graph;
mod points;
mod sources;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo;
use crate::failure::{Because, Failure, Outcome};

/// A file above this is refused: clips and fixtures belong below it, the rest does not belong.
const FILE_BYTES_MAX: u64 = 1_100_000;

/// One file of the tree.
struct File {
    /// Relative to the root, with `/`.
    path: String,
    bytes: u64,
    /// `None` if it is not UTF-8 text.
    text: Option<String>,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// What is wrong, one sentence each, with the place in front.
type Complaints = Vec<String>;

/// Runs every rule.
pub(crate) fn run() -> Outcome<()> {
    let root = cargo::root();
    let files = read_tree(&root)?;
    let mut complaints = Complaints::new();
    for file in &files {
        complaints.extend(size(file));
        complaints.extend(sources::check(file));
    }
    complaints.extend(points::check(&files));
    complaints.extend(points::check_table(&files));
    complaints.extend(documents::check(&root, &files));
    complaints.extend(documents::report_stays(&files, was_kept(&root)?));
    complaints.extend(graph::check(&root)?);
    for complaint in &complaints {
        eprintln!("      {complaint}");
    }
    match complaints.len() {
        0 => Ok(()),
        count => Err(Failure::found(format!(
            "{count} tidy rules are broken (listed above)"
        ))),
    }
}

/// Writes the table of crash points anew.
pub(crate) fn bless_points() -> Outcome<()> {
    let root = cargo::root();
    let table = points::table(&read_tree(&root)?);
    std::fs::write(root.join(points::TABLE), table).because("the table cannot be written")
}

fn read_tree(root: &Path) -> Outcome<Vec<File>> {
    let output = Command::new("git")
        // A checkout may belong to another user than the one who tests it (a CI runner's root).
        .args(["-c", "safe.directory=*"])
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .because("cannot start git")?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::found(format!(
            "git cannot list the tree: {stderr}"
        )));
    }
    let names = String::from_utf8(output.stdout).because("a file name is not UTF-8")?;
    let files = names
        .split('\0')
        .filter(|name| !name.is_empty())
        .filter_map(|name| read_file(root, name))
        .collect();
    Ok(files)
}

/// Whether the history has the crash report.
fn was_kept(root: &Path) -> Outcome<bool> {
    let output = Command::new("git")
        .args(["-c", "safe.directory=*", "log", "-1", "--format=%h", "--"])
        .arg(documents::REPORT)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .because("cannot start git")?;
    Ok(!output.stdout.is_empty())
}

/// `None` for a file that is in the index and not in the work tree: it is being deleted.
fn read_file(root: &Path, name: &str) -> Option<File> {
    let path: PathBuf = root.join(name);
    let bytes = std::fs::metadata(&path).ok()?.len();
    let content = if bytes <= FILE_BYTES_MAX {
        std::fs::read(&path).ok()?
    } else {
        Vec::new()
    };
    // A zero byte is what git takes for binary, too.
    let text = if content.contains(&0) {
        None
    } else {
        String::from_utf8(content).ok()
    };
    Some(File {
        path: name.to_owned(),
        bytes,
        text,
    })
}

fn size(file: &File) -> Option<String> {
    (file.bytes > FILE_BYTES_MAX).then(|| {
        format!(
            "{}: {} bytes; the limit is {FILE_BYTES_MAX}",
            file.path, file.bytes
        )
    })
}

#[cfg(test)]
fn text_file(path: &str, text: &str) -> File {
    File {
        path: path.to_owned(),
        bytes: text.len() as u64,
        text: Some(text.to_owned()),
    }
}
