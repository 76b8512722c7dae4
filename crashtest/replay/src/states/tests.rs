//! What a crash may leave of a small story, state by state.

use std::sync::Arc;

use super::*;
use crate::steps::Placed;
use crate::tree::Node;

const LOG: Object = Object(1);

fn write(offset: u64, byte: u8, length: usize) -> Step {
    Step::Change(Change::Write {
        file: LOG,
        offset,
        content: Content::Bytes(Arc::from(vec![byte; length])),
    })
}

fn sync(id: u64, target: Target) -> [Step; 2] {
    let id = (1, id);
    [
        Step::SyncBegin { id, target },
        Step::SyncEnd { id, done: true },
    ]
}

fn told(steps: Vec<Step>) -> Story {
    let placed = steps.into_iter().enumerate();
    Story {
        before: Tree::default(),
        steps: placed
            .map(|(record, step)| Placed {
                nanos: record as u64,
                record,
                step,
            })
            .collect(),
    }
}

fn created() -> Vec<Step> {
    let mut steps = vec![Step::Change(Change::Link {
        path: "log".into(),
        node: Node::File(LOG),
    })];
    steps.extend(sync(1, Target::Directory(String::new())));
    steps
}

/// All contents that the file can have at the last moment; `None` if it has no name.
fn contents(story: &Story, kinds: &[Kind]) -> BTreeSet<Option<Vec<u8>>> {
    let moments = moments(story, |_| Weight::Counts);
    let last = moments.last().unwrap();
    let all = last.fates(64, 7).into_iter();
    let wanted = all.filter(|(kind, _)| kinds.is_empty() || kinds.contains(kind));
    wanted
        .map(|(_, fates)| {
            let tree = last.tree(&fates);
            let node = tree.get("log")?;
            assert!(matches!(node, Node::File(_)));
            Some(
                tree.file(LOG)
                    .map(|image| image.to_vec())
                    .unwrap_or_default(),
            )
        })
        .collect()
}

#[test]
fn what_a_sync_covered_is_in_every_state() {
    let mut steps = created();
    steps.push(write(0, 1, 4096));
    steps.extend(sync(2, Target::File(LOG)));
    steps.push(write(4096, 2, 4096));
    for content in contents(&told(steps), &[]) {
        assert_eq!(content.unwrap()[..4096], [1; 4096]);
    }
}

#[test]
fn what_came_after_the_beginning_of_a_sync_is_not_covered() {
    let id = (1, 9);
    let target = Target::File(LOG);
    let mut steps = created();
    steps.push(write(0, 1, 512));
    steps.push(Step::SyncBegin { id, target });
    steps.push(write(512, 2, 512));
    steps.push(Step::SyncEnd { id, done: true });
    steps.push(Step::Mark("x".into()));
    let found = contents(&told(steps), &[Kind::Kill, Kind::LoseAll]);
    let both = [vec![1; 512], vec![2; 512]].concat();
    assert_eq!(found, [Some(vec![1; 512]), Some(both)].into());
}

#[test]
fn a_failed_sync_is_not_made_good_by_a_later_one() {
    let id = (1, 9);
    let target = Target::File(LOG);
    let mut steps = created();
    steps.push(write(0, 1, 512));
    steps.push(Step::SyncBegin { id, target });
    steps.push(Step::SyncEnd { id, done: false });
    steps.extend(sync(10, Target::File(LOG)));
    steps.push(Step::Mark("x".into()));
    assert!(contents(&told(steps), &[Kind::LoseAll]).contains(&Some(Vec::new())));
}

#[test]
fn a_new_name_is_lost_until_its_directory_is_synced() {
    let mut steps = created();
    steps.truncate(1);
    steps.push(write(0, 1, 16));
    steps.extend(sync(2, Target::File(LOG)));
    steps.push(Step::Mark("x".into()));
    let unsynced = contents(&told(steps.clone()), &[]);
    assert_eq!(unsynced, [None, Some(vec![1; 16])].into());
    steps.extend(sync(3, Target::Directory(String::new())));
    steps.push(Step::Mark("x".into()));
    assert_eq!(contents(&told(steps), &[]), [Some(vec![1; 16])].into());
}

#[test]
fn a_removed_name_comes_back() {
    let mut steps = created();
    steps.push(write(0, 1, 16));
    steps.extend(sync(2, Target::File(LOG)));
    steps.push(Step::Change(Change::Unlink { path: "log".into() }));
    let found = contents(&told(steps), &[Kind::Names, Kind::Kill]);
    assert_eq!(found, [None, Some(vec![1; 16])].into());
}

#[test]
fn a_write_is_torn_everywhere_and_grows_before_its_bytes() {
    let mut steps = created();
    steps.push(write(0, 1, 2048));
    let story = told(steps);
    let torn = contents(&story, &[Kind::Tear512]);
    for cut in [512, 1024, 1536] {
        assert!(torn.contains(&Some(vec![1; cut])), "{cut}");
        let rest = [vec![0; cut], vec![1; 2048 - cut]].concat();
        assert!(torn.contains(&Some(rest)), "{cut}");
    }
    assert_eq!(
        contents(&story, &[Kind::SizeFirst]),
        [Some(vec![0; 2048])].into()
    );
}

#[test]
fn garbage_fills_whole_sectors_and_no_more() {
    let mut steps = created();
    steps.push(write(0, 1, 12_288));
    steps.extend(sync(2, Target::File(LOG)));
    steps.push(write(5_000, 2, 100));
    let story = told(steps);
    for content in contents(&story, &[Kind::Trash]) {
        let content = content.unwrap();
        assert_eq!(content.len(), 12_288);
        assert_eq!((content[4095], content[8192]), (1, 1));
    }
    let found = contents(&story, &[Kind::Trash]);
    let spoilt = |content: &Option<Vec<u8>>| content.as_ref().unwrap()[4096] != 1;
    assert!(
        found.iter().any(spoilt),
        "a page's garbage reaches its edge"
    );
}

#[test]
fn few_changes_have_all_their_subsets() {
    let mut steps = created();
    for place in 0..4 {
        steps.push(write(place * 512, place as u8 + 1, 512));
    }
    let kinds = [Kind::Subset, Kind::Kill, Kind::LoseAll];
    assert_eq!(contents(&told(steps), &kinds).len(), 16);
}

/// What leaves must be explained whatever became of the newest write: at a mark it is torn and
/// trashed as behind the write itself.
#[test]
fn at_a_mark_the_newest_write_is_torn_and_trashed_too() {
    let mut moment = Moment::sure(Tree::default());
    moment.steps = 9;
    let change = |change| Pending {
        step: 1,
        change,
        abandoned: false,
    };
    let write = Change::Write {
        file: Object(0),
        offset: 0,
        content: Content::Bytes(Arc::from(vec![1; 2048])),
    };
    let name = Change::Unlink {
        path: "other".to_owned(),
    };
    moment.pending = vec![change(write), change(name)];
    let fates = |moment: &Moment, wanted: Fate| {
        let all = moment.fates(0, 0);
        all.iter().filter(|(_, fates)| fates[0] == wanted).count()
    };
    let torn = Fate::First(512);
    let ones = Fate::Filled {
        cut: 512,
        byte: 0xff,
    };
    let trashed = Fate::Garbage {
        bytes: SMALL_SECTOR,
        seed: 0,
    };
    for fate in [torn, ones, trashed] {
        assert!(fates(&moment, fate) >= 1, "{fate:?}");
        // Behind the name alone only the name is new.
        moment.changed = true;
        assert_eq!(fates(&moment, fate), 0, "{fate:?}");
        moment.changed = false;
    }
    let mut tree = Tree::default();
    befall(&mut tree, &moment.pending[0].change, ones);
    let mut wanted = vec![1; 512];
    wanted.resize(2048, 0xff);
    assert_eq!(tree.file(Object(0)).unwrap().to_vec(), wanted);
}

#[test]
fn of_many_pending_changes_some_subsets_are_tried() {
    let mut moment = Moment::sure(Tree::default());
    let pending = |number: u64| Pending {
        step: 1,
        change: Change::SetLength {
            file: Object(0),
            length: number,
        },
        abandoned: false,
    };
    moment.pending = (0..9).map(pending).collect();
    let all = moment.fates(0, 0);
    let subsets = all.iter().filter(|(kind, _)| *kind == Kind::Subset);
    let different: std::collections::HashSet<String> =
        subsets.map(|(_, fates)| format!("{fates:?}")).collect();
    assert!(different.len() > 24, "{}", different.len());
}
