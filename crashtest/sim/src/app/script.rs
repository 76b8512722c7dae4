//! The steps of a script, on the line of its videos: what the pump does at once comes apart here.
//!
//! No other line moves here, and no heartbeat is due.

use app_core::core::{Core, Delivered};
use wire::Seq;

use super::line::LineEnd;
use super::{App, Process, ended};
use crate::hub::Fault;
use crate::net::Up;
use crate::oracle::Books;

impl App {
    /// Attaches to the mailbox of its videos, if it is time: a script's step, in which no other line moves
    /// and no heartbeat is due.
    ///
    /// # Errors
    /// As all steps.
    pub fn read(&mut self, now_ms: u64, books: &mut Books, out: &mut Vec<Up>) -> Result<(), Fault> {
        match self.process.as_mut().and_then(Process::videos) {
            Some((core, end)) => end.read(core, &self.machine, now_ms, books, out),
            None => Ok(()),
        }
    }

    /// Sends what is durable on the line of its videos and what the relay lacks: a script's step.
    ///
    /// # Errors
    /// As all steps.
    pub fn write(
        &mut self,
        now_ms: u64,
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        match self.process.as_mut().and_then(Process::videos) {
            Some((core, end)) => {
                end.judge(core, now_ms, books)?;
                end.write(core, &self.machine, now_ms, books, out)
            }
            None => Ok(()),
        }
    }

    /// Takes envelopes of its videos and syncs nothing; with none, what time asks for: a script's step.
    ///
    /// # Errors
    /// As all steps.
    pub fn stage(&mut self, run: &[Delivered], now_ms: u64) -> Result<(), Fault> {
        let wall_ms = self.wall_ms(now_ms);
        let Some((core, end)) = self.process.as_mut().and_then(Process::videos) else {
            return Ok(());
        };
        let line = end.way.line;
        let pending = match run {
            [] => core.tick(line, now_ms),
            _ => core.deliver(line, run, now_ms, wall_ms),
        };
        end.staged.push(pending.map_err(|error| ended(&error))?);
        Ok(())
    }

    /// Syncs what [`Self::stage`] left, and acts on what is durable then.
    ///
    /// # Errors
    /// As all steps.
    pub fn sync(&mut self, now_ms: u64, books: &mut Books) -> Result<Vec<Up>, Fault> {
        let mut out = Vec::new();
        if let Some((core, end)) = self.process.as_mut().and_then(Process::videos) {
            let staged = std::mem::take(&mut end.staged);
            let parts = (core, &self.machine);
            end.settle_all(parts, Ok(staged), now_ms, books, &mut out)?;
        }
        Ok(out)
    }

    /// The last durable envelope on the line of its videos, if it runs.
    #[must_use]
    pub fn last(&self) -> Option<Seq> {
        let mut lines = self.process.as_ref()?.lines.iter();
        let videos = lines.find(|end| end.is_of_videos());
        videos.map(|end| end.last)
    }
}

impl Process {
    /// The core, and the line of its videos: the one that scripts are about.
    fn videos(&mut self) -> Option<(&mut Core, &mut LineEnd)> {
        let end = self.lines.iter_mut().find(|end| end.is_of_videos())?;
        Some((&mut self.core, end))
    }
}
