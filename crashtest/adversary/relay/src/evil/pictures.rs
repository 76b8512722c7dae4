//! What each vice does to live pieces, which are passed on now and kept by nobody but an attacker. Sans IO.
//!
//! It must never keep more than its bound of a mailbox.

use std::collections::BTreeMap;

use bytes::Bytes;
use wire::SendId;

use crate::vice::Vice;

/// Pieces of a mailbox that are kept, to be brought again.
const KEPT_MAX: usize = 8;
/// One in so many pieces is left out, so that something is passed on.
const ONE_IN: usize = 3;
/// From one flipped bit to the next. Prime, so that pieces of each length are walked through.
const STRIDE: usize = 257;

/// The live pieces that came.
#[derive(Default, Debug)]
pub struct Pictures {
    kept: BTreeMap<SendId, Vec<Bytes>>,
    held: BTreeMap<SendId, Bytes>,
    count: usize,
}

impl Pictures {
    /// A piece comes; what is passed on in its place.
    pub fn pass(&mut self, vice: Option<Vice>, mailbox: SendId, piece: &Bytes) -> Vec<Bytes> {
        self.count += 1;
        let turn = self.count;
        let other = self
            .kept
            .iter()
            .find(|(of, _)| **of != mailbox)
            .and_then(|(_, kept)| kept.first().cloned());
        let kept = self.kept.entry(mailbox).or_default();
        let old = kept.get(turn % KEPT_MAX).cloned();
        if kept.len() < KEPT_MAX {
            kept.push(piece.clone());
        }
        let as_it_is = || piece.clone();
        match vice {
            Some(Vice::Withhold) => Vec::new(),
            Some(Vice::Drop) if turn.is_multiple_of(ONE_IN) => Vec::new(),
            Some(Vice::Replay) => std::iter::once(as_it_is()).chain(old).collect(),
            Some(Vice::Reorder) => match self.held.remove(&mailbox) {
                Some(held) => vec![as_it_is(), held],
                None => {
                    self.held.insert(mailbox, as_it_is());
                    Vec::new()
                }
            },
            Some(Vice::Splice) => vec![other.unwrap_or_else(as_it_is)],
            Some(Vice::Truncate) => vec![piece.slice(..piece.len().div_ceil(2))],
            Some(Vice::Flip | Vice::Walk) => {
                let mut bytes = piece.to_vec();
                let place = turn.wrapping_mul(STRIDE) % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << (turn % 8);
                }
                vec![Bytes::from(bytes)]
            }
            _ => vec![as_it_is()],
        }
    }

    /// The number of a group, as whoever watches is told it.
    pub fn number(&self, vice: Option<Vice>, group: u64) -> u64 {
        match vice {
            Some(Vice::Relabel) => 1,
            _ => group,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(vice: Option<Vice>) -> Vec<Bytes> {
        let mut pictures = Pictures::default();
        let elsewhere = Bytes::from_static(b"of another");
        pictures.pass(None, SendId([2; 24]), &elsewhere);
        let pieces = (0..20).map(|n| Bytes::from(format!("piece {n:02}")));
        pieces
            .flat_map(|piece| pictures.pass(vice, SendId([1; 24]), &piece))
            .collect()
    }

    #[test]
    fn each_vice_is_played_on_pictures_too() {
        let honest = passed(None);
        assert_eq!(honest.len(), 20);
        let lies = [
            Vice::Drop,
            Vice::Replay,
            Vice::Reorder,
            Vice::Splice,
            Vice::Truncate,
            Vice::Flip,
            Vice::Withhold,
            Vice::Walk,
        ];
        for vice in lies {
            assert_ne!(passed(Some(vice)), honest, "{vice}");
        }
        assert_eq!(passed(Some(Vice::Wipe)), honest);
        assert_eq!(Pictures::default().number(Some(Vice::Relabel), 7), 1);
    }
}
