//! FORMAT.md is bound to the code: whoever changes a layout must touch the document.

const SOURCES: [(&str, &str); 12] = [
    ("journal/src/keys.rs", include_str!("../keys.rs")),
    ("journal/src/scope.rs", include_str!("../scope.rs")),
    ("journal/src/codec.rs", include_str!("../codec.rs")),
    (
        "journal/src/vault/file.rs",
        include_str!("../vault/file.rs"),
    ),
    ("journal/src/wrap.rs", include_str!("../wrap.rs")),
    ("journal/src/wrap/live.rs", include_str!("../wrap/live.rs")),
    ("journal/src/aead.rs", include_str!("../aead.rs")),
    ("journal/src/message.rs", include_str!("../message.rs")),
    (
        "journal/src/message/camera.rs",
        include_str!("../message/camera.rs"),
    ),
    (
        "journal/src/message/command.rs",
        include_str!("../message/command.rs"),
    ),
    (
        "journal/src/message/invite.rs",
        include_str!("../message/invite.rs"),
    ),
    (
        "journal/src/message/live.rs",
        include_str!("../message/live.rs"),
    ),
];

fn line(path: &str, source: &str) -> String {
    format!("- `{path}`: `{:08x}`", crc32fast::hash(source.as_bytes()))
}

#[test]
fn the_document_carries_the_hash_of_what_it_describes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/FORMAT.md");
    let mut document = std::fs::read_to_string(path).unwrap();
    if std::env::var_os("BLESS").is_some() {
        let kept = document.lines().map(|old| {
            let bound = SOURCES
                .iter()
                .find(|(path, _)| old.starts_with(&format!("- `{path}`:")));
            bound.map_or_else(|| old.to_owned(), |(path, source)| line(path, source))
        });
        let mut blessed = kept.collect::<Vec<_>>().join("\n");
        blessed.push('\n');
        std::fs::write(path, &blessed).unwrap();
        document = blessed;
    }
    for (path, source) in SOURCES {
        assert!(
            document.contains(&line(path, source)),
            "{path} has changed: bring FORMAT.md up to date, then run with BLESS=1"
        );
    }
}
