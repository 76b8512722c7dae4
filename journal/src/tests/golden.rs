//! State written by this version, kept in the repository: whoever changes a format finds out here.
//!
//! `BLESS=1 cargo test -p journal golden` writes it anew; do that only together with a new format
//! version and a note in CHANGELOG.md.

use std::path::PathBuf;

use wal::Disk;
use wal::disk::{OpenMode, SimDisk};
use wire::ids::Seq;

use super::harness::{App, Hub, converge, open, pair_journals};
use crate::ids::{Channel, ClipId, Line};
use crate::{ErrorKind, FORMAT_VERSION, JournalError, Role, Session, Suite};

/// A disk as one file: path, length, bytes without trailing zeros.
type Dump = Vec<(String, u64, Vec<u8>)>;

fn path(version: u32, side: &str) -> PathBuf {
    let name = format!("testdata/golden-v{version}-{side}.bin");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn dump(disk: &SimDisk) -> Dump {
    let file = |path: String| {
        let mut bytes = disk.contents(&path).unwrap();
        let length = bytes.len() as u64;
        let end = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        bytes.truncate(end);
        (path, length, bytes)
    };
    disk.paths()
        .into_iter()
        .filter(|path| !path.starts_with("view"))
        .map(file)
        .collect()
}

fn restore(dump: &Dump) -> SimDisk {
    let disk = SimDisk::new();
    for (path, length, bytes) in dump {
        if let Some((dir, _)) = path.rsplit_once('/') {
            disk.create_dir(dir).unwrap();
        }
        let file = disk.open(path, OpenMode::CreateNew).unwrap();
        file.write_at(0, bytes).unwrap();
        file.set_len(*length).unwrap();
        file.sync_data().unwrap();
        for (dir, _) in path.match_indices('/') {
            disk.sync_dir(&path[..dir]).unwrap();
        }
    }
    disk.sync_dir("").unwrap();
    disk
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Golden {
    line: Line,
    files: Dump,
    /// A clip that is whole at the hub and not yet at the app.
    clip: ClipId,
}

/// A hub with a clip that was acked, one that was not, and one that is being recorded; and its app.
fn bless() {
    let (hub_disk, app_disk) = (SimDisk::new(), SimDisk::new());
    let mut hub = open(Role::Hub, &hub_disk, 1).unwrap();
    let mut app = open(Role::App, &app_disk, 2).unwrap();
    let pairing = pair_journals(&mut hub, &mut app, Suite::XWing);
    let line = Line {
        pairing,
        channel: Channel::EventVideo,
    };
    let session = Session::new(line);
    let mut hub = Hub {
        disk: hub_disk,
        journal: hub,
        session,
    };
    let mut app = App {
        disk: app_disk,
        journal: app,
        session: Session::new(line),
    };
    hub.record(&[b"acked"]);
    super::harness::settle(&mut hub, &mut app);
    let clip = hub.record(&[b"golden ", b"bytes"]);
    let open = hub.start_clip();
    hub.chunk(open, b"cut off");
    for (side, disk) in [("hub", &hub.disk), ("app", &app.disk)] {
        let golden = Golden {
            line,
            files: dump(disk),
            clip,
        };
        std::fs::write(
            path(FORMAT_VERSION, side),
            postcard::to_allocvec(&golden).unwrap(),
        )
        .unwrap();
    }
}

fn load(version: u32, side: &str) -> Golden {
    let bytes = std::fs::read(path(version, side)).expect("the golden files are in the repository");
    postcard::from_bytes(&bytes).expect("a golden file decodes")
}

#[test]
fn state_written_by_this_format_version_can_be_read_and_gone_on_with() {
    if std::env::var_os("BLESS").is_some() {
        bless();
    }
    let (hub, app) = (load(FORMAT_VERSION, "hub"), load(FORMAT_VERSION, "app"));
    let line = hub.line;
    let (mut hub, _) = Hub::start(restore(&hub.files), line, 31);
    let mut app_end = App::open(Role::App, restore(&app.files), line, 32);
    assert!(hub.outgoing(Seq(0)).len() >= 9);
    converge(&mut hub, &mut app_end);
    assert_eq!(app_end.bytes_of(app.clip), b"golden bytes");
    let clips = app_end.journal.app_clips(line.pairing).unwrap();
    assert_eq!(
        clips.len(),
        4,
        "acked, golden, cut off, and the one of convergence"
    );
}

/// One group for a pairing and rotations without salt (1); a clip's chunks in one row (2). Each is refused when it is
/// opened, by its number, and it says the way out.
#[test]
fn state_of_an_older_format_version_is_refused() {
    for older in 1..FORMAT_VERSION {
        let disk = restore(&load(older, "app").files);
        let Err(error) = open(Role::App, &disk, 33) else {
            panic!("version {older} opens");
        };
        let named = matches!(
            error,
            JournalError::FormatVersion {
                found,
                expected: FORMAT_VERSION,
            } if found == older
        );
        assert!(named, "{older}: {error}");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("pair again"), "{error}");
    }
}
