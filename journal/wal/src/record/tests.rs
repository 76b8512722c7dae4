//! The bytes on disk, judged by golden hex and by damage.
