//! What is going to happen: a list of steps in time, made from a seed.
//!
//! The list is all there is of a scenario, so that a failing one can be made shorter by leaving
//! steps out. It must never depend on what the nodes do.

use std::fmt;

use wal::SeededDice;
use wal::disk::{CrashPolicy, Fault};

/// One of the three.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Who {
    /// The hub.
    Hub,
    /// The relay.
    Relay,
    /// The phone.
    App,
}

impl Who {
    /// All three.
    pub const ALL: [Who; 3] = [Who::Hub, Who::Relay, Who::App];
}

/// How the relay lies while it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// Leaves envelopes out.
    Skip,
    /// Gives each one twice.
    Twice,
    /// Flips a bit.
    Flip,
    /// Gives one under another number.
    Renumber,
    /// Gives what it trimmed long ago.
    Replay,
    /// Shows a head above everything.
    InventHead,
    /// Shows another digest for its head.
    OtherDigest,
    /// Gives receipts for what it throws away.
    FalseReceipt,
    /// Says that it is full.
    Full,
    /// Gives one after the next one.
    Swap,
    /// Takes an append twice.
    AppendTwice,
    /// Takes an append when it has taken later ones, perhaps those of another connection.
    AppendLate,
    /// Loses an append and says nothing.
    AppendLost,
}

impl Lie {
    const ALL: [Lie; 13] = [
        Lie::Skip,
        Lie::Twice,
        Lie::Flip,
        Lie::Renumber,
        Lie::Replay,
        Lie::InventHead,
        Lie::OtherDigest,
        Lie::FalseReceipt,
        Lie::Full,
        Lie::Swap,
        Lie::AppendTwice,
        Lie::AppendLate,
        Lie::AppendLost,
    ];
}

/// Something that happens.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// The camera sees something: so many pieces of so many bytes, one every `gap_ms`.
    Record {
        /// Sizes of the pieces in bytes.
        pieces: Vec<u32>,
        /// Time between two pieces.
        gap_ms: u64,
        /// The camera fails before the end.
        cut: bool,
    },
    /// The process dies at its n-th disk operation from now, and what is left obeys `policy`. While it
    /// starts again it dies `again` times more.
    Die {
        /// Who.
        who: Who,
        /// Operations that still succeed.
        after_ops: u64,
        /// What the disk looks like then.
        policy: CrashPolicy,
        /// How long it stays down.
        down_ms: u64,
        /// For each further death in recovery, the operations that still succeed.
        again: Vec<u64>,
    },
    /// One disk operation fails.
    DiskError {
        /// Whose.
        who: Who,
        /// Operations that still succeed.
        after_ops: u64,
        /// How it fails.
        fault: Fault,
    },
    /// The disk is full for a while: nothing more than `spare_bytes` can be allocated.
    DiskFull {
        /// Whose.
        who: Who,
        /// How long.
        for_ms: u64,
        /// What is left.
        spare_bytes: u64,
    },
    /// The connection of hub or app breaks and comes back later.
    Break {
        /// Whose.
        who: Who,
        /// How long it stays away.
        for_ms: u64,
    },
    /// The relay loses its disk.
    Amnesia,
    /// The relay lies for a while.
    Lie {
        /// How.
        lie: Lie,
        /// How long.
        for_ms: u64,
    },
    /// The clock on the wall of hub or phone jumps; the relay has none.
    ClockJump {
        /// Whose.
        who: Who,
        /// By how much; may be negative.
        by_s: i64,
    },
    /// The phone says a heartbeat as soon as it can, due or not.
    Heartbeat,
    /// The hub, whose event videos leave in envelopes of one size in the whole plan, makes so many covers.
    Cover {
        /// How many.
        covers: u64,
        /// Time between two of them.
        gap_ms: u64,
    },
    /// The phone's owner gives a command that changes the settings of the hub: how long an event may last, or, with
    /// none, that privacy mode is off, which it is. Each makes one version.
    Order {
        /// Seconds after which the recording of an event ends.
        event_seconds_max: Option<u32>,
    },
    /// The hub takes a phone for silent after so much time; in force from the beginning.
    Silence {
        /// How long it may be unheard of, in milliseconds.
        after_ms: u64,
    },
    /// The hub runs for so many hours more, all at once; clips go there for their age in the whole plan
    /// ([`Plan::clip_days`]).
    Hours {
        /// How many.
        hours: u64,
    },
    /// A payload in its log is damaged, one of the last that it stored.
    Rot {
        /// Whose.
        who: Who,
    },
    /// The newest transactions of its log are gone: what no crash does. In no plan of a seed; it shows
    /// that the oracle is awake.
    Truncate {
        /// Whose.
        who: Who,
    },
    /// Its disk is the one that it began with: what nothing may survive unseen.
    OldDisk {
        /// Whose.
        who: Who,
    },
    /// Its process is stopped and started again.
    Restart {
        /// Whose.
        who: Who,
    },
}

/// A step and its time.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// Milliseconds from the beginning.
    pub at_ms: u64,
    /// What happens.
    pub what: What,
}

/// All steps of one scenario, in time.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// The seed that delays and crash states are thrown with.
    pub seed: u64,
    /// The steps.
    pub steps: Vec<Step>,
}

/// What a plan is full of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    /// Nothing goes wrong.
    Calm,
    /// One of the three dies again and again.
    Dies(Who),
    /// The hub loses power when its clips end, and un-synced sectors are garbage.
    Tears,
    /// The relay gives everything twice, and what is long gone.
    Repeats,
    /// The relay leaves envelopes out, of many short events.
    Skips,
    /// Stored bytes of the hub are damaged before they were sent.
    Rots,
    /// The directory of hub or app becomes an old copy.
    GoesBack(Who),
    /// So does the hub's, which is out of reach then and records past where it had been.
    GoesOn,
    /// So does the hub's while its phone is away; the relay shows it, then loses its disk, and the hub starts again.
    ShownOnce,
    /// So does the phone's while the relay has lost its disk: nobody but its hub can tell it so.
    Unshown,
    /// The relay shows heads above everything, with envelopes that it makes up for them.
    Invents,
    /// The hub's clock is set back to where it stood when the event before began.
    ClockGoesBack,
    /// The hub is out of reach whenever an event ends, and hears of it in the middle of the next.
    HearsLate,
    /// The relay flips bits.
    Flips,
    /// The hub's disk is full for a while.
    Fills,
    /// So it is while the hub is out of reach: what nobody has makes room.
    Hoards,
    /// The hub is out of reach for days and dies again and again: what nobody has grows old there, and goes.
    Ages,
    /// The hub covers what it says.
    Covers,
    /// The phone gives commands.
    Orders,
    /// So it does, and the hub dies over each of them.
    Obeys,
    /// Heartbeats fall into long events, and the hub dies before their ends.
    HealsInClips,
    /// The phone is out of reach for longer than the hub waits for it, and comes back.
    FallsSilent,
}

/// Commands in one plan, fewer than a phone remembers the answers of.
const ORDERS: u64 = 4;

/// Longest plan in simulated milliseconds.
pub const PLAN_MS_MAX: u64 = 120_000;

impl Plan {
    /// The plan of a seed in which something is frequent that is rare in [`Plan::of`].
    #[must_use]
    pub fn flavoured(flavour: Flavour, seed: u64) -> Plan {
        let mut dice = SeededDice(seed ^ 0xf1a0_0000_0000_0000);
        let mut steps = Vec::new();
        let mut step = |at_ms, what| steps.push(Step { at_ms, what });
        let mut ends = Vec::new();
        let (events, apart_ms) = match flavour {
            Flavour::Skips => (8, 1_500),
            Flavour::HearsLate => (8, 1_200),
            Flavour::HealsInClips => (3, 9_000),
            Flavour::FallsSilent => (1, 0),
            _ => (3, 4_000),
        };
        for n in 0..events {
            let pieces = match flavour {
                Flavour::Skips => 1 + dice.below(2),
                Flavour::HearsLate => 4 + dice.below(4),
                Flavour::HealsInClips => 40,
                _ => 1 + dice.below(5),
            };
            let what = What::Record {
                pieces: (0..pieces)
                    .map(|_| 100 + dice.below(3_000) as u32)
                    .collect(),
                gap_ms: 20 + dice.below(80),
                cut: dice.below(5) == 0,
            };
            let at_ms = match flavour {
                // Never at the same millisecond: that is the event's name in the books.
                Flavour::ClockGoesBack => 600 + n * (apart_ms + 1 + dice.below(20)),
                _ => 600 + n * apart_ms,
            };
            if let What::Record { pieces, gap_ms, .. } = &what {
                ends.push(at_ms + pieces.len() as u64 * gap_ms);
            }
            step(at_ms, what);
        }
        match flavour {
            Flavour::Calm | Flavour::Covers => {}
            Flavour::Orders => {
                for n in 0..ORDERS {
                    step(3_000 + n * 2_000 + dice.below(1_000), order(n));
                }
            }
            Flavour::Obeys => {
                for n in 0..ORDERS {
                    let at_ms = 3_000 + n * 3_000;
                    step(at_ms, order(n));
                    let what = What::Die {
                        who: Who::Hub,
                        after_ops: dice.below(16),
                        policy: policy(&mut dice),
                        down_ms: dice.below(500),
                        again: Vec::new(),
                    };
                    step(at_ms, what);
                }
            }
            Flavour::HealsInClips => {
                for n in 0..events {
                    let at_ms = 600 + n * apart_ms;
                    step(at_ms + 300 + dice.below(300), What::Heartbeat);
                    let what = What::Die {
                        who: Who::Hub,
                        after_ops: dice.below(8),
                        policy: policy(&mut dice),
                        down_ms: dice.below(500),
                        again: Vec::new(),
                    };
                    // The shortest of these events lasts so long.
                    step(at_ms + 790, what);
                }
            }
            Flavour::FallsSilent => {
                step(0, What::Silence { after_ms: 10_000 });
                let (who, for_ms) = (Who::App, 20_000);
                step(5_000, What::Break { who, for_ms });
                // While it is silent, and when it was heard of again.
                step(22_000, record(&mut dice));
                step(26_000, What::Heartbeat);
                step(30_000, record(&mut dice));
            }
            Flavour::Tears => {
                for end_ms in ends {
                    let what = What::Die {
                        who: Who::Hub,
                        after_ops: dice.below(10),
                        policy: CrashPolicy::Garbage,
                        down_ms: dice.below(500),
                        again: Vec::new(),
                    };
                    step(end_ms - 1, what);
                }
            }
            Flavour::Dies(who) => {
                for n in 0..4 {
                    let what = What::Die {
                        who,
                        after_ops: dice.below(24),
                        policy: policy(&mut dice),
                        down_ms: dice.below(1_000),
                        again: (0..dice.below(3)).map(|_| dice.below(40)).collect(),
                    };
                    step(500 + n * 3_500 + dice.below(1_500), what);
                }
            }
            Flavour::Repeats => {
                let lie = [Lie::Twice, Lie::Replay][dice.below(2) as usize];
                step(
                    0,
                    What::Lie {
                        lie,
                        for_ms: 20_000,
                    },
                );
            }
            Flavour::Skips => {
                let (lie, for_ms) = (Lie::Skip, 20_000);
                step(0, What::Lie { lie, for_ms });
            }
            Flavour::Flips => {
                let (lie, for_ms) = (Lie::Flip, 20_000);
                step(0, What::Lie { lie, for_ms });
            }
            Flavour::Fills => {
                let (who, for_ms) = (Who::Hub, 5_000 + dice.below(5_000));
                let spare_bytes = dice.below(100_000);
                let full = What::DiskFull {
                    who,
                    for_ms,
                    spare_bytes,
                };
                step(500 + dice.below(500), full);
            }
            Flavour::Hoards => {
                let who = Who::Hub;
                let for_ms = 11_000 + dice.below(1_000);
                step(200, What::Break { who, for_ms });
                let spare_bytes = dice.below(100_000);
                let full = What::DiskFull {
                    who,
                    for_ms: 6_000,
                    spare_bytes,
                };
                step(4_000, full);
            }
            Flavour::Ages => {
                let who = Who::Hub;
                let for_ms = 13_000 + dice.below(1_000);
                step(200, What::Break { who, for_ms });
                // The last event comes behind the second of these, and is a day old in the end or not.
                for (at_ms, hours) in [(7_000, 26), (8_000, 3), (11_000, 12 + dice.below(16))] {
                    let what = What::Die {
                        who,
                        after_ops: dice.below(120),
                        policy: policy(&mut dice),
                        down_ms: dice.below(300),
                        again: Vec::new(),
                    };
                    step(at_ms, what);
                    step(at_ms, What::Hours { hours });
                }
            }
            Flavour::Rots => {
                let who = Who::Hub;
                step(500, What::Break { who, for_ms: 4_000 });
                step(3_500, What::Rot { who });
            }
            Flavour::GoesBack(who) => {
                step(20_000, What::OldDisk { who });
                let what = record(&mut dice);
                step(25_000, what);
            }
            Flavour::GoesOn => {
                let (who, for_ms) = (Who::Hub, 15_000);
                step(19_000, What::Break { who, for_ms });
                step(20_000, What::OldDisk { who });
                for n in 0..7 {
                    let what = record(&mut dice);
                    step(21_000 + n * 1_500, what);
                }
            }
            Flavour::ShownOnce => {
                let who = Who::Hub;
                let (phone, for_ms) = (Who::App, 60_000);
                step(19_000, What::Break { who: phone, for_ms });
                step(20_000, What::OldDisk { who });
                step(24_000, What::Amnesia);
                step(24_500, What::Restart { who });
                let what = record(&mut dice);
                step(27_000, what);
            }
            Flavour::Unshown => {
                let (who, for_ms) = (Who::App, 6_000);
                step(18_000, What::Break { who, for_ms });
                step(18_500, What::Amnesia);
                let what = record(&mut dice);
                step(19_000, what);
                step(22_500, What::OldDisk { who });
            }
            Flavour::Invents => {
                let (lie, for_ms) = (Lie::InventHead, 20_000);
                step(0, What::Lie { lie, for_ms });
            }
            Flavour::ClockGoesBack => {
                for n in 1..events {
                    let (who, by_s) = (Who::Hub, -(apart_ms as i64) / 1_000);
                    step(600 + n * apart_ms - 100, What::ClockJump { who, by_s });
                }
            }
            Flavour::HearsLate => {
                for end_ms in ends {
                    let (who, for_ms) = (Who::Hub, 300 + dice.below(1_000));
                    let at_ms = end_ms.saturating_sub(dice.below(100));
                    step(at_ms, What::Break { who, for_ms });
                }
            }
        }
        steps.sort_by_key(|step| step.at_ms);
        let plan = Plan { seed, steps };
        match flavour {
            Flavour::Covers => plan.covered(),
            _ => plan,
        }
    }

    /// The same, with covers from its beginning to its last step.
    #[must_use]
    fn covered(mut self) -> Plan {
        let mut dice = SeededDice(self.seed ^ 0xc07e_0000_0000_0000);
        let covers = 8 + dice.below(24);
        let last_ms = self.steps.last().map_or(0, |step| step.at_ms);
        let what = What::Cover {
            covers,
            gap_ms: last_ms / covers,
        };
        self.steps.insert(0, Step { at_ms: 0, what });
        self
    }

    /// Whether its hub sends event videos in envelopes of one size.
    #[must_use]
    pub fn is_shaped(&self) -> bool {
        let is_cover = |step: &Step| matches!(step.what, What::Cover { .. });
        self.steps.iter().any(is_cover)
    }

    /// After how many days of running its hub lets clips go for their age, if it does.
    #[must_use]
    pub fn clip_days(&self) -> Option<u32> {
        let ages = |step: &Step| matches!(step.what, What::Hours { .. });
        self.steps.iter().any(ages).then_some(1)
    }

    /// The plan that a seed is played with: [`Self::of`], of which each sixteenth is `covered`; but each
    /// eighth has stored bytes damaged, or an old copy of a directory, which no mixture has: nothing else may
    /// happen beside these.
    #[must_use]
    pub fn of_seed(seed: u64) -> Plan {
        match seed % 16 {
            3 => Plan::of(seed).covered(),
            7 => Plan::flavoured(Flavour::Rots, seed),
            15 => {
                let who = if (seed / 16).is_multiple_of(2) {
                    Who::Hub
                } else {
                    Who::App
                };
                Plan::flavoured(Flavour::GoesBack(who), seed)
            }
            _ => Plan::of(seed),
        }
    }

    /// A mixture. Each seed has its own: few or many events, calm or rough.
    #[must_use]
    pub fn of(seed: u64) -> Plan {
        let mut dice = SeededDice(seed ^ 0x5ec1_0503_51a7_e11e);
        let length_ms = 5_000 + dice.below(PLAN_MS_MAX - 5_000);
        let mut steps = Vec::new();
        for _ in 0..=dice.below(5) {
            let what = record(&mut dice);
            let at_ms = dice.below(length_ms);
            steps.push(Step { at_ms, what });
        }
        for _ in 0..dice.below(4) {
            // Those are most telling that come while something is recorded, too.
            let at_ms = match steps.first() {
                Some(first) if dice.below(2) > 0 => first.at_ms + dice.below(2_000),
                _ => dice.below(length_ms),
            };
            let what = What::Heartbeat;
            steps.push(Step { at_ms, what });
        }
        let troubles = dice.below(9);
        for _ in 0..troubles {
            let what = trouble(&mut dice);
            // Trouble is most telling while something is recorded.
            let at_ms = match steps.first() {
                Some(first) if dice.below(3) > 0 => first.at_ms + dice.below(2_000),
                _ => dice.below(length_ms),
            };
            steps.push(Step { at_ms, what });
        }
        // Behind all other dice: a seed keeps the rest of its plan.
        for n in 0..dice.below(ORDERS) {
            let at_ms = match steps.first() {
                Some(first) if dice.below(2) > 0 => first.at_ms + dice.below(2_000),
                _ => dice.below(length_ms),
            };
            let what = order(n);
            steps.push(Step { at_ms, what });
        }
        steps.sort_by_key(|step| step.at_ms);
        Plan { seed, steps }
    }
}

/// The n-th command of a plan. No two changes of one plan are alike, so that one which is done out of its turn is
/// seen.
fn order(n: u64) -> What {
    What::Order {
        event_seconds_max: n.is_multiple_of(2).then_some(30 + n as u32),
    }
}

fn record(dice: &mut SeededDice) -> What {
    let pieces = (0..=dice.below(8))
        .map(|_| match dice.below(6) {
            0 => 20_000,
            1 => 1,
            _ => 100 + dice.below(3_000) as u32,
        })
        .collect();
    What::Record {
        pieces,
        gap_ms: dice.below(300),
        cut: dice.below(5) == 0,
    }
}

fn any(dice: &mut SeededDice) -> Who {
    Who::ALL[dice.below(3) as usize]
}

fn end(dice: &mut SeededDice) -> Who {
    [Who::Hub, Who::App][dice.below(2) as usize]
}

fn policy(dice: &mut SeededDice) -> CrashPolicy {
    CrashPolicy::ALL[dice.below(CrashPolicy::ALL.len() as u64) as usize]
}

fn trouble(dice: &mut SeededDice) -> What {
    match dice.below(20) {
        0..8 => What::Die {
            who: any(dice),
            after_ops: dice.below(40),
            policy: policy(dice),
            down_ms: dice.below(5_000),
            again: (0..dice.below(3)).map(|_| dice.below(40)).collect(),
        },
        8..11 => What::DiskError {
            who: any(dice),
            after_ops: dice.below(40),
            fault: [Fault::Eio, Fault::ShortWrite, Fault::Enospc][dice.below(3) as usize],
        },
        11 => What::DiskFull {
            who: any(dice),
            for_ms: dice.below(20_000),
            spare_bytes: dice.below(200_000),
        },
        12..15 => What::Break {
            who: end(dice),
            for_ms: dice.below(10_000),
        },
        15 => What::Amnesia,
        16..19 => What::Lie {
            lie: Lie::ALL[dice.below(Lie::ALL.len() as u64) as usize],
            for_ms: 1 + dice.below(20_000),
        },
        _ => What::ClockJump {
            who: end(dice),
            by_s: dice.below(200_000_000) as i64 - 100_000_000,
        },
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{:>8} ms  {:?}", step.at_ms, step.what)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_plan_and_every_kind_of_trouble_occurs() {
        assert_eq!(Plan::of(7), Plan::of(7));
        assert_ne!(Plan::of(7), Plan::of(8));
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let plan = Plan::of(seed);
            assert!(plan.steps.is_sorted_by_key(|step| step.at_ms));
            for step in plan.steps {
                let text = format!("{:?}", step.what);
                let kind = match step.what {
                    What::Lie { lie, .. } => format!("Lie {lie:?}"),
                    _ => text.split(' ').next().unwrap_or_default().to_owned(),
                };
                kinds.insert(kind);
            }
        }
        // Ten kinds, of which lying has thirteen.
        assert_eq!(kinds.len(), 9 + 13, "{kinds:?}");
    }

    #[test]
    fn some_seeds_are_covered_and_nothing_else_of_them_is_changed() {
        assert!(!Plan::of_seed(4).is_shaped());
        for seed in [3, 19, 35] {
            let mut plan = Plan::of_seed(seed);
            assert!(plan.is_shaped());
            let first = plan.steps.remove(0);
            assert_eq!(plan, Plan::of(seed));
            let What::Cover { covers, gap_ms } = first.what else {
                panic!("{first:?}");
            };
            let last_ms = plan.steps.last().map_or(0, |step| step.at_ms);
            assert!(covers >= 8 && covers * gap_ms <= last_ms);
        }
    }
}
