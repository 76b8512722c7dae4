//! What a line with a constant rate does between its slots: have the next envelope here, and cover in stock.
//!
//! [`Shaper`] says when; this room asks the journal. It must never make a slot wait for the journal.

use wire::ids::Seq;
use wire::sender::Need;

use super::place::Place;
use super::{LineUplink, Shared, now_ms, unless_reopened};
use crate::camera::Clock;
use crate::core::LineHeads;
use crate::sealer::{Pending, SealerError};
use crate::uplink::Over;
use crate::uplink::shape::Shaper;

/// What is to be done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// What the machine needs.
    Serve(Need),
    /// Have a cover made.
    Cover,
    /// Nothing before something comes in, or a time is reached.
    Wait,
}

impl LineUplink {
    /// Serves the machine first, unless others go before it, then sees to what the next slots need.
    pub(super) fn next(
        &mut self,
        head: &LineHeads,
        blocked: bool,
        place: &Place,
        now_ms: u64,
    ) -> Next {
        let need = self.need(blocked, now_ms);
        let waits = self.waits_for_turn(need, place, now_ms);
        if let Some(need) = need
            && !waits
            && !self.waits_for_slot(need, now_ms)
        {
            return Next::Serve(need);
        }
        let is_open = !blocked && self.cover.is_none() && self.sender.is_sending();
        let wants = |shaper: &Shaper| shaper.wants_cover(head.last, head.acked, now_ms);
        match is_open && self.shaper.as_ref().is_some_and(wants) {
            true => Next::Cover,
            false => Next::Wait,
        }
    }

    /// Whether the envelope that the machine needs is here, and its slot is not.
    fn waits_for_slot(&self, need: Need, now_ms: u64) -> bool {
        let (Some(shaper), Need::Envelope { seq, .. }) = (&self.shaper, need) else {
            return false;
        };
        self.is_ready(seq) && !shaper.may_leave(seq, now_ms)
    }

    pub(super) fn is_ready(&self, seq: Seq) -> bool {
        self.ready.as_ref().is_some_and(|(ready, _)| *ready == seq)
    }

    /// Shows how a line with a rhythm stands, and learns what an earlier process has sent.
    pub(super) fn tell_shape(&mut self, head: &LineHeads, shared: &Shared) {
        let Some(shaper) = &mut self.shaper else {
            return;
        };
        shaper.handle_relay_has(self.sender.receipted_through());
        let shaped = shaper.status(head.last, head.acked);
        shared
            .board
            .change(|board| board.lines.entry(self.line).or_default().shaped = Some(shaped));
    }

    /// Hands the step to the journal; a slot must not wait for its sync.
    pub(super) async fn ask_for_cover(&mut self, shared: &Shared) -> Result<(), Over> {
        let line = self.line;
        let asked = shared
            .sealer
            .hand_over(move |core, now| core.handle_cover_due(line, now))
            .await;
        self.cover = Some(asked.map_err(Over::Sealer)?);
        Ok(())
    }

    /// The journal has made a cover, which the heads say, or could not.
    pub(super) fn take_cover(
        &mut self,
        made: Result<bool, SealerError>,
        clock: &impl Clock,
    ) -> Result<(), Over> {
        self.cover = None;
        let was_made = unless_reopened(made)? == Some(true);
        match &mut self.shaper {
            Some(shaper) if !was_made => shaper.handle_no_cover(now_ms(clock)),
            _ => {}
        }
        Ok(())
    }
}

/// Whether the cover that is being made was; never, if none is.
pub(super) async fn cover_made(cover: &mut Option<Pending<bool>>) -> Result<bool, SealerError> {
    match cover {
        Some(cover) => cover.answer().await,
        None => std::future::pending().await,
    }
}
