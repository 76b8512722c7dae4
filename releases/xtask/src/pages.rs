//! `cargo xtask pages DIR`: man pages and completions of the three programs, as an installation has them.
//!
//! They are made of what the programs say themselves (`--help`, `completions`), so that they cannot say anything
//! else. `DIR` is laid out as `/usr/share` is. This room must never know a command or an option of a program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Because, Failure, Outcome};
use crate::progress::Steps;
use crate::{cargo, setup};

/// The programs that people run.
const PROGRAMS: [&str; 3] = ["secluso-hub", "secluso-relay", "secluso-app"];
/// Commands within commands; deeper ones are not looked for.
const DEPTH_MAX: usize = 3;

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let directory = match arguments {
        [directory] if !directory.starts_with('-') => PathBuf::from(directory),
        _ => return Err(Failure::usage("pages needs a directory, and nothing else")),
    };
    let mut steps = Steps::counted(3);
    steps.step("set-up", setup::ensure_build_tools)?;
    let programs = steps.step("build", cargo::build_programs)?;
    steps.step("man pages and completions", || {
        for name in PROGRAMS {
            write_of(name, &programs, &directory)?;
        }
        Ok(())
    })?;
    eprintln!("\nWritten to {}", directory.display());
    Ok(())
}

fn write_of(name: &str, programs: &BTreeMap<String, PathBuf>, directory: &Path) -> Outcome<()> {
    let program = programs
        .get(name)
        .ok_or_else(|| Failure::found(format!("the build made no program called {name}")))?;
    let version = say(program, &["--version"])?;
    let mut helps = Vec::new();
    collect(program, &mut Vec::new(), &mut helps)?;
    let page = page(name, version.trim(), &helps);
    write(directory, &format!("man/man1/{name}.1"), &page)?;
    for (shell, file) in [
        ("bash", format!("bash-completion/completions/{name}")),
        ("zsh", format!("zsh/site-functions/_{name}")),
        ("fish", format!("fish/vendor_completions.d/{name}.fish")),
    ] {
        write(directory, &file, &say(program, &["completions", shell])?)?;
    }
    Ok(())
}

fn write(directory: &Path, file: &str, text: &str) -> Outcome<()> {
    let path = directory.join(file);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).because("cannot make a directory for the pages")?;
    }
    std::fs::write(&path, text).because("cannot write a page")
}

/// What a command says of itself, and all commands below it.
fn collect(program: &Path, command: &mut Vec<String>, helps: &mut Vec<Help>) -> Outcome<()> {
    let mut words: Vec<&str> = command.iter().map(String::as_str).collect();
    words.push("--help");
    let text = say(program, &words)?;
    let below = commands(&text);
    helps.push(Help {
        command: command.join(" "),
        text,
    });
    for name in below {
        if command.len() < DEPTH_MAX {
            command.push(name);
            collect(program, command, helps)?;
            command.pop();
        }
    }
    Ok(())
}

fn say(program: &Path, words: &[&str]) -> Outcome<String> {
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .because("cannot start a program")?;
    let shown = words.join(" ");
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::found(format!("`{shown}` failed: {stderr}")));
    }
    String::from_utf8(output.stdout).because("what a program says of itself is not UTF-8")
}

/// What one command says of itself.
struct Help {
    /// Its words behind the program's name; empty for the program itself.
    command: String,
    text: String,
}

/// The commands that a help lists, but for `help`, which every program has.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| line.is_empty() || line.starts_with("  "));
    listed
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// A man page of the program's help and of those of its commands.
fn page(name: &str, version: &str, helps: &[Help]) -> String {
    let mut out = format!(".TH \"{}\" 1 \"\" \"{version}\"\n", name.to_uppercase());
    for help in helps {
        let (about, rest) = help
            .text
            .split_once('\n')
            .unwrap_or((help.text.as_str(), ""));
        if help.command.is_empty() {
            out.push_str(&format!(
                ".SH NAME\n{} \\- {}\n",
                escaped(name),
                escaped(about.trim_end_matches('.'))
            ));
        } else {
            let title = format!("{name} {}", help.command);
            out.push_str(&format!(
                ".SH \"{}\"\n{}\n",
                title.to_uppercase(),
                escaped(about)
            ));
        }
        out.push_str(&body(rest, help.command.is_empty()));
    }
    out
}

/// The rest of a help as it is set, its parts under headings of their own.
fn body(text: &str, is_top: bool) -> String {
    let mut out = String::new();
    let mut is_set = false;
    let heading = if is_top { ".SH" } else { ".SS" };
    for line in text.lines() {
        let title = line.strip_suffix(':').filter(|title| is_title(title));
        if let Some(title) = title {
            end(&mut out, &mut is_set);
            out.push_str(&format!("{heading} \"{}\"\n", escaped(title)));
            continue;
        }
        if !is_set {
            if line.trim().is_empty() {
                continue;
            }
            // As it stands: columns and examples are aligned already.
            out.push_str(".nf\n");
            is_set = true;
        }
        out.push_str(&escaped(line));
        out.push('\n');
    }
    end(&mut out, &mut is_set);
    out
}

fn end(out: &mut String, is_set: &mut bool) {
    if std::mem::replace(is_set, false) {
        while out.ends_with("\n\n") {
            out.pop();
        }
        out.push_str(".fi\n");
    }
}

/// `Options`, `Exit codes`: words alone, at the beginning of a line.
fn is_title(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_alphabetic() || c == ' ')
}

/// A line that roff sets as it is.
fn escaped(line: &str) -> String {
    let plain = line.replace('\\', "\\e").replace('-', "\\-");
    // A line that begins so would be an order to roff.
    match plain.starts_with(['.', '\'']) {
        true => format!("\\&{plain}"),
        false => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "\
Records events

Usage: prog <COMMAND>

Commands:
  run       Record events and send them,
            until stopped
  pair      Show a code
  help      Print this message

Options:
  -h, --help  Print help

Examples:
  prog run --config C:\\x
  .hidden

Exit codes: 0 done, 2 usage
";

    #[test]
    fn commands_are_found_where_they_are_listed() {
        assert_eq!(commands(HELP), ["run", "pair"]);
        assert!(commands("Print completions\n\nOptions:\n  -h  Print help\n").is_empty());
    }

    #[test]
    fn a_page_has_every_line_and_gives_no_orders_to_roff() {
        let helps = [
            Help {
                command: String::new(),
                text: HELP.into(),
            },
            Help {
                command: "pair".into(),
                text: "Show a code\n\nUsage: prog pair [OPTIONS]\n\nOptions:\n      --png <FILE>  A picture\n".into(),
            },
        ];
        let page = page("prog", "prog 0.1.0", &helps);
        let expected = "\
.TH \"PROG\" 1 \"\" \"prog 0.1.0\"
.SH NAME
prog \\- Records events
.nf
Usage: prog <COMMAND>
.fi
.SH \"Commands\"
.nf
  run       Record events and send them,
            until stopped
  pair      Show a code
  help      Print this message
.fi
.SH \"Options\"
.nf
  \\-h, \\-\\-help  Print help
.fi
.SH \"Examples\"
.nf
  prog run \\-\\-config C:\\ex
  .hidden

Exit codes: 0 done, 2 usage
.fi
.SH \"PROG PAIR\"
Show a code
.nf
Usage: prog pair [OPTIONS]
.fi
.SS \"Options\"
.nf
      \\-\\-png <FILE>  A picture
.fi
";
        assert_eq!(page, expected);
        assert_eq!(escaped(".SH x"), "\\&.SH x");
        assert_eq!(escaped("'x"), "\\&'x");
    }

    #[test]
    fn a_directory_is_asked_for() {
        let mistakes: [&[&str]; 3] = [&[], &["a", "b"], &["--json"]];
        for words in mistakes {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(run(&words).unwrap_err().exit_code(), 2);
        }
    }
}
