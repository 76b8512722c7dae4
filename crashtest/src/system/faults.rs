//! One operation that fails under a running program: the recorder is preloaded into the first process of
//! that kind which is to run on, and into no other. A program that such an error ends, by a code that says
//! so, is started again, as its owner would. This room must never take another end for that one.

use std::ffi::OsString;
use std::path::PathBuf;

use super::System;
use crate::fault;
use crate::oracle::PARTED;
use crate::process::{Process, Role, Start};
use crate::trouble::{Outcome, Trouble};

/// How often one error may end a program: it fails once, and the next process does not meet it.
const ENDS_MAX: u32 = 1;

/// Exit code: the state is damaged.
const DAMAGED: i32 = 4;
/// Exit code: no space.
const SPACE: i32 = 7;
/// Exit code: internal, or a disk that fails.
const FAILING: i32 = 70;

/// A program one of whose operations fails.
#[derive(Debug)]
pub(super) struct Fault {
    role: Role,
    /// What `SECLUSO_RECORD_FAULT` says.
    plan: String,
    recorder: PathBuf,
    /// The process that has it, once it was started.
    process: Option<u32>,
    ends: u32,
}

/// What a planned error came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// The operations that met it, in order.
    pub operations: Vec<String>,
    /// How often the program ended by it and was started again.
    pub ends: u32,
    /// How often the phone said that it had not told something that turned out to be durable.
    pub untold: usize,
}

/// Whether a program that an error of its disk ends may end with this code: all three have one list. No error is
/// a wrong path, only a full disk is one without space, and it is called nothing else.
fn is_code_of(plan: &str, code: i32) -> bool {
    let full = plan.ends_with(":ENOSPC") || plan.ends_with(":FULL");
    let read = plan.starts_with("read:");
    match code {
        FAILING => !full,
        SPACE => full,
        // What the disk does not read is as good as damaged.
        DAMAGED => read,
        _ => false,
    }
}

impl System {
    /// Has operations fail, as `plan` says (`SECLUSO_RECORD_FAULT`), in the first process of this kind that
    /// is started to run on.
    ///
    /// # Errors
    /// The recorder is not built.
    pub fn faulted(mut self, role: Role, plan: &str) -> Outcome<Self> {
        self.fault = Some(Fault {
            role,
            plan: plan.to_owned(),
            recorder: fault::library(&role.path()?).map_err(Trouble::Broken)?,
            process: None,
            ends: 0,
        });
        Ok(self)
    }

    /// What came of it so far.
    ///
    /// # Errors
    /// The trace cannot be read.
    pub fn met(&self) -> Outcome<Met> {
        let Some(fault) = self.fault.as_ref().filter(|fault| fault.process.is_some()) else {
            return Ok(Met::default());
        };
        let trace = std::fs::read(self.fault_trace());
        let trace = trace.map_err(Trouble::machine("the recorder's trace"))?;
        // A process that is still running may be in the middle of a frame.
        let (operations, _unread) = fault::met(&trace);
        Ok(Met {
            operations,
            ends: fault.ends,
            untold: self.untold(0),
        })
    }

    /// How often the phone said that it had not told something, behind so many lines.
    pub(super) fn untold(&self, from: usize) -> usize {
        let lines = self.board.lines();
        let behind = lines.iter().skip(from);
        let missed = behind.filter(|line| line.role == Role::App && line.event() == "missed");
        missed.count()
    }

    fn fault_trace(&self) -> PathBuf {
        self.path("fault.iotrace")
    }

    /// Adds the recorder to a process that is to run on, if its turn has come.
    pub(super) fn with_fault(&self, role: Role, start: &Start) -> Outcome<Start> {
        let mut start = self.prepared(role, start.clone());
        let Some(fault) = self.waiting_fault(role) else {
            return Ok(start);
        };
        let root = self.path(match role {
            Role::Relay => "relay/data",
            Role::Hub => "hub",
            Role::App => "app",
        });
        // The recorder follows paths as the kernel names them.
        let root = root.canonicalize();
        let root = root.map_err(Trouble::machine("a program's directory"))?;
        let mut set = |name: &str, value: OsString| {
            start.environment.push((name.to_owned(), value));
        };
        set("LD_PRELOAD", fault.recorder.clone().into());
        set("SECLUSO_RECORD_ROOT", root.into());
        set("SECLUSO_RECORD_TRACE", self.fault_trace().into());
        set("SECLUSO_RECORD_FAULT", fault.plan.clone().into());
        Ok(start)
    }

    /// The planned error, if the next process of this kind is to meet it.
    fn waiting_fault(&self, role: Role) -> Option<&Fault> {
        let fault = self.fault.as_ref()?;
        (fault.role == role && fault.process.is_none()).then_some(fault)
    }

    /// A process that is to run on was started.
    pub(super) fn note_start(&mut self, role: Role, process: &Process) {
        if let Some(fault) = &mut self.fault
            && fault.role == role
        {
            fault.process.get_or_insert(process.number());
        }
    }

    /// Whether a process that ended has met the planned error and ended as a program may that cannot use
    /// its disk: by its documented code, with a word about it. Counted; only the first counts.
    pub(super) fn ended_by_fault(&mut self, process: &mut Process) -> bool {
        let met = self.met().is_ok_and(|met| !met.operations.is_empty());
        let Some(fault) = self.fault.as_mut() else {
            return false;
        };
        // A run that only counts has no error to end by.
        if fault.plan.ends_with(":NOTHING") {
            return false;
        }
        let code = process.ended().and_then(|status| status.code());
        let allowed = code.is_some_and(|code| is_code_of(&fault.plan, code));
        let said = process.said();
        // A phone that cannot follow its hub any more is no phone with a bad disk.
        let is_other = said.is_empty() || said.contains("panicked") || said.contains(PARTED);
        let is_it = fault.process == Some(process.number())
            && fault.ends < ENDS_MAX
            && met
            && allowed
            && !is_other;
        fault.ends += u32::from(is_it);
        is_it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_excuses_its_own_code_and_no_other() {
        let allowed =
            |plan: &str| -> Vec<i32> { (0..=255).filter(|code| is_code_of(plan, *code)).collect() };
        assert_eq!(allowed("any:3:EIO"), [70]);
        assert_eq!(allowed("sync:1:LOST"), [70]);
        assert_eq!(allowed("any:3:ENOSPC"), [7]);
        assert_eq!(allowed("any:3-63:FULL"), [7]);
        assert_eq!(allowed("read:9:EIO"), [4, 70]);
    }
}
