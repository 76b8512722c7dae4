//! The numbered scenarios: sequences that an earlier draft of this design did not survive.
//!
//! Each lives on as a test whose name begins with its number. A test that is renamed or deleted and a number
//! that nobody knows fail.

use std::collections::BTreeMap;
use std::path::Path;

/// Where a scenario lives on: in tests whose names begin so, each of them at least once.
struct In(&'static [&'static str]);

/// Number, title, and where it lives.
const SCENARIOS: [(u32, &str, In); 31] = [
    (
        1,
        "a dead group behind a torn one comes back once something of its length is written before it",
        In(&["scenario_01_a_dead_group_behind_a_torn_one"]),
    ),
    (
        2,
        "what only the page cache knew is believed, sent, and gone with the power",
        In(&["scenario_02_what_only_the_page_cache_knew"]),
    ),
    (
        3,
        "a start's copy of the tail is cut off, outlived by its source, or damaged later",
        In(&[
            "scenario_03_an_unsealed_copy",
            "scenario_03_a_damaged_header",
            "scenario_03_a_finished_copy_that_cannot_be_read",
        ]),
    ),
    (
        4,
        "starts die in recovery one after the other, on a full disk",
        In(&[
            "scenario_04_starts_that_die_in_any_of_their_syncs",
            "scenario_04_starts_that_crash_in_recovery",
        ]),
    ),
    (
        5,
        "the view or a checkpoint is damaged, at a start or at the first read",
        In(&[
            "scenario_05_a_damaged_view",
            "scenario_05_one_damaged_checkpoint",
            "scenario_05_the_log_back_to_the_older_checkpoint",
        ]),
    ),
    (
        6,
        "one small value that nobody acks pins a whole log file",
        In(&["scenario_06_a_small_value_pins_no_file"]),
    ),
    (
        7,
        "a full disk: poison without end in the view, epochs that eat what is held back for them",
        In(&[
            "scenario_07_a_full_disk_ends_the_clip_once",
            "scenario_07_a_full_view_refuses_video",
            "scenario_07_epochs_never_run_dry",
        ]),
    ),
    (
        8,
        "a stored proposal makes every message of the recording fail",
        In(&["scenario_08_a_heartbeat_in_the_middle_of_a_clip"]),
    ),
    (
        9,
        "what the phone made in one epoch arrives in the next",
        In(&[
            "scenario_09_a_stale_proposal_is_consumed",
            "scenario_09_an_ack_made_stale_by_a_new_epoch",
            "scenario_09_new_keys_for_a_past_epoch",
            "scenario_09_a_phone_that_is_two_hundred_clips_behind",
        ]),
    ),
    (
        10,
        "a hub in a crash loop moves on before it reads its inbox, and never trims",
        In(&[
            "scenario_10_a_crash_loop_before_the_inbox_is_read",
            "scenario_10_what_an_epoch_overtook_is_encrypted_again",
        ]),
    ),
    (
        11,
        "the phone has proposed, and can say nothing while the hub is away",
        In(&[
            "scenario_11_a_line_with_a_pending_update_is_mute_and_says_so",
            "scenario_11_a_command_waits_while_new_keys_wait",
        ]),
    ),
    (
        12,
        "a stale message in the middle of a clip costs the handle, and generations are used twice",
        In(&[
            "scenario_12_a_stale_ack_in_a_clip",
            "scenario_12_a_stale_ack_mid_clip",
        ]),
    ),
    (
        13,
        "a Commit overtakes the chunks of the epoch before it",
        In(&["scenario_13_the_commit_lies_between_the_epochs"]),
    ),
    (
        14,
        "a statement about lost video is sealed behind the gap that it explains, or skips too much",
        In(&[
            "scenario_14_a_statement_sealed_five_epochs_behind",
            "scenario_14_a_statement_skips_more_than_a_thousand",
        ]),
    ),
    (
        15,
        "half of the writes of one step reach the disk",
        In(&[
            "scenario_15_a_dropped_take",
            "scenario_15_a_pairing_survives_a_crash_at_every_operation",
            "scenario_15_the_app_may_die_at_any_operation",
        ]),
    ),
    (
        16,
        "both ends look in step, and the next Commit cannot be followed",
        In(&["scenario_16_in_step_by_every_sign"]),
    ),
    (
        17,
        "the hash of a clip that a restart cut off cannot be computed any more",
        In(&["scenario_17_a_cut_off_clip"]),
    ),
    (
        18,
        "an old copy of the hub's directory sends something new under a number that is taken",
        In(&[
            "scenario_18_a_copy_that_has_recorded_past_the_phone",
            "scenario_18_a_phone_that_holds_what_this_directory_never_made",
            "scenario_18_a_sender_that_was_rolled_back",
        ]),
    ),
    (
        19,
        "everything is acked and trimmed, and nothing is left that could prove a rollback",
        In(&[
            "scenario_19_the_last_envelope_stays",
            "scenario_19_the_phones_next_word",
        ]),
    ),
    (
        20,
        "a lying relay invents a rollback, and the hub refuses for ever",
        In(&["scenario_20_a_head_that_the_relay_invents"]),
    ),
    (
        21,
        "a backup of the phone is put back and encrypts what was encrypted before",
        In(&[
            "scenario_21_a_phone_that_was_put_back",
            "scenario_21_an_older_copy_is_told_by_the_hub",
            "scenario_21_another_ack_under_a_number",
            "scenario_21_an_old_disk_is_seen",
            "scenario_21_a_copy_of_the_phone_from_before_a_heartbeat",
        ]),
    ),
    (
        22,
        "the relay loses everything that it has",
        In(&[
            "scenario_22_wiped_and_restarted",
            "scenario_22_a_relay_that_loses_its_state",
        ]),
    ),
    (
        23,
        "an image of the vault still opens the clip that is finished",
        In(&["scenario_23_a_rotation_reaches_both_images"]),
    ),
    (
        24,
        "a hub is idle for weeks, and the first key of its epoch lies on its disk",
        In(&["scenario_24_a_start_rotates_what_was_in_use"]),
    ),
    (
        25,
        "a new key is used before the vault has it",
        In(&["scenario_25_every_key_in_use_is_in_the_vault"]),
    ),
    (
        26,
        "a redo seals something else under the same key and number",
        In(&["scenario_26_a_redo_never_repeats_a_nonce"]),
    ),
    (
        27,
        "a secret that belongs to no group is sealed by nobody",
        In(&["scenario_27_no_secret_is_in_the_clear"]),
    ),
    (
        28,
        "a clip is deleted on the phone while its epoch could still open it",
        In(&[
            "scenario_28_a_deleted_clips_key_is_in_no_file",
            "scenario_28_a_deleted_pictures_key_is_in_no_file",
        ]),
    ),
    (
        29,
        "a hub without a clock refuses every phone because of the date",
        In(&["scenario_29"]),
    ),
    (
        30,
        "the last answer of a pairing is lost",
        In(&[
            "scenario_30_lost_answers_are_given_again",
            "scenario_30_the_file_is_read_once_and_again_after_a_reset",
        ]),
    ),
    (
        31,
        "live: late frames, second sessions, old pictures played again",
        In(&[
            "scenario_31_late_frames_and_old_ones_are_not_shown",
            "scenario_31_a_second_session_ends_the_first",
            "scenario_31_a_phone_that_starts_again_wishes_anew",
            "scenario_31_a_heartbeat_in_a_session_goes_on_with_a_new_one",
        ]),
    ),
];

/// Every test function below a directory that is named after a scenario, and where it stands.
fn tests_below(dir: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            tests_below(&path, found);
        } else if path.is_file() && name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            for (index, line) in lines.iter().enumerate() {
                let function = line.trim_start_matches("async ").strip_prefix("fn ");
                let function = function.and_then(|rest| rest.split('(').next());
                // Attributes lie right above, a test's own among them; an ignored test is none.
                let above = lines[..index].iter().rev();
                let attributes: Vec<_> = above.take_while(|line| line.starts_with("#[")).collect();
                let is_test = attributes.iter().any(|line| line.contains("test"))
                    && !attributes.iter().any(|line| line.contains("ignore"));
                if let Some(function) = function.filter(|name| name.starts_with("scenario_"))
                    && is_test
                {
                    found.insert(function.to_owned(), path.display().to_string());
                }
            }
        }
    }
}

#[test]
fn every_scenario_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = BTreeMap::new();
    tests_below(root, &mut found);
    let mut wrong = Vec::new();
    for (index, (number, title, In(names))) in SCENARIOS.iter().enumerate() {
        assert_eq!(*number as usize, index + 1, "{title}");
        let own = format!("scenario_{number:02}");
        let missing = names.iter().filter(|name| {
            !name.starts_with(&own) || !found.keys().any(|test| test.starts_with(**name))
        });
        wrong.extend(missing.map(|name| format!("{number}, {title}: no test {name}")));
    }
    for (test, path) in &found {
        let number = test.split('_').nth(1).and_then(|text| text.parse().ok());
        if !number.is_some_and(|number: usize| (1..=SCENARIOS.len()).contains(&number)) {
            wrong.push(format!("{test} in {path}: there is no such scenario"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
