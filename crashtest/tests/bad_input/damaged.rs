//! Damage on disk: payloads, headers, views.

use crashtest::damage::{self, Group};
use crashtest::oracle::{Ends, Verdict, judge};
use crashtest::process::Role;
use crashtest::system::{PATIENCE, Setup, System};
use crashtest::trouble::{Outcome, Trouble};

use crate::{goes_on, one_event, wrong};

/// Payloads of at least so many bytes are chunks of video.
const CHUNK_BYTES_MIN: usize = 16 * 1024;

/// A paired system whose hub has recorded un-acked clips and is stopped. The relay never saw
/// them, so that the hub's disk is the only place where they are.
fn with_unacked_clips(passes: u32) -> Outcome<System> {
    let mut system = System::paired(Setup {
        passes,
        ..Setup::default()
    })?;
    system.stop(Role::Relay)?;
    system.start_hub()?;
    system.until("un-acked clips", PATIENCE, |system| {
        let status = system.hub_status()?;
        let done = status
            .clips
            .iter()
            .filter(|clip| clip.outcome == "complete")
            .count();
        Ok((done == passes as usize && !status.recording).then_some(()))
    })?;
    system.stop(Role::Hub)?;
    Ok(system)
}

fn chunk_groups(system: &System) -> Outcome<Vec<Group>> {
    let mut groups = damage::groups(&system.path("hub/journal"))?;
    groups.retain(|group| group.payload_bytes >= CHUNK_BYTES_MIN);
    Ok(groups)
}

#[test]
fn a_damaged_payload_costs_that_clip_and_both_ends_are_told() -> Outcome<()> {
    let mut system = with_unacked_clips(2)?;
    let groups = chunk_groups(&system)?;
    let Some(group) = groups.first() else {
        return wrong("no group holds a chunk");
    };
    damage::flip_payload(group)?;
    // The one test in which a clip may be lost.
    system.setup.drops_allowed = true;
    let ends = system.settle()?;
    let outcomes: Vec<&str> = ends
        .hub_clips
        .iter()
        .map(|clip| clip.outcome.as_str())
        .collect();
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| **outcome == "dropped")
            .count(),
        1,
        "{outcomes:?}"
    );
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| **outcome == "complete")
            .count(),
        2,
        "{outcomes:?}"
    );
    let told = ends
        .app_clips
        .iter()
        .filter(|clip| clip.outcome == "damaged")
        .count();
    assert_eq!(told, 1, "{:?}", ends.app_clips);
    assert_eq!(judge(&ends), []);
    Ok(())
}

#[test]
fn a_damaged_log_header_is_recovered_or_refused() -> Outcome<()> {
    let mut system = with_unacked_clips(2)?;
    let file = damage::fullest_log_file(&system.path("hub/journal"))?;
    damage::flip(&file, 0, 56)?;
    recovered_or_refused(&mut system)
}

#[test]
fn a_trashed_group_header_is_recovered_or_refused() -> Outcome<()> {
    let mut system = with_unacked_clips(2)?;
    let groups = chunk_groups(&system)?;
    let Some(group) = groups.get(1) else {
        return wrong("too few groups hold chunks");
    };
    damage::flip(&group.file, group.offset, 128)?;
    recovered_or_refused(&mut system)
}

/// Everything is there, or the start says 4 with a sentence; a silent loss is neither.
fn recovered_or_refused(system: &mut System) -> Outcome<()> {
    let run: Outcome<Ends> = system.settle();
    match Verdict::of(&run) {
        Verdict::Refused {
            role: Role::Hub,
            code: 4,
            said,
        } => {
            println!("refused: {said}");
            Ok(())
        }
        verdict => verdict.expect_pass(),
    }
}

#[test]
fn a_deleted_view_is_rebuilt() -> Outcome<()> {
    let mut system = with_unacked_clips(2)?;
    system.start_hub()?;
    system.start_relay()?;
    system.start_app()?;
    system.until_line("acks", 0, |line| line.event() == "acked")?;
    for role in Role::ALL {
        system.stop(role)?;
    }
    for view in ["hub/journal/view", "app/view", "relay/data/view"] {
        std::fs::remove_dir_all(system.path(view)).map_err(Trouble::machine(view))?;
    }
    goes_on(&mut system)
}

#[test]
fn a_damaged_block_of_the_view_is_noticed_and_the_view_rebuilt() -> Outcome<()> {
    let mut system = with_unacked_clips(2)?;
    system.start_hub()?;
    system.start_relay()?;
    system.start_app()?;
    system.until_line("acks", 0, |line| line.event() == "acked")?;
    for role in Role::ALL {
        system.stop(role)?;
    }
    let mut damaged = 0;
    for view in ["hub/journal/view", "app/view", "relay/data/view"] {
        for file in damage::files(&system.path(view))? {
            let name = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.starts_with("MANIFEST") || name.ends_with(".sst") {
                // A sector of it: the first, which every reader meets.
                damage::flip(&file, 16, 496)?;
                damaged += 1;
            }
        }
    }
    assert!(damaged >= 3, "only {damaged} files were damaged");
    goes_on(&mut system)
}

#[test]
fn a_cut_app_log_is_recovered_or_refused() -> Outcome<()> {
    let mut system = System::paired(one_event())?;
    system.settle().map(drop)?;
    let file = damage::fullest_log_file(&system.path("app"))?;
    let groups = damage::groups(&system.path("app"))?;
    let Some(last) = groups.iter().rfind(|group| group.file == file) else {
        return wrong("the fullest log file holds no group");
    };
    // In the middle of what was written last: its head stays, the rest of the file is gone.
    let keep = last.offset + (last.meta_bytes + last.payload_bytes) / 2;
    let was = std::fs::metadata(&file).map_err(Trouble::machine("the cut log"))?;
    damage::edit(&file, |bytes| bytes.truncate(keep))?;
    assert!((keep as u64) < was.len(), "something was cut off");
    app_recovers_or_refuses(&mut system)
}

#[test]
fn a_damaged_header_of_an_app_log_is_recovered_or_refused() -> Outcome<()> {
    let mut system = System::paired(one_event())?;
    system.settle().map(drop)?;
    let file = damage::fullest_log_file(&system.path("app"))?;
    damage::flip(&file, 0, 56)?;
    app_recovers_or_refuses(&mut system)
}

fn app_recovers_or_refuses(system: &mut System) -> Outcome<()> {
    let run = system.settle();
    match Verdict::of(&run) {
        Verdict::Refused {
            role: Role::App,
            code: 4,
            said,
        } => {
            println!("refused: {said}");
            Ok(())
        }
        verdict => verdict.expect_pass(),
    }
}
