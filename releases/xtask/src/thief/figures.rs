//! The figures of a whole run, kept in the document that compares with others by them.
//!
//! This room replaces one block, which names the commit that it was made of, and must never touch a word around it. A run
//! that left something out, or met a complaint, is none to quote.

use std::fs;

use serde_json::Value;

use super::{LIVES, ROWS};
use crate::cargo;
use crate::failure::{Because, Failure, Outcome};

/// The document, and the lines around the block.
pub(super) const DOCUMENT: &str = "SECURITY.md";
const BEGIN: &str = "<!-- figures of `cargo xtask thief --bless` -->\n";
const END: &str = "<!-- end of figures -->\n";

/// What a hub sends, each in epochs of its own, and where the thief says how much of it a later copy of its files opened once
/// these were over.
const SUPERSEDED: [(&str, &str); 4] = [
    ("clips", "finished_clips_opened"),
    ("live sessions", "finished_live_sessions_opened"),
    ("pictures", "finished_pictures_opened"),
    ("notifications", "finished_notifications_opened"),
];

/// What a run found: of our files, of SQLite's, and in freed blocks.
pub(super) struct Figures<'a> {
    pub(super) commit: &'a str,
    pub(super) epochs: u64,
    pub(super) seed: &'a str,
    pub(super) stolen: &'a Value,
    pub(super) sqlite: &'a Value,
    pub(super) freed: &'a Value,
}

/// Writes the block anew.
pub(super) fn keep(figures: &Figures<'_>) -> Outcome<()> {
    if !figures.freed["superseded_keys"].is_number() {
        let why = "not kept: freed disk blocks were not measured, which wants root";
        return Err(Failure::found(why));
    }
    let Some(block) = figures.block() else {
        let why = "not kept: the thief does not say what he opened of epochs that are over";
        return Err(Failure::found(why));
    };
    let path = cargo::root().join(DOCUMENT);
    let text = fs::read_to_string(&path).because("the document of promises cannot be read")?;
    let Some(text) = replaced(&text, &block) else {
        return Err(Failure::found(format!(
            "{DOCUMENT} has no place for figures"
        )));
    };
    fs::write(&path, text).because("the document of promises cannot be written")?;
    eprintln!("{DOCUMENT} has the figures of this run.");
    Ok(())
}

/// The document with another block; `None` if it has no place for one.
fn replaced(text: &str, block: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_old, after) = rest.split_once(END)?;
    Some([before, BEGIN, block, END, after].concat())
}

impl Figures<'_> {
    /// What the sealed life gave away of epochs that were over; `None` if a number of it is missing.
    fn superseded_opened(&self) -> Option<u64> {
        let life = &self.stolen[LIVES[0]];
        let opened = SUPERSEDED.iter().map(|(_, key)| life[key].as_u64());
        opened.sum()
    }

    /// `None` if a number is missing that it compares.
    fn block(&self) -> Option<String> {
        let opened = self.superseded_opened()?;
        let (epochs, seed, commit) = (self.epochs, self.seed, self.commit);
        let mut block = format!(
            "| {epochs} epochs, seed {seed}, of commit {commit} | here | at a hub that retains | that, with sealing off |\n\
             |---|---:|---:|---:|\n"
        );
        for (name, key) in ROWS {
            let [sealed, retaining, unsealed] = LIVES.map(|life| &self.stolen[life][key]);
            block.push_str(&format!(
                "| {} | {sealed} | {retaining} | {unsealed} |\n",
                name.trim()
            ));
        }
        let sqlite = self.sqlite;
        let classes = SUPERSEDED.map(|(class, _)| class).join(", ");
        block.push_str(&format!(
            "\nOf OpenMLS on its SQLite storage with `secure_delete=ON`, {} epochs: the secrets of up to {} superseded \
             epochs were\nreadable at once, of {} at the end; here later copies of the hub opened {opened} of the {classes}\n\
             whose epochs were over. Of {} storage keys that no vault held any more, {} stood in freed blocks\nof an \
             ext4 at the end.\n",
            sqlite["epochs"],
            sqlite["superseded_readable_at_most"],
            sqlite["superseded_readable_at_the_end"],
            self.freed["superseded_keys"],
            self.freed["readable"],
        ));
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_block_takes_the_place_of_the_old_one_and_of_nothing_else() {
        let life = json!({"finished_clips": 9, "finished_clips_opened": 0, "finished_live_sessions_opened": 2,
            "finished_pictures_opened": 0, "finished_notifications_opened": 1});
        // It is the sealed life that is compared.
        let open = json!({"finished_clips": 9, "finished_clips_opened": 9});
        let figures = Figures {
            commit: "770686cd2b40",
            epochs: 200,
            seed: "1",
            stolen: &json!({"sealed": life, "retaining": life, "unsealed": open}),
            sqlite: &json!({"epochs": 200, "superseded_readable_at_most": 92}),
            freed: &json!({"superseded_keys": 700, "readable": 3}),
        };
        let block = figures.block().unwrap();
        let head = "| 200 epochs, seed 1, of commit 770686cd2b40 |";
        assert!(block.starts_with(head), "{block}");
        assert!(
            block.contains("| clips that were finished | 9 | 9 | 9 |"),
            "{block}"
        );
        assert!(block.contains("of up to 92 superseded") && block.contains("Of 700 storage keys"));
        assert!(
            block.contains("opened 3 of the clips, live sessions"),
            "{block}"
        );
        // A number that is missing is not taken for none.
        let unknown = Figures {
            stolen: &json!({"sealed": {"finished_clips_opened": 0}}),
            ..figures
        };
        assert!(unknown.block().is_none());
        let text = format!("before\n{BEGIN}old\n{END}after\n");
        let new = replaced(&text, &block).unwrap();
        assert_eq!(new, format!("before\n{BEGIN}{block}{END}after\n"));
        assert_eq!(replaced(&new, &block).unwrap(), new);
        assert!(replaced("before\n", &block).is_none());
    }

    #[test]
    fn the_document_has_a_place_for_figures() {
        let text = fs::read_to_string(cargo::root().join(DOCUMENT)).unwrap();
        assert!(replaced(&text, "").is_some());
    }
}
