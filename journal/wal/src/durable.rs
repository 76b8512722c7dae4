//! The types that carry the promise "durable before visible".
//!
//! A value enters as [`Staged`], which nobody can look into, and leaves as [`Durable`] through the
//! [`Committed`] of the sync that covered it. This room must never offer another way in.

use std::ops::Deref;

use crate::Lsn;

/// A value whose transaction is staged and not yet synced. It cannot be read; dropping it loses
/// the value, not the transaction.
#[must_use = "a staged value becomes durable only through commit() and redeem()"]
pub struct Staged<T> {
    pub(crate) value: T,
    pub(crate) lsn: Lsn,
    pub(crate) instance: u64,
}

impl<T> Staged<T> {
    /// The number that the transaction got.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }
}

/// Proof that one [`crate::Wal`] has synced everything through a certain number.
#[derive(Debug)]
#[must_use = "redeem the staged values that this commit covers"]
pub struct Committed {
    pub(crate) instance: u64,
    pub(crate) through: Lsn,
}

impl Committed {
    /// The last transaction that the sync covered.
    pub fn through_lsn(&self) -> Lsn {
        self.through
    }

    /// Turns a staged value into a durable one.
    ///
    /// Panics if `staged` came from another `Wal` or lies above [`Self::through_lsn`]: both are
    /// bugs that would send what is not stored.
    pub fn redeem<T>(&self, staged: Staged<T>) -> Durable<T> {
        assert_eq!(
            self.instance, staged.instance,
            "a staged value was redeemed with the commit of another Wal"
        );
        assert!(
            staged.lsn <= self.through,
            "a staged value above the committed LSN was redeemed"
        );
        Durable {
            value: staged.value,
        }
    }
}

/// A value that survives a power cut, because a sync that covers it returned Ok.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Durable<T> {
    value: T,
}

impl<T> Durable<T> {
    /// For what was read back from below the synced LSN. Private to the crate on purpose.
    pub(crate) fn from_synced(value: T) -> Self {
        Durable { value }
    }

    /// Takes the value out; from here on the type no longer speaks for it.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Derives another durable value. A plain function pointer captures nothing, so the result can
    /// only come from what is durable.
    pub fn map<U>(self, f: fn(T) -> U) -> Durable<U> {
        Durable {
            value: f(self.value),
        }
    }

    /// Like [`Self::map`], for derivations that can fail.
    pub fn try_map<U, E>(self, f: fn(T) -> Result<U, E>) -> Result<Durable<U>, E> {
        Ok(Durable {
            value: f(self.value)?,
        })
    }

    /// Like [`Self::try_map`], for what takes a secret to be read that is no durable value itself. It comes in
    /// 32 bytes and in no other type: too few for anything that is sent.
    pub fn try_map_with<U, E>(
        self,
        secret: &[u8; 32],
        f: fn(T, &[u8; 32]) -> Result<U, E>,
    ) -> Result<Durable<U>, E> {
        Ok(Durable {
            value: f(self.value, secret)?,
        })
    }
}

impl<T> Deref for Durable<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> AsRef<T> for Durable<T> {
    fn as_ref(&self) -> &T {
        &self.value
    }
}
