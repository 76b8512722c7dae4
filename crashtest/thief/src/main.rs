//! `secluso-thief`: what a copy of a state directory gives away.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use thief::{Attack, Captured, Haul, Opener, Said};

/// Opens what a copied state directory opens, with nothing but its own bytes.
#[derive(Debug, Parser)]
#[command(
    name = "secluso-thief",
    after_help = "FILE holds one captured envelope after the other: 24 bytes of its mailbox, 8 of its number, \
                  4 of its length (big-endian), then its bytes.\n\n\
                  Exit codes: 0 it was looked through, 1 it could not be read, 2 usage."
)]
struct Arguments {
    /// The copy of a hub's or a phone's `journal` directory. RocksDB writes a diary into it.
    dir: PathBuf,
    /// What was captured on the way.
    #[arg(long, value_name = "FILE")]
    captured: Option<PathBuf>,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("secluso-thief: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let captured = match &arguments.captured {
        Some(path) => read_captured(path)?,
        None => Vec::new(),
    };
    let haul = Haul::read(&arguments.dir)?;
    let mut opener = Opener::new();
    let loot = opener.open(&haul);
    for path in &haul.unknown {
        eprintln!("secluso-thief: not looked through, the format does not know it: {path}");
    }
    let mut attack = Attack::new(&opener, &captured, &[])?;
    let spoils = attack.spoils(&loot);
    let said: Vec<Said> = spoils
        .envelopes
        .iter()
        .filter_map(|place| attack.said(*place))
        .collect();
    let count = |wanted: fn(&Said) -> bool| said.iter().filter(|said| wanted(said)).count();
    let figures = [
        ("storage_keys", loot.keys),
        ("sealed_values", loot.sealed),
        ("opened_values", loot.plains.len()),
        ("unknown_files", haul.unknown.len()),
        ("captured", captured.len()),
        ("unwrapped", attack.unwrapped()),
        ("opened_messages", spoils.envelopes.len()),
        (
            "of_these_clips_begun",
            count(|said| matches!(said, Said::ClipBegins(_))),
        ),
        (
            "of_these_chunks",
            count(|said| matches!(said, Said::Chunk(..))),
        ),
        (
            "of_these_clips_ended",
            count(|said| matches!(said, Said::ClipEnds(_))),
        ),
        (
            "of_these_thumbnails",
            count(|said| matches!(said, Said::Picture(_))),
        ),
        (
            "of_these_live",
            count(|said| matches!(said, Said::OfHub(3))),
        ),
        (
            "of_these_notifications",
            count(|said| matches!(said, Said::OfHub(4))),
        ),
        (
            "of_these_config_messages",
            count(|said| matches!(said, Said::OfHub(5))),
        ),
        (
            "of_these_from_the_phone",
            count(|said| matches!(said, Said::OfPhone(_))),
        ),
        ("clips_with_stored_chunks", spoils.chunks.len()),
        ("clips_with_rows", spoils.rows.len()),
        ("clips_with_running_digests", spoils.digests.len()),
        ("stored_notifications", spoils.notices.len()),
    ];
    if arguments.json {
        let figures = figures.map(|(name, count)| (name.to_owned(), count.into()));
        println!(
            "{}",
            serde_json::Value::Object(figures.into_iter().collect())
        );
    } else {
        for (name, count) in figures {
            println!("{count:>8}  {}", name.replace('_', " "));
        }
    }
    Ok(())
}

fn read_captured(path: &Path) -> io::Result<Vec<Captured>> {
    let bytes = std::fs::read(path)?;
    let mut rest = bytes.as_slice();
    let mut captured = Vec::new();
    while !rest.is_empty() {
        let (one, behind) = one_captured(rest).ok_or(io::ErrorKind::UnexpectedEof)?;
        captured.push(one);
        rest = behind;
    }
    Ok(captured)
}

fn one_captured(bytes: &[u8]) -> Option<(Captured, &[u8])> {
    let (mailbox, rest) = bytes.split_first_chunk::<24>()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (body, rest) = rest.split_at_checked(length)?;
    let one = Captured {
        mailbox: *mailbox,
        seq: u64::from_be_bytes(*seq),
        bytes: body.to_vec(),
    };
    Some((one, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_envelopes_stand_one_behind_the_other() {
        let one = [&[7; 24][..], &5_u64.to_be_bytes(), &[0, 0, 0, 2, 8, 9]].concat();
        let two = [one.clone(), one].concat();
        let (first, rest) = one_captured(&two).unwrap();
        assert_eq!((first.seq, first.bytes), (5, vec![8, 9]));
        assert_eq!(rest.len(), two.len() / 2);
        assert!(one_captured(&rest[..rest.len() - 1]).is_none());
    }
}
