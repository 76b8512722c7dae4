//! Which operation is to fail, and how: read once from `SECLUSO_RECORD_FAULT`.
//!
//! `write:12:EIO` is the twelfth write, `any:3+:EIO` the third operation and all after it,
//! `any:3-40:FULL` a disk that is full from the third to the fortieth. The operations are those that
//! are recorded, in the order in which they are recorded, from 1; reads are counted only if they are
//! asked for: `read:7:EIO`.

use std::ffi::c_int;

/// The sort of an operation, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// `write` and its relatives.
    Write,
    /// `fsync`, `fdatasync`.
    Sync,
    /// An `open` that may make or cut a file.
    Create,
    /// `ftruncate`, `truncate`.
    SetLen,
    /// `fallocate`.
    Allocate,
    /// `rename`, `link`.
    Rename,
    /// `unlink`, `rmdir`.
    Remove,
    /// `mkdir`.
    MakeDir,
    /// `read`, `pread`: never recorded, and none of `any`.
    Read,
}

impl Sort {
    const NAMES: [(&'static str, Self); 9] = [
        ("write", Self::Write),
        ("sync", Self::Sync),
        ("create", Self::Create),
        ("set_len", Self::SetLen),
        ("allocate", Self::Allocate),
        ("rename", Self::Rename),
        ("remove", Self::Remove),
        ("make_dir", Self::MakeDir),
        ("read", Self::Read),
    ];
}

/// What an operation that was chosen meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// It fails with this number and does nothing.
    Number(c_int),
    /// A write takes half of its bytes (at least one); anything else is done as usual.
    Short,
    /// ENOSPC for what needs new space: names, allocations, writes behind the end of a file. Anything
    /// else is done as usual, as on a disk that is full.
    Full,
    /// A sync fails with EIO and what it should have covered is gone from the file; later syncs
    /// succeed. Anything else fails with EIO.
    Lost,
    /// Nothing: the operation is only counted, by its frame in the trace.
    Nothing,
}

/// What `SECLUSO_RECORD_FAULT` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// None: of any sort.
    sort: Option<Sort>,
    from: u64,
    through: u64,
    error: Error,
}

impl Plan {
    /// Reads the text; `None` if it is not one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (sort, number, error) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let sort = match sort {
            "any" => None,
            name => Some(Sort::NAMES.into_iter().find(|(known, _)| *known == name)?.1),
        };
        let from_through = match number.split_once('-') {
            Some((from, through)) => (from.parse().ok()?, through.parse().ok()?),
            None => match number.strip_suffix('+') {
                Some(from) => (from.parse().ok()?, u64::MAX),
                None => (number.parse().ok()?, number.parse().ok()?),
            },
        };
        let (from, through) =
            Some(from_through).filter(|(from, through)| (1..=*through).contains(from))?;
        let error = match error {
            "EIO" => Error::Number(libc::EIO),
            "ENOSPC" => Error::Number(libc::ENOSPC),
            "FULL" => Error::Full,
            "SHORT" => Error::Short,
            "LOST" => Error::Lost,
            "NOTHING" => Error::Nothing,
            _ => return None,
        };
        Some(Self {
            sort,
            from,
            through,
            error,
        })
    }
}

/// Counts operations and says which fail.
#[derive(Debug)]
pub(crate) struct Faults {
    plan: Option<Plan>,
    seen: u64,
}

impl Faults {
    pub(crate) fn new(plan: Option<Plan>) -> Self {
        Self { plan, seen: 0 }
    }

    /// Whether old bytes must be kept, to be put back by a sync that loses them.
    pub(crate) fn loses(&self) -> bool {
        self.plan.is_some_and(|plan| plan.error == Error::Lost)
    }

    /// The next operation is of this sort, and needs new space or not: what does it meet?
    pub(crate) fn next(&mut self, sort: Sort, needs_space: bool) -> Option<Error> {
        let plan = self.plan?;
        let wanted = match plan.sort {
            None => sort != Sort::Read,
            Some(wanted) => wanted == sort,
        };
        if !wanted {
            return None;
        }
        self.seen += 1;
        let chosen = (plan.from..=plan.through).contains(&self.seen);
        let meets = plan.error != Error::Full || needs_space;
        (chosen && meets).then_some(plan.error)
    }
}
