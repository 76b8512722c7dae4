//! Every combination of facts meets exactly one row of its table.

use super::*;

fn matches<F: PartialEq + Copy, A, const N: usize>(table: &[Row<F, A, N>], facts: [F; N]) -> usize {
    let meets = |row: &&Row<F, A, N>| {
        row.when
            .iter()
            .zip(facts)
            .all(|(want, fact)| want.is_none_or(|want| want == fact))
    };
    table.iter().filter(meets).count()
}

fn rows_are_used<F: PartialEq + Copy, A, const N: usize>(table: &[Row<F, A, N>], all: &[[F; N]]) {
    for facts in all {
        assert_eq!(matches(table, *facts), 1);
    }
    for (index, row) in table.iter().enumerate() {
        assert_eq!(usize::from(row.number), index + 1);
        assert!(
            all.iter()
                .any(|facts| matches(std::slice::from_ref(row), *facts) == 1)
        );
    }
}

/// Keys have whole names in them.
#[test]
fn a_report_in_a_log_has_no_key() {
    let damaged = DamagedPayload {
        key: b"a whole name".to_vec(),
        lsn: Lsn(7),
    };
    assert_eq!(format!("{damaged:?}"), "DamagedPayload { lsn: Lsn(7), .. }");
}

#[test]
fn every_group_meets_one_row() {
    let all = all_groups();
    assert_eq!(all.len(), 12);
    rows_are_used(GROUP_TABLE, &all);
}

fn all_groups() -> Vec<[GroupFact; 3]> {
    use GroupFact::*;
    let mut all = Vec::new();
    for meta in [Sound, Lost] {
        for payload in [PayloadSound, PayloadDamaged, PayloadUnreadable] {
            for proof in [Proven, Unproven] {
                all.push([meta, payload, proof]);
            }
        }
    }
    all
}

#[test]
fn every_file_meets_one_row() {
    let what = [FileFact::Normal, FileFact::Sealed, FileFact::Unsealed];
    let relation = [FileFact::Above, FileFact::NotAbove];
    let all: Vec<_> = what
        .iter()
        .flat_map(|a| relation.iter().map(move |b| [*a, *b]))
        .collect();
    assert_eq!(all.len(), 6);
    rows_are_used(FILE_TABLE, &all);
}

#[test]
fn every_pair_of_checkpoints_meets_one_row() {
    use CheckpointFact::*;
    let states = [Absent, Bad, Unconfirmed, Confirmed];
    let mut all = Vec::new();
    for a in states {
        for b in states {
            for log in [LogFromStart, LogLater] {
                all.push([a, b, log]);
            }
        }
    }
    assert_eq!(all.len(), 32);
    rows_are_used(BASE_TABLE, &all);
}

#[test]
fn every_view_meets_one_row() {
    let states = [ViewFact::Opens, ViewFact::Corrupt];
    let applied = [ViewFact::Behind, ViewFact::Within, ViewFact::Beyond];
    let all: Vec<_> = states
        .iter()
        .flat_map(|a| applied.iter().map(move |b| [*a, *b]))
        .collect();
    rows_are_used(VIEW_TABLE, &all);
}

#[test]
fn nothing_acknowledged_is_ever_dropped_by_a_table() {
    for [meta, payload, proof] in all_groups() {
        let action = decide_group(meta, payload, proof);
        let unread = meta == GroupFact::Sound && payload == GroupFact::PayloadUnreadable;
        if proof == GroupFact::Proven || unread {
            assert_ne!(action, GroupAction::EndOfLog);
        }
    }
}
