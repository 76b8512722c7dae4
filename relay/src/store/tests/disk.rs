//! What quotas count against what the log really takes.

use super::gather::SLACK_FILES;
use super::*;

const SECTOR: u64 = 4096;

#[test]
fn an_envelope_is_charged_what_its_group_takes_in_the_log() {
    let mut store = open_with(&SimDisk::new(), wide());
    let mut last = [0_u64; 2];
    // The first row of each length creates the rows; the second replaces them, as most do.
    for len in [1, 10, 3_000, 3_584, 3_585, 4_096, 16_384, 65_024, 81_920] {
        for (index, mailbox) in [BOX, SendId([3; 24])].into_iter().enumerate() {
            let before = (store.wal.stats().tail_bytes, store.usage().quota_bytes);
            let n = last[index] + 1;
            receipt(append(&mut store, mailbox, n, n - 1, &bytes(7, len)));
            last[index] = n;
            let grown = store.wal.stats().tail_bytes.saturating_sub(before.0);
            let charged = store.usage().quota_bytes - before.1;
            assert_eq!(charged, envelope_disk_bytes(len as u64));
            // A checkpoint in between sets the tail to zero, and a new file has a header.
            assert!(grown <= charged + SECTOR, "{len}: {grown} > {charged}");
            assert!(charged < len as u64 + 512 + SECTOR, "{len}: {charged}");
        }
    }
    // What senders pad to fills whole sectors, and nothing is counted twice.
    assert_eq!(envelope_disk_bytes(16 * SECTOR - 512), 16 * SECTOR);
}

#[test]
fn tiny_envelopes_are_charged_a_sector_each() {
    let mut store = store();
    let tiny = bytes(1, 1);
    let fit = quotas().hub.account_bytes / SECTOR;
    for n in 1..=fit {
        receipt(append(&mut store, BOX, n, n - 1, &tiny));
    }
    assert_eq!(
        append(&mut store, BOX, fit + 1, fit, &tiny),
        AppendAnswer::OverQuota(Size::Small)
    );
    assert_eq!(store.usage().envelope_bytes, fit);
    assert_eq!(store.usage().quota_bytes, fit * SECTOR);
    // The one that is kept as evidence counts as well.
    trim(&mut store, &BOX, fit);
    assert_eq!(store.usage().quota_bytes, SECTOR);
}

#[test]
fn a_phone_has_the_smaller_quota_and_keeps_it_over_a_restart() {
    let disk = SimDisk::new();
    let mut store = open_on(&disk);
    let (theirs, ack) = (SendId([7; 24]), bytes(1, 5_000));
    for n in 1..=3 {
        receipt(append_as(PHONE, &mut store, theirs, n, n - 1, &ack));
    }
    drop(store);
    let mut store = open_on(&disk);
    // Three of 8 KiB of the 30,000 bytes; a hub's quota would take many more.
    let full = AppendAnswer::OverQuota(Size::Small);
    let fourth = append_as(PHONE, &mut store, theirs, 4, 3, &ack);
    assert_eq!(fourth, full);
    // Whoever else appends there: the account that pays is the phone's.
    assert_eq!(append(&mut store, theirs, 4, 3, &ack), full);
    let tiny = bytes(1, 10);
    receipt(append_as(PHONE, &mut store, SendId([8; 24]), 1, 0, &tiny));
    assert_eq!(
        append_as(PHONE, &mut store, SendId([9; 24]), 1, 0, &tiny),
        AppendAnswer::TooManyMailboxes
    );
    receipt(append(&mut store, BOX, 1, 0, &bytes(2, 70_000)));
}

/// Steps until nothing is left to gather.
fn gather(store: &mut MailboxStore) -> usize {
    let mut steps = 0;
    while store.wants_gathering() {
        let _progress = store.gather().unwrap();
        let _durable = store.commit().unwrap();
        steps += 1;
        assert!(steps < 10_000, "gathering never ends");
    }
    steps
}

/// Fills a log file in a mailbox of its own, and trims it again.
fn churn(store: &mut MailboxStore, from: u64) -> u64 {
    let video = bytes(3, ENVELOPE_BYTES_MAX);
    for n in from + 1..=from + 13 {
        receipt(append(store, SendId([9; 24]), n, n - 1, &video));
    }
    trim(store, &SendId([9; 24]), from + 13);
    let _durable = store.commit().unwrap();
    from + 13
}

/// Kept envelopes, trimmed or not, must not pin a log file each.
#[test]
fn one_small_envelope_in_each_log_file_does_not_keep_them_all() {
    let disk = SimDisk::new();
    let mut store = open_with(&disk, wide());
    let mut churned = 0;
    let kept = |n: u64| SendId([n as u8 + 100; 24]);
    let count = 30;
    for n in 1..=count {
        // One that was trimmed and is kept as evidence, and one that nobody has read yet.
        receipt(append(&mut store, kept(n), 1, 0, &bytes(n as u8, 50)));
        trim(&mut store, &kept(n), 1);
        receipt(append(&mut store, BOX, n, n - 1, &bytes(n as u8, 200)));
        churned = churn(&mut store, churned);
    }
    let before = store.usage();
    assert!(before.log_files >= count, "{before:?}");
    assert!(store.wants_gathering());
    assert!(gather(&mut store) > 0);
    let after = store.usage();
    assert!(after.log_files <= SLACK_FILES + 1, "{after:?}");
    assert_eq!(after.quota_bytes, before.quota_bytes);
    assert_eq!(after.envelope_bytes, before.envelope_bytes);

    // Nothing of it is lost, neither now nor at the next start.
    for reopened in [false, true] {
        if reopened {
            drop(store);
            store = open_with(&disk, wide());
            assert_eq!(store.usage().quota_bytes, before.quota_bytes);
        }
        assert_eq!(seqs(&mut store, 0), (1..=count).collect::<Vec<_>>());
        for n in 1..=count {
            let state = store.send_state(&kept(n)).unwrap();
            let envelope = bytes(n as u8, 50);
            assert_eq!(state.last, Some(head(1, &envelope)));
            assert_eq!(store.fetch(&kept(n), Seq(1)).unwrap(), Some(envelope));
        }
    }
    // And the log does not grow for ever when it goes on like this.
    for n in count + 1..=2 * count {
        receipt(append(&mut store, kept(n), 1, 0, &bytes(n as u8, 50)));
        churned = churn(&mut store, churned);
        gather(&mut store);
    }
    assert!(
        store.usage().log_files <= 2 * SLACK_FILES,
        "{:?}",
        store.usage()
    );
}

#[test]
fn a_gathering_that_a_crash_interrupts_loses_nothing() {
    let disk = SimDisk::new();
    let mut store = open_with(&disk, wide());
    let mut churned = 0;
    for n in 1..=20 {
        receipt(append(&mut store, BOX, n, n - 1, &bytes(n as u8, 20_000)));
        churned = churn(&mut store, churned);
    }
    for _ in 0..2 {
        assert!(store.wants_gathering());
        assert_eq!(store.gather().unwrap(), Progress::More);
        let _durable = store.commit().unwrap();
        // A second step is staged and never committed.
        let _progress = store.gather().unwrap();
        drop(store);
        store = open_with(&disk, wide());
        assert_eq!(seqs(&mut store, 0), (1..=20).collect::<Vec<_>>());
    }
    gather(&mut store);
    assert_eq!(seqs(&mut store, 0), (1..=20).collect::<Vec<_>>());
    assert!(store.usage().log_files <= SLACK_FILES + 2);
}

#[test]
fn full_log_files_are_left_alone() {
    let mut store = open_with(&SimDisk::new(), wide());
    let video = bytes(3, ENVELOPE_BYTES_MAX);
    for n in 1..=13 * 2 * SLACK_FILES {
        receipt(append(&mut store, BOX, n, n - 1, &video));
    }
    assert!(store.usage().log_files > SLACK_FILES);
    assert!(!store.wants_gathering());
}

/// An envelope that cannot be moved costs its mailbox, as it does when it cannot be read.
#[test]
fn damage_found_while_gathering_costs_its_mailbox_and_nothing_else() {
    let disk = SimDisk::new();
    let mut store = open_with(&disk, wide());
    let other = SendId([3; 24]);
    receipt(append(&mut store, BOX, 1, 0, &bytes(0xa5, 5_000)));
    receipt(append(&mut store, other, 1, 0, &bytes(1, 5_000)));
    let mut churned = 0;
    for n in 2..=15 {
        receipt(append(&mut store, other, n, n - 1, &bytes(1, 50)));
        churned = churn(&mut store, churned);
    }
    assert!(damage(&disk, &store.mask.turn(vec![0xa5; 64])) > 0);
    gather(&mut store);
    assert_eq!(store.take_lost(), [BOX]);
    assert_eq!(store.send_state(&BOX).unwrap().last, None);
    assert_eq!(store.send_state(&other).unwrap().last.unwrap().seq, Seq(15));
    assert_eq!(store.fetch(&other, Seq(1)).unwrap(), Some(bytes(1, 5_000)));
}
