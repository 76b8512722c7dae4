//! Which faults are let loose together, and how many of each.
//!
//! Everything at once is more states than a machine can hold, so there are several scopes, each
//! with all the crashes and with one family of further faults. This room must never weaken a
//! scope for a planted mistake: a mistake is sought where the design is proven.

/// How persist, merge and send of a Commit follow each other at the hub.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Order {
    /// Persist and merge are one transaction; then it is sent. What the programs do.
    Together,
    /// Persisted with the secrets of the pending Commit; merged and sent after that in any order.
    /// A start merges what it finds pending.
    PersistThenEither,
    /// The same, and nothing is sent before the merge is durable.
    PersistMergeSend,
    /// Merged, then persisted, then sent.
    MergePersistSend,
    /// Sent, then persisted and merged.
    SendFirst,
    /// The envelope is persisted without the secrets that it needs, sent, then merged. A start
    /// cannot merge and commits anew.
    PersistWithoutSecrets,
}

/// Every order, for `crashtest-model orders`.
pub const ORDERS: [Order; 6] = [
    Order::Together,
    Order::PersistThenEither,
    Order::PersistMergeSend,
    Order::MergePersistSend,
    Order::SendFirst,
    Order::PersistWithoutSecrets,
];

impl Order {
    /// As it is named in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Together => "(persist + merge), send",
            Self::PersistThenEither => "persist, then merge and send in any order",
            Self::PersistMergeSend => "persist, merge, send",
            Self::MergePersistSend => "merge, persist, send",
            Self::SendFirst => "send, (persist + merge)",
            Self::PersistWithoutSecrets => "persist the envelope alone, send, merge",
        }
    }

    /// Whether every promise is kept with it.
    #[must_use]
    pub fn is_safe(self) -> bool {
        matches!(
            self,
            Self::Together | Self::PersistThenEither | Self::PersistMergeSend
        )
    }

    /// Whether persist and merge are separate transactions.
    pub(crate) fn merges_later(self) -> bool {
        matches!(
            self,
            Self::PersistThenEither | Self::PersistMergeSend | Self::PersistWithoutSecrets
        )
    }
}

/// Bounds of one exploration of the channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scope {
    /// What it is called.
    pub name: &'static str,
    /// The hub opens no epoch beyond this one; the first is 0.
    pub epochs: u8,
    /// Deaths of hub, app and relay together, power cuts in recovery and restored images included.
    pub crashes: u8,
    /// Messages that the hub encrypts in one epoch.
    pub chunks: u8,
    /// Envelopes that the hub lets be un-acked.
    pub window: u8,
    /// The hub stages, writes and syncs in steps of their own. Otherwise in one, which is the same to
    /// everybody outside as long as nothing leaves before its sync; `README.md` says why.
    pub fine_hub: bool,
    /// The same of the app.
    pub fine_app: bool,
    /// The app's mailbox message by message; otherwise an ack is any durable cursor, at any time.
    pub acks_in_detail: bool,
    /// The relay's own crash: what it received and did not sync is gone.
    pub relay_crashes: bool,
    /// Mailboxes that the relay loses.
    pub amnesias: u8,
    /// Times that the relay shows an older state.
    pub set_backs: u8,
    /// Heartbeats of the app.
    pub beats: u8,
    /// Somebody copies the hub's directory and puts the copy back.
    pub hub_image: bool,
    /// The same with the app's.
    pub app_image: bool,
    /// The relay may lose its disk even though a directory was copied: where C8 promises nothing.
    pub amnesia_after_image: bool,
    /// The order of persist, merge and send.
    pub order: Order,
}

const BASE: Scope = Scope {
    name: "",
    epochs: 6,
    crashes: 4,
    chunks: 1,
    window: 3,
    fine_hub: true,
    fine_app: true,
    acks_in_detail: false,
    relay_crashes: false,
    amnesias: 0,
    set_backs: 0,
    beats: 0,
    hub_image: false,
    app_image: false,
    amnesia_after_image: false,
    order: Order::Together,
};

/// Hub, app and relay die anywhere, in recovery too.
pub const CRASHES: Scope = Scope {
    name: "crashes",
    relay_crashes: true,
    ..BASE
};

/// They die, and the relay loses mailboxes and shows old ones.
pub const RELAY: Scope = Scope {
    name: "relay",
    fine_hub: false,
    fine_app: false,
    amnesias: 1,
    set_backs: 1,
    ..BASE
};

/// They die, and the app's side is modelled message by message, with heartbeats.
pub const HEARTBEAT: Scope = Scope {
    name: "heartbeat",
    fine_hub: false,
    fine_app: false,
    acks_in_detail: true,
    beats: 1,
    chunks: 2,
    window: 2,
    ..BASE
};

/// They die, and an old copy of the hub's directory is put back.
pub const HUB_ROLLBACK: Scope = Scope {
    name: "hub-rollback",
    fine_hub: false,
    fine_app: false,
    hub_image: true,
    ..BASE
};

/// They die, and an old copy of the app's directory is put back.
pub const APP_ROLLBACK: Scope = Scope {
    name: "app-rollback",
    fine_hub: false,
    fine_app: false,
    acks_in_detail: true,
    chunks: 0,
    app_image: true,
    window: 2,
    ..BASE
};

/// Every scope of the channel.
pub const SCOPES: [Scope; 5] = [CRASHES, RELAY, HEARTBEAT, HUB_ROLLBACK, APP_ROLLBACK];

impl Scope {
    /// The same with every stage, write and sync as a step of its own.
    #[must_use]
    pub fn fine(self) -> Self {
        Self {
            fine_hub: true,
            fine_app: true,
            ..self
        }
    }

    /// Whether every stage, write and sync is a step of its own.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.fine_hub && self.fine_app
    }

    /// The same with another order of persist, merge and send.
    #[must_use]
    pub fn ordered(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// The same with other bounds.
    #[must_use]
    pub fn bounded(self, epochs: u8, crashes: u8) -> Self {
        Self {
            epochs,
            crashes,
            ..self
        }
    }
}
