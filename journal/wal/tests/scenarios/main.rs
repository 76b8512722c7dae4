//! The scenarios that earlier drafts of the design did not survive, by their numbers, and what damage may cost
//! beside them. One binary, because linking one is slow enough.
//!
//! ```text
//! support           the groups as they lie in the files
//! starts            scenarios 1 to 4: the tail, and the copy that a start makes of it
//! view              scenario 5: the view and its checkpoints
//! space             scenarios 6 and 7: a full disk
//! damage, witness   rot, missing files, refused reads; rot of the newest transaction
//! ```

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod space;
mod starts;
mod support;
mod view;
mod witness;
