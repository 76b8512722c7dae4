//! Constant-rate traffic: envelopes of one size at one rhythm, whether or not there is anything to say; what it
//! is in numbers, and what it costs.
//!
//! This room knows no time and no network: the rhythm is kept by the uplink. It must never flatter the cost.

use journal::FULL_ENVELOPE_BYTES;
use serde_json::{Value, json};
use wire::limits::{APPEND_PREFIX_BYTES, FRAME_HEADER_BYTES};

/// What one envelope counts for, in bytes: what it takes in a relay's quota.
const SLOT_BYTES: u64 = 64 * 1024;
/// What one envelope is on the wire, in bytes, without the headers of the packets that carry it.
const WIRE_BYTES: u64 = (FULL_ENVELOPE_BYTES + APPEND_PREFIX_BYTES + FRAME_HEADER_BYTES) as u64;
/// What one cover takes in this hub's log, in bytes: a sector.
const LOG_BYTES: u64 = 4 * 1024;
/// Lowest and highest rate, in KiB/s: one envelope in 64 s, and sixteen in a second, each of which costs this
/// hub a sync.
pub const KIB_PER_S: (u64, u64) = (1, 1024);
/// Least and most that may wait for a phone's ack before cover pauses, in MiB. The most is 65,536 envelopes: a
/// checkpoint of the journal holds each cover, some hundred bytes of it.
pub const BACKLOG_MIB: (u64, u64) = (16, 4096);
/// How much that is if nothing is said, in MiB: a quarter of what a relay gives a hub if nothing is said there.
pub const BACKLOG_MIB_DEFAULT: u64 = 512;
/// Cover is kept ready for so long, in milliseconds, so that a sync that takes its time does not show.
const STOCK_MS: u64 = 500;
/// What an event says before its first picture has left: Commit, header, chunk.
const ENVELOPES_TO_FIRST_PICTURE: u64 = 3;
const DAY_S: u64 = 24 * 3600;
const MONTH_DAYS: u64 = 30;

/// A rate for each phone, and where it ends. Both numbers are within their limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traffic {
    kib_per_s: u64,
    backlog_mib: u64,
}

impl Traffic {
    /// `kib_per_s` within [`KIB_PER_S`], `backlog_mib` within [`BACKLOG_MIB`]; what lies outside is brought in.
    #[must_use]
    pub fn new(kib_per_s: u64, backlog_mib: u64) -> Self {
        Self {
            kib_per_s: kib_per_s.clamp(KIB_PER_S.0, KIB_PER_S.1),
            backlog_mib: backlog_mib.clamp(BACKLOG_MIB.0, BACKLOG_MIB.1),
        }
    }

    /// From one envelope to the next, in milliseconds.
    #[must_use]
    pub fn interval_ms(self) -> u64 {
        SLOT_BYTES * 1_000 / (self.kib_per_s * 1024)
    }

    /// Envelopes without a phone's ack at which cover pauses.
    #[must_use]
    pub fn backlog_envelopes(self) -> u64 {
        (self.backlog_mib << 20) / SLOT_BYTES
    }

    /// Envelopes that are kept ready to leave.
    #[must_use]
    pub fn stock(self) -> u64 {
        1 + STOCK_MS / self.interval_ms()
    }

    /// What it costs for each phone.
    #[must_use]
    pub fn cost(self) -> Cost {
        let interval_ms = self.interval_ms();
        let envelopes_per_day = DAY_S * 1_000 / interval_ms;
        Cost {
            interval_ms,
            bytes_per_day: envelopes_per_day * WIRE_BYTES,
            log_bytes_per_day: envelopes_per_day * LOG_BYTES,
            syncs_per_day: envelopes_per_day,
            relay_bytes: self.backlog_mib << 20,
            uncovered_after_s: self.backlog_envelopes() * interval_ms / 1_000,
            first_picture_ms: (self.stock() + ENVELOPES_TO_FIRST_PICTURE) * interval_ms,
        }
    }
}

/// Reads a rate such as `64 KiB/s` or `1 MiB/s`, in KiB/s; `None` if it is none. It may be outside [`KIB_PER_S`].
#[must_use]
pub fn parse_rate(text: &str) -> Option<u64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "KiB/s" => Some(number),
        "MiB/s" => number.checked_mul(1024),
        _ => None,
    }
}

/// What a constant rate costs for each phone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// From one envelope to the next, in milliseconds.
    pub interval_ms: u64,
    /// Bytes that the hub sends in a day, and the phone fetches: headers of packets come on top.
    pub bytes_per_day: u64,
    /// Bytes that an idle hub writes to its log in a day.
    pub log_bytes_per_day: u64,
    /// Syncs of an idle hub in a day.
    pub syncs_per_day: u64,
    /// Bytes that lie at the relay at most before cover pauses.
    pub relay_bytes: u64,
    /// A phone that reads nothing for so many seconds is no longer covered.
    pub uncovered_after_s: u64,
    /// The first picture of an event has left after so many milliseconds at most, if the hub was idle.
    pub first_picture_ms: u64,
}

impl Cost {
    /// Bytes that the hub sends in thirty days, and the phone fetches.
    #[must_use]
    pub fn bytes_per_month(self) -> u64 {
        self.bytes_per_day * MONTH_DAYS
    }

    /// For scripts.
    #[must_use]
    pub fn to_json(self) -> Value {
        json!({
            "interval_ms": self.interval_ms,
            "bytes_per_day": self.bytes_per_day,
            "bytes_per_month": self.bytes_per_month(),
            "log_bytes_per_day": self.log_bytes_per_day,
            "syncs_per_day": self.syncs_per_day,
            "relay_bytes": self.relay_bytes,
            "uncovered_after_s": self.uncovered_after_s,
            "first_picture_ms": self.first_picture_ms,
        })
    }

    /// For people.
    #[must_use]
    pub fn to_text(self) -> String {
        format!(
            "constant rate: one envelope of {} bytes every {} ms for each phone, whether or not anything happens\n\
             \x20 sent by this hub, and fetched by the phone: {} bytes a day, {:.1} GB a month (packets' headers come on top)\n\
             \x20 written by this hub while idle: {:.2} GB a day in {} syncs\n\
             \x20 kept at the relay for a phone that reads nothing: up to {} MiB; after {:.1} h cover pauses, and events show\n\
             \x20 the first picture of an event has left after {:.1} s at most; video above the rate waits",
            FULL_ENVELOPE_BYTES,
            self.interval_ms,
            self.bytes_per_day,
            gigabytes(self.bytes_per_month()),
            gigabytes(self.log_bytes_per_day),
            self.syncs_per_day,
            self.relay_bytes >> 20,
            self.uncovered_after_s as f64 / 3600.0,
            self.first_picture_ms as f64 / 1_000.0,
        )
    }
}

fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_their_unit_only() {
        let table = [
            ("64 KiB/s", Some(64)),
            (" 2 MiB/s ", Some(2048)),
            ("0 KiB/s", Some(0)),
            ("64", None),
            ("64KiB/s", None),
            ("64 kB/s", None),
            ("-1 KiB/s", None),
            ("18446744073709551615 MiB/s", None),
            ("", None),
        ];
        for (text, rate) in table {
            assert_eq!(parse_rate(text), rate, "{text:?}");
        }
    }

    /// 64 KiB/s: an envelope a second, 86,400 of them a day, each of 65,024 + 48 + 4 bytes.
    #[test]
    fn the_cost_is_what_a_calculator_says() {
        let cost = Traffic::new(64, 512).cost();
        assert_eq!(cost.interval_ms, 1_000);
        assert_eq!(cost.bytes_per_day, 86_400 * 65_076);
        assert_eq!(cost.bytes_per_month(), 168_676_992_000);
        assert_eq!(cost.log_bytes_per_day, 353_894_400);
        assert_eq!(cost.uncovered_after_s, 8_192);
        assert_eq!(cost.first_picture_ms, 4_000);
        let text = cost.to_text();
        assert!(
            text.contains("5622566400 bytes a day, 168.7 GB a month"),
            "{text}"
        );
        assert!(text.contains("after 2.3 h cover pauses"), "{text}");
    }

    #[test]
    fn every_rate_has_a_rhythm_and_a_stock() {
        for kib_per_s in [0, 1, 64, 100, 1024, u64::MAX] {
            for backlog_mib in [0, 512, u64::MAX] {
                let traffic = Traffic::new(kib_per_s, backlog_mib);
                assert!((62..=64_000).contains(&traffic.interval_ms()));
                assert!((1..=9).contains(&traffic.stock()));
                // What is in stock alone must not make cover pause.
                assert!(traffic.backlog_envelopes() > 8 * traffic.stock());
                assert!(traffic.cost().bytes_per_day > 0);
            }
        }
    }
}
