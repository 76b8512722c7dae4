//! The notes are not blind either: for each promise, notes that break it and nothing else.

use super::*;

/// Of a hub that made epochs 1 to `last`, one Commit and one chunk each, all of it sent and synced;
/// its journal was opened again before the last one.
fn hub(last: u64) -> String {
    let mut text = String::from("7 opened 0\n");
    for epoch in 1..=last {
        if epoch == last {
            text.push_str(&format!("8 opened {}\n", 2 * epoch - 2));
        }
        let (before, commit, chunk) = (epoch - 1, 2 * epoch - 1, 2 * epoch);
        text.push_str(&format!(
            "7 epoch g01 {epoch} x{epoch} {commit}\n\
             7 commit g01 {epoch} x{epoch} {commit}\n\
             7 place {commit} g01 {before} 0 handshake 0 {commit}\n\
             7 seal h {commit} d{commit} {commit}\n\
             7 handed {commit}\n7 wrote 5\n7 syncing 5\n\
             7 place {chunk} g01 {epoch} 0 application 0 {chunk}\n\
             7 seal h {chunk} d{chunk} {chunk}\n\
             7 synced 5\n7 envelope h {commit} d{commit}\n\
             7 handed {chunk}\n7 wrote 5\n7 syncing 5\n7 synced 5\n\
             7 envelope h {chunk} d{chunk}\n"
        ));
    }
    text
}

/// Of an app that took all of it and acked it.
fn app(last: u64) -> String {
    let mut text = String::from("9 opened 0\n");
    for epoch in 1..=last {
        let (commit, chunk) = (2 * epoch - 1, 2 * epoch);
        let (one, two, ack) = (3 * epoch - 2, 3 * epoch - 1, 3 * epoch);
        text.push_str(&format!(
            "9 epoch g01 {epoch} x{epoch} {one}\n\
             9 follow g01 {epoch} x{epoch} {one}\n\
             9 take h {commit} d{commit} {one}\n\
             9 take h {chunk} d{chunk} {two}\n\
             9 claim {epoch} h {chunk} {ack}\n\
             9 place {epoch} g01 {epoch} 1 application 0 {ack}\n\
             9 seal a {epoch} a{epoch} {ack}\n\
             9 handed {ack}\n9 wrote 5\n9 syncing 5\n9 synced 5\n\
             9 envelope a {epoch} a{epoch}\n9 trim h {chunk}\n"
        ));
    }
    text
}

/// Notes of both ends that nothing is wrong with, up to this epoch.
pub(crate) fn good(last: u64) -> [Notes; 2] {
    [Notes::parse(&hub(last)), Notes::parse(&app(last))]
}

fn promises(hub: &str, app: &str) -> Vec<&'static str> {
    let (hub, app) = (Notes::parse(hub), Notes::parse(app));
    let starts = judge_starts(&hub, &app);
    let broken = starts.into_iter().chain(judge(&hub, &app));
    broken.map(|one| one.promise).collect()
}

#[test]
fn good_notes_pass() {
    let [hub, app] = good(3);
    assert_eq!(judge(&hub, &app), []);
    assert_eq!(judge_rest(&hub, &app, 3), []);
}

/// A hub that lost its phone and paired another: both are in its notes, each directory begins with nothing, and what
/// it took of the lost one that one sealed.
#[test]
fn a_phone_that_was_lost_explains_what_was_taken_of_it() {
    let others = |text: String| {
        let text = text.replace("g01", "f01");
        text.replace(" h ", " i ").replace(" a ", " b ")
    };
    let both = format!("{}7 opened 6\n7 take a 1 a1 7\n7 take b 1 a1 8\n", hub(3));
    let lives = others(hub(3)).replace("opened 0", "opened 8");
    let hub = Notes::parse(&format!(
        "{both}{}",
        lives.replace("8 opened 4", "8 opened 8")
    ));
    let lost = || Notes::parse(&others(app(3)));
    let one = Notes::parse(&app(3));
    let c6 = |broken: &Broken| broken.promise == "C6";
    let alone: Vec<Broken> = judge(&hub, &one).into_iter().filter(c6).collect();
    assert_eq!(alone.len(), 1, "{alone:?}");
    let one = one.beside(lost());
    assert!(!judge(&hub, &one).iter().any(c6));
    // Of one directory that would be a start that found nothing.
    let apart = judge_starts(&Notes::default(), &one);
    assert_eq!(apart, []);
    let twice = Notes::parse(&format!("{}{}", app(3), others(app(3))));
    let joined = judge_starts(&Notes::default(), &twice);
    assert!(
        joined.iter().any(|broken| broken.promise == "C4"),
        "{joined:?}"
    );
    // At rest the phone that is there counts, whatever epochs there were.
    assert_eq!(judge_rest(&hub, &one, 3), []);
    assert_eq!(
        judge_rest(&hub, &Notes::default().beside(lost()), 3).len(),
        1
    );
}

#[test]
fn parted_ends_are_seen() {
    let other = app(3).replace("x2", "y2");
    assert_eq!(promises(&hub(3), &other), ["C1"]);
    assert_eq!(promises(&hub(2), &app(3)), ["C1", "C6", "C6"]);
    let [hub, app] = good(3);
    assert_eq!(judge_rest(&hub, &app, 4).len(), 1);
    assert_eq!(judge_rest(&hub, &Notes::default(), 3).len(), 1);
    assert_eq!(judge_rest(&Notes::default(), &Notes::default(), 3).len(), 1);
}

#[test]
fn what_nobody_sealed_must_not_be_taken() {
    let forged = app(3).replace("take h 4 d4", "take h 4 f4");
    assert_eq!(promises(&hub(3), &forged), ["C6"]);
    let renumbered = app(3).replace("take h 4 d4", "take h 4 d3");
    assert_eq!(promises(&hub(3), &renumbered), ["C6"]);
}

#[test]
fn a_second_ciphertext_is_seen() {
    let again = "7 place 2 g01 1 0 application 0 9\n7 seal h 2 other 9\n\
                 7 handed 9\n7 wrote 5\n7 syncing 5\n7 synced 5\n7 envelope h 2 other\n";
    let broken = promises(&(hub(3) + again), &app(3));
    // Under one number, and at one place in the ratchets.
    assert_eq!(broken, ["C3", "C3"]);
    // The same bytes again are no second ciphertext, and a statement may stand in for an envelope.
    let same = "7 envelope h 2 d2\n";
    assert!(promises(&(hub(3) + same), &app(3)).is_empty());
    let statement = "7 replace h 2 st 9\n7 handed 9\n7 wrote 5\n7 syncing 5\n7 synced 5\n\
                     7 envelope h 2 st\n";
    assert!(promises(&(hub(3) + statement), &app(3)).is_empty());
}

/// It is stored nowhere, and all the same explained by what is: the epoch that it is sealed in.
#[test]
fn a_live_frame_has_a_place_of_its_own_in_a_durable_epoch() {
    let frame = "7 live g01 3 0 application 1\n";
    let behind = |frames: &str| promises(&(hub(3) + frames), &app(3));
    assert!(behind(frame).is_empty());
    assert_eq!(behind(&frame.repeat(2)), ["C3"]);
    // Where an envelope is.
    assert_eq!(behind("7 live g01 3 0 application 0\n"), ["C3"]);
    assert_eq!(behind("7 live g01 9 0 application 1\n"), ["C4"]);
    // Before the sync of its Commit.
    let commit = "7 seal h 5 d5 5\n";
    let early = hub(3).replace(commit, &format!("{commit}{frame}"));
    assert_eq!(promises(&early, &app(3)), ["C4"]);
}

#[test]
fn a_cover_has_no_place_and_is_sealed_and_sent_once_like_the_others() {
    let cover = "7 cover 7 9\n7 seal h 7 c7 9\n7 handed 9\n7 wrote 5\n7 syncing 5\n7 synced 5\n\
                 7 envelope h 7 c7\n";
    let taken = "9 take h 7 c7 10\n";
    assert!(promises(&(hub(3) + cover), &(app(3) + taken)).is_empty());
    // Nothing but that note excuses it.
    let bare = cover.replace("7 cover 7 9\n", "");
    assert_eq!(promises(&(hub(3) + &bare), &(app(3) + taken)), ["C3"]);
    let of_another = cover.replace("cover 7 9", "cover 8 9");
    assert_eq!(promises(&(hub(3) + &of_another), &app(3)), ["C3"]);
    let again = cover.replace("c7", "d7").replace(" 9\n", " 10\n");
    assert_eq!(promises(&(hub(3) + cover + &again), &app(3)), ["C3"]);
    let forged = taken.replace("c7", "f7");
    assert_eq!(promises(&(hub(3) + cover), &(app(3) + &forged)), ["C6"]);
}

#[test]
fn what_is_not_durable_must_not_leave() {
    // No sync, a sync that began before the write, and one of another file.
    let early = hub(3).replace(
        "7 handed 2\n7 wrote 5\n7 syncing 5\n7 synced 5\n",
        "7 handed 2\n7 wrote 5\n",
    );
    assert_eq!(promises(&early, &app(3)), ["C4"]);
    let before = hub(3).replace(
        "7 handed 2\n7 wrote 5\n7 syncing 5\n7 synced 5\n",
        "7 handed 2\n7 syncing 5\n7 wrote 5\n7 synced 5\n",
    );
    assert_eq!(promises(&before, &app(3)), ["C4"]);
    let elsewhere = hub(3).replace(
        "7 handed 2\n7 wrote 5\n7 syncing 5\n7 synced 5\n",
        "7 handed 2\n7 wrote 5\n7 syncing 6\n7 synced 6\n",
    );
    assert_eq!(promises(&elsewhere, &app(3)), ["C4"]);
    // Sent, and unknown; acked and trimmed before it was taken.
    assert_eq!(
        promises(&(hub(3) + "7 envelope h 9 d9\n"), &app(3))[0],
        "C4"
    );
    let hasty = app(3).replace("9 take h 6 d6 8\n", "");
    assert_eq!(promises(&hub(3), &hasty), ["C4", "C4"]);
}

#[test]
fn what_was_sent_must_be_found_again() {
    let forgetful = hub(3).replace("8 opened 4", "8 opened 3");
    assert_eq!(promises(&forgetful, &app(3)), ["C4", "C4"]);
    // Synced, and nothing of it was shown to anybody: it must be there all the same.
    let quiet = "9 handed 10\n9 wrote 5\n9 syncing 5\n9 synced 5\n";
    let lost = app(3) + quiet + "9 opened 9\n";
    assert_eq!(promises(&hub(3), &lost), ["C4"]);
    let there = app(3) + quiet + "9 opened 10\n";
    assert!(promises(&hub(3), &there).is_empty());
    // A start's own seal and witness must not stand in for what it did not find.
    let start = |sealed: u64| format!("{}{quiet}9 seals {sealed}\n9 opened {sealed}\n", app(3));
    assert!(promises(&hub(3), &start(12)).is_empty());
    assert_eq!(promises(&hub(3), &start(11)), ["C4", "C4"]);
    assert_eq!(promises(&hub(3), &start(13)), ["C5"]);
    // One that is cut off behind them has no other note; the next one finds them, or not.
    for second in [12, 14] {
        let again = format!(
            "{}{quiet}9 seals 12\n9 seals {second}\n9 opened {second}\n",
            app(3)
        );
        assert!(promises(&hub(3), &again).is_empty(), "{second}");
    }
    // Written and not synced: it may be there or not, but nothing may be that was never attempted.
    let unsynced = app(3) + "9 handed 10\n9 wrote 5\n";
    for (found, broken) in [(9, vec![]), (10, vec![]), (11, vec!["C5"])] {
        let notes = format!("{unsynced}9 opened {found}\n");
        assert_eq!(promises(&hub(3), &notes), broken, "{found}");
    }
}

#[test]
fn a_step_in_two_transactions_is_seen() {
    let split = hub(3).replace("7 commit g01 2 x2 3", "7 commit g01 2 x2 4");
    assert_eq!(promises(&split, &app(3)), ["C5", "C5"]);
    let split = app(3).replace("9 follow g01 2 x2 4", "9 follow g01 2 x2 5");
    assert_eq!(promises(&hub(3), &split), ["C5", "C5"]);
    let gone = app(3).replace("9 follow g01 2 x2 4\n", "");
    assert_eq!(promises(&hub(3), &gone), ["C5"]);
}

#[test]
fn a_line_that_nobody_understands_is_not_ignored() {
    assert_eq!(promises(&(hub(3) + "7 sned h 1 d1\n"), &app(3)), ["C4"]);
}

/// Of a relay that stored envelopes 1 to `last` of one mailbox, each with its own sync and receipt.
fn relay(last: u64) -> String {
    let mut text = String::from("5 opened 0\n");
    for n in 1..=last {
        text.push_str(&format!(
            "5 stored h {n} d{n} {n}\n5 handed {n}\n5 wrote 3\n5 syncing 3\n5 synced 3\n\
             5 durable {n}\n5 receipt h {n} d{n}\n"
        ));
    }
    text
}

#[test]
fn a_receipt_needs_a_sync_before_it() {
    let promises = |text: &str| -> Vec<&str> {
        let broken = judge_relay(&Notes::parse(text));
        broken.into_iter().map(|one| one.promise).collect()
    };
    assert!(promises(&relay(3)).is_empty());
    assert!(promises(&(relay(3) + "5 admitted\n")).is_empty());
    assert!(Notes::parse(&relay(1)).has_receipts());
    assert!(!Notes::parse(&relay(0)).has_receipts());
    // Before its sync, of what nobody stored, and of what the next start does not find.
    let early = relay(3).replace("5 syncing 3\n5 synced 3\n5 durable 2\n", "");
    assert_eq!(promises(&early), ["C4"]);
    assert_eq!(promises(&(relay(3) + "5 receipt h 4 d4\n")), ["C4"]);
    assert_eq!(
        promises(&relay(3).replace("receipt h 2 d2", "receipt h 2 d9")),
        ["C4"]
    );
    assert_eq!(promises(&(relay(3) + "6 opened 2\n")), ["C4", "C4"]);
    // Once more in a later life, to a sender who comes back.
    assert!(promises(&(relay(3) + "6 opened 3\n6 receipt h 3 d3\n")).is_empty());
    assert_eq!(promises(&(relay(3) + "6 opened 4\n")), ["C5"]);
    assert_eq!(promises(&(relay(1) + "5 recieved h 1\n")), ["C4"]);
}
