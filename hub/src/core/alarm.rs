//! What the owner is told that is no event: the storage is full, a camera is away, a camera is back.
//!
//! Each is a notification like that of an event, said at a tick and kept until it is staged, or until nobody is
//! there to be told. What was staged and lost with its sync is said again; a phone keeps one of the same time. A
//! camera that comes and goes, and a disk that stays full, are said again only after a while; one that comes for a
//! moment each time that it is opened has not come. Whom the phones were told to be away is stored in the transaction
//! that tells it, and that the storage was full in the one that drops a clip, so that a start still owes it; cameras are
//! told apart by their names, which stay where the configuration puts one before another. Times are those for which
//! this process has run; the clock on the wall only dates what is said. This room knows no camera and no disk, and must
//! never hold more than [`OWED_MAX`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use journal::AlarmsOwed;
use journal::message::{EventNotice, NAME_BYTES_MAX, NoticeKind};
use wal::{Priority, mutant};

use super::tell::Ask;
use super::{Core, CoreError, Recorded, Stop};

/// A camera that is not there for so long, counted from its last picture where that is known, is away. With a tick of five
/// seconds on top of it that leaves two of the 20 s after which the owner is to know: for the way to the phone, and
/// because a camera that shows something again meanwhile is not said to be away.
const AWAY_AFTER: Duration = Duration::from_secs(13);
/// The same camera is said to be away again at the earliest after so long: one that reboots in two steps is said to be
/// away for a moment, and must not keep a real outage back.
const AWAY_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// As long as it is said to be away more often than once in twice this time, each such pause is twice as long as the one
/// before, up to this.
const AWAY_AGAIN_AFTER_MAX: Duration = Duration::from_secs(10 * 60);
/// A storage that is still full, or full again, is said to be at the earliest after so long: what a phone that is
/// away is told uses what is held back for epochs.
const FULL_AGAIN_AFTER: Duration = Duration::from_secs(6 * 60 * 60);
/// Alarms that wait; the oldest go first. More than all cameras may have at once.
const OWED_MAX: usize = 64;

/// Whether a camera gives pictures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// It does.
    There,
    /// It does again, and not for long enough to say so.
    Returning,
    /// It does not, and nobody wants it so.
    Away {
        /// For how long none has come already when that is found out.
        missed: Duration,
    },
}

/// What is known of a camera.
#[derive(Default)]
struct CameraAlarm {
    /// Since when it is away, by [`Core`]'s time and by the clock on the wall.
    away_since: Option<(Duration, u64)>,
    /// Whether it has tried to come back since then.
    trial: Trial,
    /// That was said.
    is_said: bool,
    /// When it was said last.
    said_at: Option<Duration>,
    /// For how long it is not said again after that.
    pause: Duration,
}

impl CameraAlarm {
    fn say(&mut self, ran: Duration) {
        let comes_and_goes = is_too_soon(self.said_at, ran, 2 * AWAY_AGAIN_AFTER_MAX);
        self.pause = match comes_and_goes {
            true => (2 * self.pause).min(AWAY_AGAIN_AFTER_MAX),
            false => AWAY_AGAIN_AFTER,
        };
        self.is_said = true;
        self.said_at = Some(ran);
    }
}

/// How a camera that is away has tried to come back.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Trial {
    /// Not yet.
    #[default]
    None,
    /// It gives pictures, and may stay: it is not said to be away meanwhile.
    Running,
    /// It gave some and failed again. Whatever it tries from then on, it is away until it stays.
    Failed,
}

/// What is to be said.
#[derive(Default)]
pub(super) struct Alarms {
    owed: VecDeque<EventNotice>,
    /// Staged, and no sync covers it yet.
    staged: VecDeque<EventNotice>,
    /// By their names.
    cameras: BTreeMap<String, CameraAlarm>,
    full_said_at: Option<Duration>,
}

impl Alarms {
    /// Whether a storage that is full now is to be said.
    pub(super) fn owes_full(&self, ran: Duration) -> bool {
        !is_too_soon(self.full_said_at, ran, FULL_AGAIN_AFTER)
    }

    /// There is no room for what a camera gives, or only by dropping what a phone has not got.
    pub(super) fn storage_full(&mut self, ran: Duration, now_unix_ms: u64) {
        if !self.owes_full(ran) {
            return;
        }
        mutant!("full_unsaid", "C2", "clips make room, and no phone is told that the storage is full" => {
            return;
        });
        self.full_said_at = Some(ran);
        self.owe(String::new(), NoticeKind::StorageFull, now_unix_ms);
    }

    /// What this hub owed before its start.
    pub(super) fn go_on(&mut self, owed: AlarmsOwed, now_unix_ms: u64) {
        for name in owed.away {
            self.cameras.entry(name).or_default().is_said = true;
        }
        if owed.is_full {
            self.storage_full(Duration::ZERO, now_unix_ms);
        }
    }

    fn camera(&mut self, name: &str, presence: Presence, ran: Duration, now_unix_ms: u64) {
        let known = self.cameras.entry(name.to_owned()).or_default();
        match presence {
            Presence::Away { missed } => {
                if known.trial == Trial::Running {
                    known.trial = Trial::Failed;
                }
                let (missed_ms, since) = (missed.as_millis(), ran.saturating_sub(missed));
                let missed_ms = u64::try_from(missed_ms).unwrap_or(u64::MAX);
                known
                    .away_since
                    .get_or_insert((since, now_unix_ms.saturating_sub(missed_ms)));
            }
            Presence::Returning => {
                if known.away_since.is_some() && known.trial == Trial::None {
                    known.trial = Trial::Running;
                }
            }
            Presence::There => {
                known.away_since = None;
                known.trial = Trial::None;
                if std::mem::take(&mut known.is_said) {
                    self.owe(name.to_owned(), NoticeKind::CameraBack, now_unix_ms);
                }
            }
        }
    }

    /// Cameras that are away for so long that it is to be said.
    fn look(&mut self, ran: Duration) {
        let mut away = Vec::new();
        for (name, camera) in &mut self.cameras {
            let Some((since, unix_ms)) = camera.away_since else {
                continue;
            };
            let is_early = ran.saturating_sub(since) < AWAY_AFTER
                || camera.trial == Trial::Running
                || is_too_soon(camera.said_at, ran, camera.pause);
            if !camera.is_said && !is_early {
                camera.say(ran);
                away.push((name.clone(), unix_ms));
            }
        }
        for (name, unix_ms) in away {
            self.owe(name, NoticeKind::CameraAway, unix_ms);
        }
    }

    /// Nobody has the cameras, and none of them is missed: those that are still not there afterwards count from
    /// then on.
    fn let_go(&mut self) {
        for camera in self.cameras.values_mut() {
            camera.away_since = None;
            camera.trial = Trial::None;
        }
    }

    /// Of cameras that are no more nothing is said any more.
    fn keep(&mut self, names: &[String]) {
        self.cameras.retain(|name, _| names.contains(name));
    }

    /// Whether there is nothing to say, now or later.
    fn is_idle(&self) -> bool {
        let away = |camera: &CameraAlarm| camera.away_since.is_some() && !camera.is_said;
        self.owed.is_empty() && !self.cameras.values().any(away)
    }

    fn owe(&mut self, camera: String, kind: NoticeKind, started_unix_ms: u64) {
        if self.owed.len() == OWED_MAX {
            self.owed.pop_front();
        }
        let alarm = EventNotice {
            camera,
            started_unix_ms,
            kind,
        };
        match kind {
            // It has room where nothing else has, and must not wait behind that.
            NoticeKind::StorageFull => self.owed.push_front(alarm),
            _ => self.owed.push_back(alarm),
        }
    }

    /// The owner does not want to be told. A camera that is still away when that has changed is said then, and so is a
    /// storage that is full again.
    fn leave_unsaid(&mut self, alarm: &EventNotice) {
        match alarm.kind {
            NoticeKind::StorageFull => self.full_said_at = None,
            NoticeKind::CameraAway => {
                if let Some(camera) = self.cameras.get_mut(&alarm.camera) {
                    camera.is_said = false;
                    camera.said_at = None;
                }
            }
            NoticeKind::CameraBack | NoticeKind::Motion | NoticeKind::Person => {}
        }
    }

    /// How many are staged.
    pub(super) fn count_staged(&self) -> usize {
        self.staged.len()
    }

    /// A sync covers the first so many of those that are staged.
    pub(super) fn settle(&mut self, count: usize) {
        self.staged.drain(..count.min(self.staged.len()));
    }

    /// What was staged may be lost: it is said again.
    pub(super) fn say_again(&mut self) {
        self.staged.append(&mut self.owed);
        let excess = self.staged.len().saturating_sub(OWED_MAX);
        self.staged.drain(..excess);
        self.owed = std::mem::take(&mut self.staged);
    }
}

/// Whether it is less than `pause` ago that something was said.
fn is_too_soon(said_at: Option<Duration>, ran: Duration, pause: Duration) -> bool {
    said_at.is_some_and(|said_at| ran.saturating_sub(said_at) < pause)
}

impl Core {
    /// A camera gives pictures, or none although it should. To be said when that changes; said more often, it
    /// changes nothing, but for one that fails while it returns. `name`: at most [`NAME_BYTES_MAX`] bytes, else nothing is said of this camera.
    pub fn handle_camera(&mut self, name: &str, presence: Presence, now_unix_ms: u64) {
        if name.len() <= NAME_BYTES_MAX {
            self.alarms.camera(name, presence, self.ran, now_unix_ms);
        }
    }

    /// The configuration has these cameras now: of the others nothing is said any more.
    pub fn keep_alarms(&mut self, names: &[String]) {
        self.alarms.keep(names);
    }

    /// Says what is to be said now: staged, one transaction for each phone.
    ///
    /// # Errors
    /// The journal's; what was not staged is kept.
    pub(super) fn say_alarms(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        if self.alarms.is_idle() {
            return Ok(());
        }
        let settings = self.settings(now_unix_ms)?.settings;
        if settings.privacy {
            // What is owed is said afterwards: a phone that knows a camera to be away would never hear of its return.
            self.alarms.let_go();
            return Ok(());
        }
        self.alarms.look(self.ran);
        while let Some(alarm) = self.alarms.owed.pop_front() {
            if !settings.alerts.want(alarm.kind) {
                self.alarms.leave_unsaid(&alarm);
                continue;
            }
            let ask = match alarm.kind {
                // What is held back for epochs is there for this: it is rare, and small.
                NoticeKind::StorageFull => Ask::OfWhatIsLeft(Priority::Epoch),
                _ => Ask::OfWhatIsLeft(Priority::Bulk),
            };
            match self.notify_all(&alarm, ask, now_unix_ms) {
                Ok(Recorded::Taken) => self.alarms.staged.push_back(alarm),
                // The next tick tries again, in the same order.
                Ok(Recorded::Not(Stop::Space)) => {
                    self.alarms.owed.push_front(alarm);
                    return Ok(());
                }
                // Nobody is there to be told, or the owner wants nothing told.
                Ok(Recorded::Not(_)) => {}
                Err(error) => {
                    self.alarms.owed.push_front(alarm);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOOR: &str = "door";
    const AWAY: Presence = Presence::Away {
        missed: Duration::ZERO,
    };

    fn owed(alarms: &mut Alarms) -> Vec<NoticeKind> {
        alarms.owed.drain(..).map(|notice| notice.kind).collect()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_camera_that_is_away_for_a_while_is_said_once_and_so_is_its_return() {
        let mut alarms = Alarms::default();
        alarms.camera(DOOR, AWAY, seconds(100), 7);
        alarms.camera(DOOR, AWAY, seconds(105), 8);
        alarms.look(seconds(112));
        assert!(owed(&mut alarms).is_empty());
        alarms.look(seconds(113));
        alarms.look(seconds(118));
        let away = alarms.owed.front().cloned();
        assert_eq!(away.map(|away| away.started_unix_ms), Some(7));
        assert_eq!(owed(&mut alarms), [NoticeKind::CameraAway]);
        alarms.camera(DOOR, Presence::There, seconds(120), 9);
        alarms.camera(DOOR, Presence::There, seconds(121), 9);
        assert_eq!(owed(&mut alarms), [NoticeKind::CameraBack]);
    }

    /// One that hangs is found out only when it has stalled; it is missed from its last picture on.
    #[test]
    fn a_camera_that_stalled_is_said_with_the_next_tick() {
        let mut alarms = Alarms::default();
        let missed = seconds(10);
        alarms.camera(DOOR, Presence::Away { missed }, seconds(100), 30_000);
        alarms.look(seconds(102));
        assert!(owed(&mut alarms).is_empty());
        alarms.look(seconds(103));
        let away = alarms.owed.front().map(|away| away.started_unix_ms);
        assert_eq!(away, Some(20_000), "dated by its last picture");
        assert_eq!(owed(&mut alarms), [NoticeKind::CameraAway]);
    }

    /// Each time that it is opened it shows something, and ten seconds later it is found to have frozen.
    #[test]
    fn a_camera_that_fails_after_each_opening_is_said_once_and_its_return_when_it_stays() {
        let mut alarms = Alarms::default();
        let missed = seconds(10);
        let mut said = Vec::new();
        for opening in 0..60 {
            let opened = 12 * opening;
            alarms.camera(DOOR, Presence::Returning, seconds(opened), 7);
            alarms.look(seconds(opened + 5));
            alarms.look(seconds(opened + 10));
            alarms.camera(DOOR, Presence::Away { missed }, seconds(opened + 11), 8);
            said.extend(owed(&mut alarms).into_iter().map(|kind| (opening, kind)));
        }
        // While it was open for the third time.
        assert_eq!(said, [(2, NoticeKind::CameraAway)]);
        alarms.camera(DOOR, Presence::Returning, seconds(720), 9);
        alarms.look(seconds(725));
        assert!(owed(&mut alarms).is_empty());
        alarms.camera(DOOR, Presence::There, seconds(730), 9);
        assert_eq!(owed(&mut alarms), [NoticeKind::CameraBack]);
    }

    /// It was away for less, and whether it stays is known only later.
    #[test]
    fn a_camera_whose_pictures_come_again_in_time_and_stay_was_never_away() {
        let mut alarms = Alarms::default();
        alarms.camera(DOOR, AWAY, seconds(100), 7);
        alarms.camera(DOOR, Presence::Returning, seconds(112), 8);
        alarms.look(seconds(115));
        alarms.look(seconds(120));
        alarms.camera(DOOR, Presence::There, seconds(122), 9);
        alarms.look(seconds(125));
        assert!(owed(&mut alarms).is_empty());
        // Of the next time nothing is known yet.
        alarms.camera(DOOR, AWAY, seconds(200), 7);
        alarms.camera(DOOR, Presence::Returning, seconds(205), 8);
        alarms.look(seconds(215));
        assert!(owed(&mut alarms).is_empty());
        alarms.camera(DOOR, AWAY, seconds(216), 8);
        alarms.look(seconds(220));
        assert_eq!(owed(&mut alarms), [NoticeKind::CameraAway]);
    }

    #[test]
    fn a_camera_that_comes_and_goes_is_said_again_only_after_a_while() {
        // An hour of half a minute away and some time there: after 1, 2, 4 and 8 minutes, and then every ten, or when
        // it is away the next time.
        for (period, times) in [(60, 9), (150, 8)] {
            let mut alarms = Alarms::default();
            let mut said = Vec::new();
            for away in (0..3_600).step_by(period) {
                let away = away as u64;
                alarms.camera(DOOR, AWAY, seconds(away), 7);
                alarms.look(seconds(away + 15));
                alarms.camera(DOOR, Presence::There, seconds(away + 30), 9);
                said.extend(owed(&mut alarms));
            }
            assert_eq!(said.len(), 2 * times, "{said:?}");
        }
        let mut alarms = Alarms::default();
        // Nothing is said of one that is there again at once.
        alarms.camera(DOOR, AWAY, seconds(9_000), 7);
        alarms.camera(DOOR, Presence::There, seconds(9_005), 9);
        alarms.look(seconds(9_020));
        assert!(owed(&mut alarms).is_empty());
    }

    /// It shows a picture, restarts once more, and is then really away.
    #[test]
    fn a_reboot_in_two_steps_keeps_no_outage_back() {
        let mut alarms = Alarms::default();
        alarms.camera(DOOR, AWAY, seconds(100), 7);
        alarms.camera(DOOR, Presence::Returning, seconds(106), 7);
        alarms.camera(DOOR, AWAY, seconds(108), 7);
        alarms.look(seconds(115));
        alarms.camera(DOOR, Presence::There, seconds(130), 8);
        let both = [NoticeKind::CameraAway, NoticeKind::CameraBack];
        assert_eq!(owed(&mut alarms), both);
        alarms.camera(DOOR, AWAY, seconds(160), 9);
        alarms.look(seconds(175));
        assert_eq!(owed(&mut alarms), [NoticeKind::CameraAway]);
    }

    #[test]
    fn of_a_camera_that_is_no_more_nothing_is_said() {
        let mut alarms = Alarms::default();
        alarms.camera("yard", AWAY, seconds(0), 7);
        alarms.camera(DOOR, AWAY, seconds(0), 7);
        // Another one stands before it now.
        alarms.keep(&["garden".to_owned(), "door".to_owned()]);
        alarms.look(seconds(20));
        assert_eq!(owed(&mut alarms), [NoticeKind::CameraAway]);
        alarms.camera("garden", AWAY, seconds(20), 8);
        alarms.look(seconds(35));
        let away = alarms.owed.front().map(|away| away.camera.clone());
        assert_eq!(away.as_deref(), Some("garden"));
        alarms.keep(&[]);
        alarms.camera(DOOR, Presence::There, seconds(36), 9);
        assert_eq!(owed(&mut alarms), [NoticeKind::CameraAway]);
    }

    #[test]
    fn what_a_sync_does_not_cover_is_said_again() {
        let mut alarms = Alarms::default();
        alarms.storage_full(seconds(0), 5);
        alarms.storage_full(seconds(60), 6);
        assert_eq!(alarms.owed.len(), 1);
        alarms.staged = std::mem::take(&mut alarms.owed);
        let begun = alarms.count_staged();
        alarms.camera(DOOR, AWAY, seconds(60), 7);
        alarms.look(seconds(75));
        alarms.staged.append(&mut alarms.owed);
        alarms.settle(begun);
        alarms.say_again();
        assert_eq!(owed(&mut alarms), [NoticeKind::CameraAway]);
        alarms.storage_full(FULL_AGAIN_AFTER, 8);
        assert_eq!(owed(&mut alarms), [NoticeKind::StorageFull]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut alarms = Alarms::default();
        for round in 0..200 {
            alarms.full_said_at = None;
            alarms.storage_full(seconds(round), round);
        }
        assert_eq!(alarms.owed.len(), OWED_MAX);
    }

    #[test]
    fn a_full_storage_is_said_before_what_has_no_room_in_it() {
        let mut alarms = Alarms::default();
        alarms.camera(DOOR, AWAY, seconds(0), 7);
        alarms.look(seconds(15));
        alarms.storage_full(seconds(16), 8);
        alarms.camera(DOOR, Presence::There, seconds(17), 9);
        let order = [
            NoticeKind::StorageFull,
            NoticeKind::CameraAway,
            NoticeKind::CameraBack,
        ];
        assert_eq!(owed(&mut alarms), order);
    }
}
