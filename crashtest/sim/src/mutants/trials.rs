//! The table of trials. crashtest/README.md says what each bug stands for.

use super::{Tier, Trial};
use crate::engine::Bias;
use crate::plan::{Flavour, Who};

/// Bugs that only real processes show: `secluso-crashtest mutants` tries them.
pub const ELSEWHERE: &[&str] = &[
    "merge_before_persist",
    "send_before_sync",
    "skip_the_sync",
    "ack_before_durable",
    "ratchet_not_stored",
    "copy_outlives_ack",
    "cursor_apart",
    "new_commit_after_restart",
    "success_without_proof",
    "key_in_a_log_line",
    "panic_instead_of_poison",
    "overtaken_not_noted",
    "settings_version_not_compared",
    "camera_set_forgotten",
    "full_unsaid",
    "copies_go_with_their_phone",
    "second_phone_ends_first",
    "dismissal_forgotten",
    "revoke_not_stored",
    "reset_removes_first",
    "point_never_passed",
];

const fn engine(mutant: &'static str) -> Trial {
    biased(mutant, Bias::Any)
}

const fn biased(mutant: &'static str, bias: Bias) -> Trial {
    Trial {
        mutant,
        tier: Tier::Engine(bias),
    }
}

const fn world(mutant: &'static str, flavour: Flavour) -> Trial {
    Trial {
        mutant,
        tier: Tier::World(flavour),
    }
}

const fn theft(mutant: &'static str) -> Trial {
    Trial {
        mutant,
        tier: Tier::Theft,
    }
}

const fn cut(mutant: &'static str) -> Trial {
    Trial {
        mutant,
        tier: Tier::Cut,
    }
}

const fn door(mutant: &'static str) -> Trial {
    Trial {
        mutant,
        tier: Tier::Door,
    }
}

/// All trials of the simulation. A linked bug that is missing here fails the run.
pub const TRIALS: &[Trial] = &[
    engine("another_file_synced"),
    engine("applied_lsn_wrong"),
    biased("bad_crc_accepted", Bias::Torn),
    engine("batch_not_synced"),
    engine("checkpoint_in_place"),
    engine("checkpoint_unverified"),
    engine("copy_over_its_source"),
    engine("directory_not_synced"),
    biased("enospc_swallowed", Bias::Faults),
    biased("group_not_padded", Bias::Trash),
    engine("index_before_chunk"),
    engine("life_id_reused"),
    engine("lock_file_left"),
    engine("lock_left_out"),
    biased("longest_copy_wins", Bias::Torn),
    engine("newest_copy_without_its_seal"),
    biased("older_seals_given_away", Bias::Syncs),
    engine("page_cache_believed"),
    engine("recycle_above_the_checkpoint"),
    biased("seal_synced_with_its_copy", Bias::Starts),
    biased("sources_given_away", Bias::Starts),
    biased("sync_error_ignored", Bias::Faults),
    biased("sync_retried", Bias::Faults),
    engine("told_before_the_sync"),
    engine("torn_tail_read_over"),
    engine("truncates_too_much"),
    engine("two_batches_instead_of_one"),
    engine("view_before_the_sync"),
    biased("write_on_in_a_recovered_file", Bias::Torn),
    biased("unconfirmed_is_no_base", Bias::Syncs),
    world("ack_key_stays", Flavour::Calm),
    world("answer_left_out", Flavour::Calm),
    world("birth_after_the_log", Flavour::Dies(Who::App)),
    world("clip_named_by_the_clock", Flavour::ClockGoesBack),
    world("clip_left_open", Flavour::HealsInClips),
    world("command_done_twice", Flavour::Orders),
    world("commit_taken_ahead", Flavour::Skips),
    world("cover_in_its_own_size", Flavour::Covers),
    world("cursor_first", Flavour::Dies(Who::App)),
    world("dedupe_left_out", Flavour::Repeats),
    world("digest_not_compared", Flavour::GoesOn),
    world("dropped_unsaid", Flavour::Hoards),
    world("full_for_ever", Flavour::Fills),
    world("garbage_moves_the_cursor", Flavour::Flips),
    world("held_not_compared", Flavour::Unshown),
    world("nothing_is_sealed", Flavour::Calm),
    world("old_epoch_encrypted_in", Flavour::Dies(Who::Hub)),
    world("outcome_apart", Flavour::Obeys),
    world("past_epochs_kept", Flavour::Calm),
    world("proof_not_kept", Flavour::ShownOnce),
    world("proposal_kept", Flavour::Calm),
    world("proposals_before_message", Flavour::Calm),
    world("relay_deletes_early", Flavour::Dies(Who::App)),
    world("relay_keeps_no_evidence", Flavour::GoesBack(Who::Hub)),
    world("relay_receipt_before_sync", Flavour::Dies(Who::Relay)),
    world("second_rotation_at_once", Flavour::Dies(Who::Hub)),
    world("silence_ignored", Flavour::FallsSilent),
    world("stale_reloads_handle", Flavour::HearsLate),
    world("statement_behind_its_gap", Flavour::Rots),
    world("tag_not_checked", Flavour::Invents),
    world("update_keys_not_stored", Flavour::Calm),
    world("vault_before_the_log", Flavour::Dies(Who::Hub)),
    world("vault_image_left_old", Flavour::Calm),
    world("vault_images_together", Flavour::Tears),
    world("word_before_its_sync", Flavour::Dies(Who::Hub)),
    world("young_clip_dropped", Flavour::Ages),
    theft("delete_without_rotation"),
    theft("deleted_key_stays"),
    theft("healed_told_early"),
    theft("key_stays_beside_a_clip"),
    theft("notice_outlives_its_clip"),
    theft("offer_keys_stay"),
    theft("picture_outlives_its_clip"),
    // A phone that acks has the key rotated for another reason: it shows in between.
    theft("key_not_rotated"),
    theft("retained_never_forgotten"),
    theft("session_key_stays"),
    theft("update_passed_over"),
    cut("pool_kept"),
    cut("rotation_without_salt"),
    cut("start_renews_nothing"),
    door("added_unsaid"),
    door("code_outlives_its_phone"),
    door("code_used_twice"),
    door("late_code_taken"),
    door("mode_left_on"),
    door("secret_left_out"),
];
