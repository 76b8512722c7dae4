//! What an app tells whoever watches it. Facts about clips are told after their sync, never before.
//!
//! The stream is bounded: a watcher that is too slow learns how many events it missed, and can ask
//! for the clips again.

use tokio::sync::broadcast;

use crate::command::{CommandId, CommandOutcome, HubSettings};
use crate::invite::{AddedPhone, InviteFailure};
use crate::types::{Channel, Clip, ClipId, HubId, Notification, Thumbnail};

/// Events that wait for a slow watcher.
pub const EVENTS_WAITING_MAX: usize = 4096;

/// Something happened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A relay admitted us and the mailbox of event videos is attached.
    Connected {
        /// Whose mailboxes.
        hub: HubId,
    },
    /// The connection is gone, or the relay did not admit us; another attempt follows.
    Disconnected {
        /// Whose.
        hub: HubId,
        /// Why, for a person.
        reason: String,
        /// The pause before the next attempt, in milliseconds.
        retry_after_ms: u64,
    },
    /// A channel without videos cannot be reached though the relay can: what it holds there does not arrive
    /// and the channel is not healed. Another attempt follows.
    ChannelAway {
        /// Whose.
        hub: HubId,
        /// Which.
        channel: Channel,
        /// Why, for a person.
        reason: String,
        /// The pause before the next attempt, in milliseconds.
        retry_after_ms: u64,
    },
    /// Bytes of a clip are durable here.
    Media {
        /// Which clip.
        clip: ClipId,
        /// Number of its envelope in the mailbox.
        seq: u64,
        /// How many bytes.
        bytes: u32,
        /// When the newest sample in them was captured, milliseconds since 1970 by the hub's clock;
        /// none if they hold no sample yet.
        captured_unix_ms: Option<u64>,
        /// When they were synced, milliseconds since 1970 by our clock.
        durable_unix_ms: u64,
    },
    /// A clip began or ended.
    Clip(Clip),
    /// The hub says that something happens. It comes before picture and clip of the event.
    Notification(Notification),
    /// The picture of an event is here.
    Thumbnail(Thumbnail),
    /// A clip was deleted here.
    Deleted(ClipId),
    /// A new epoch of the event video group.
    NewEpoch {
        /// Whose.
        hub: HubId,
        /// Its number.
        epoch: u64,
    },
    /// The hub has taken new keys of this phone: whoever copied older ones reads nothing further of
    /// this channel.
    Healed {
        /// Which hub.
        hub: HubId,
        /// Which channel.
        channel: Channel,
        /// The epoch in which they are used.
        epoch: u64,
    },
    /// The hub has answered a heartbeat.
    HeartbeatAnswered {
        /// Which hub.
        hub: HubId,
        /// Number of the heartbeat.
        number: u64,
        /// The hub's program.
        hub_version: String,
    },
    /// An answer to a heartbeat, or one of the Commits that take new keys, has been missing for longer than
    /// [`crate::AppOptions::offline_after`], and it was not at the relay when we looked there: the camera has no power
    /// or no network. Or it has lost its state, of which no phone can hear: one that was reset, or got another disk,
    /// is another hub, and the way back is to pair again ([`crate::App::pair`]) and to forget this one
    /// ([`crate::App::forget`]). Until it is heard of nothing more can be said to it. [`crate::OFFLINE_ADVICE`] is that
    /// for a person.
    LooksOffline {
        /// Which hub.
        hub: HubId,
        /// Since when it has been silent, milliseconds since 1970 by our clock.
        since_unix_ms: u64,
    },
    /// A hub that looked offline was heard of again: everything that was waited for is here.
    BackOnline {
        /// Which hub.
        hub: HubId,
    },
    /// The hub has answered a command.
    CommandDone {
        /// Which hub.
        hub: HubId,
        /// Which command.
        id: CommandId,
        /// What came of it.
        outcome: CommandOutcome,
    },
    /// The hub's settings have changed, by another phone.
    Settings {
        /// Which hub.
        hub: HubId,
        /// Their version.
        version: u64,
        /// All of them.
        settings: HubSettings,
    },
    /// A code that this phone may pass on is here.
    InviteReady {
        /// Which hub.
        hub: HubId,
        /// The command that asked for it.
        id: CommandId,
    },
    /// There is no code to pass on, or the one that there was is void.
    InviteFailed {
        /// Which hub.
        hub: HubId,
        /// The command that asked for it.
        id: CommandId,
        /// Why.
        why: InviteFailure,
    },
    /// A phone was paired by a code that another phone passed on: something for the owner to look at.
    PhoneAdded {
        /// Which hub.
        hub: HubId,
        /// Which phone, and by which.
        added: AddedPhone,
    },
    /// The relay stored our sealed ack of all event video through `seq`.
    Acked {
        /// Whose.
        hub: HubId,
        /// Number in the hub's mailbox.
        seq: u64,
    },
    /// All event video that the relay holds is here.
    Idle {
        /// Whose.
        hub: HubId,
    },
    /// It is proved that this directory is an older copy of what it was: nothing is taken from the hub or
    /// sent to it any more. Told by every sync.
    RolledBack {
        /// Which hub.
        hub: HubId,
    },
    /// The hub goes on in keys that this directory does not have: nothing is taken from it or sent to
    /// it any more, and the way out is to pair again. Told by every sync.
    LineBroken {
        /// Which hub.
        hub: HubId,
    },
    /// What is stored here of a channel is damaged: nothing is taken or sent on it any more, and the others go on.
    /// Told with every connection.
    ChannelDamaged {
        /// Which hub.
        hub: HubId,
        /// Which channel.
        channel: Channel,
        /// What is damaged, and the way out, for a person.
        reason: String,
    },
    /// An envelope was taken without effect: stale, or against the rules.
    Ignored {
        /// Whose.
        hub: HubId,
        /// Its number.
        seq: u64,
        /// Which rule.
        why: &'static str,
    },
    /// So many events were not told: this watcher was too slow, or a write of so many envelopes failed and
    /// turned out to be durable when the state was opened again. Ask for what is here.
    Missed {
        /// How many.
        count: u64,
    },
}

/// A stream of events; from [`crate::App::observe`].
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self(receiver)
    }

    /// The next event; none when the app is closed. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Event::Missed { count }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// An event that is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        match self.0.try_recv() {
            Ok(event) => Some(event),
            Err(broadcast::error::TryRecvError::Lagged(count)) => Some(Event::Missed { count }),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => {
                None
            }
        }
    }
}

/// Where events go; nobody may be listening.
#[derive(Clone, Debug)]
pub(crate) struct Announcer(broadcast::Sender<Event>);

impl Announcer {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(EVENTS_WAITING_MAX).0)
    }

    pub(crate) fn subscribe(&self) -> Events {
        Events::new(self.0.subscribe())
    }

    pub(crate) fn tell(&self, event: Event) {
        // An error only says that nobody watches.
        let _listeners = self.0.send(event).unwrap_or(0);
    }
}
