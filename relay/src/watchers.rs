//! Wakes readers when something new is durable in their mailbox.
//!
//! A wake-up is a hint: the reader looks again. This room must never carry data, and never
//! grow with mailboxes that nobody reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use wire::SendId;

/// The readers that are attached now, by mailbox.
#[derive(Debug, Default)]
pub struct Watchers {
    bells: Mutex<HashMap<SendId, Arc<Notify>>>,
}

/// One reader's place; leaving it frees the entry.
#[derive(Debug)]
pub(crate) struct Watch {
    watchers: Arc<Watchers>,
    mailbox: SendId,
    pub(crate) bell: Arc<Notify>,
}

impl Watchers {
    /// Starts to listen. Look at the mailbox only after `bell.notified()` is enabled, or news
    /// between the look and the wait are missed.
    pub(crate) fn watch(self: &Arc<Self>, mailbox: SendId) -> Watch {
        let bell = Arc::clone(self.bells().entry(mailbox).or_default());
        Watch {
            watchers: Arc::clone(self),
            mailbox,
            bell,
        }
    }

    /// Wakes every reader of a mailbox.
    pub(crate) fn notify(&self, mailbox: &SendId) {
        if let Some(bell) = self.bells().get(mailbox) {
            bell.notify_waiters();
        }
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<SendId, Arc<Notify>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut bells = self.watchers.bells();
        // Ours and the map's: nobody else listens.
        if Arc::strong_count(&self.bell) <= 2 {
            bells.remove(&self.mailbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reader_leaves_nothing_behind() {
        let watchers = Arc::new(Watchers::default());
        let a = watchers.watch(SendId([1; 24]));
        let b = watchers.watch(SendId([1; 24]));
        assert!(Arc::ptr_eq(&a.bell, &b.bell));
        drop(a);
        assert_eq!(watchers.bells().len(), 1);
        drop(b);
        assert!(watchers.bells().is_empty());
    }
}
