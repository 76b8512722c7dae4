//! How many handshakes a stretch of the internet may ask for.
//!
//! A token bucket per address prefix (/24, /56), because a handshake costs the relay half a
//! millisecond of work before it knows who asks. Times are arguments. This room must never
//! grow beyond its table.

use std::collections::HashMap;
use std::net::IpAddr;

/// Prefixes remembered at a time. When the table is full of busy ones, newcomers share one.
const PREFIXES_MAX: usize = 4096;

/// The rate of one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Handshakes per second, in the long run.
    pub per_second: u32,
    /// Handshakes at once, after a quiet time.
    pub burst: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of a handshake.
    millis: u64,
    at_ms: u64,
}

/// Whether a handshake may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Go,
    Wait,
}

/// The buckets of all prefixes.
#[derive(Debug)]
pub(crate) struct Buckets {
    rate: Rate,
    buckets: HashMap<u64, Bucket>,
}

impl Buckets {
    pub(crate) fn new(rate: Rate) -> Buckets {
        Buckets {
            rate,
            buckets: HashMap::new(),
        }
    }

    /// Takes one token of the prefix of `ip`, if there is one.
    pub(crate) fn take(&mut self, ip: IpAddr, now_ms: u64) -> Pass {
        let full = u64::from(self.rate.burst) * 1000;
        let mut key = prefix(ip);
        if self.buckets.len() >= PREFIXES_MAX && !self.buckets.contains_key(&key) {
            let rate = self.rate;
            self.buckets
                .retain(|_, bucket| refill(rate, *bucket, now_ms) < full);
            if self.buckets.len() >= PREFIXES_MAX {
                key = SHARED;
            }
        }
        let bucket = self.buckets.entry(key).or_insert(Bucket {
            millis: full,
            at_ms: now_ms,
        });
        bucket.millis = refill(self.rate, *bucket, now_ms);
        bucket.at_ms = now_ms;
        if bucket.millis >= 1000 {
            bucket.millis -= 1000;
            Pass::Go
        } else {
            Pass::Wait
        }
    }
}

fn refill(rate: Rate, bucket: Bucket, now_ms: u64) -> u64 {
    let passed = now_ms.saturating_sub(bucket.at_ms);
    let earned = passed.saturating_mul(u64::from(rate.per_second));
    bucket
        .millis
        .saturating_add(earned)
        .min(u64::from(rate.burst) * 1000)
}

/// A key that no address has.
const SHARED: u64 = u64::MAX;

fn prefix(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => u64::from(u32::from(ip) >> 8),
        // The top bit keeps the two families apart.
        IpAddr::V6(ip) => (1 << 63) | ((u128::from(ip) >> 72) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 3,
    };

    #[test]
    fn a_burst_then_the_rate() {
        let mut buckets = Buckets::new(RATE);
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let neighbour: IpAddr = "192.0.2.200".parse().unwrap();
        let other: IpAddr = "192.0.3.1".parse().unwrap();
        for _ in 0..3 {
            assert_eq!(buckets.take(ip, 0), Pass::Go);
        }
        assert_eq!(buckets.take(neighbour, 0), Pass::Wait, "the same /24");
        assert_eq!(buckets.take(other, 0), Pass::Go);
        assert_eq!(buckets.take(ip, 99), Pass::Wait);
        assert_eq!(buckets.take(ip, 100), Pass::Go);
        assert_eq!(buckets.take(ip, 100), Pass::Wait);
        for _ in 0..3 {
            assert_eq!(
                buckets.take(ip, 1_000_000),
                Pass::Go,
                "never above the burst"
            );
        }
        assert_eq!(buckets.take(ip, 1_000_000), Pass::Wait);
    }

    #[test]
    fn a_flood_of_prefixes_does_not_grow_the_table() {
        let mut buckets = Buckets::new(RATE);
        for n in 0..20_000_u32 {
            let _any = buckets.take(IpAddr::V4((n << 8).into()), 0);
        }
        assert!(buckets.buckets.len() <= PREFIXES_MAX + 1);
        let first: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(
            buckets.take(first, 10_000),
            Pass::Go,
            "forgotten when quiet"
        );
        assert!(buckets.buckets.len() < 10);
    }

    #[test]
    fn prefixes_of_the_two_families_differ() {
        assert_eq!(
            prefix("::ffff:192.0.2.1".parse().unwrap()),
            prefix("192.0.2.9".parse().unwrap())
        );
        assert_ne!(
            prefix("::".parse().unwrap()),
            prefix("0.0.0.0".parse().unwrap())
        );
        assert_eq!(
            prefix("2001:db8:0:1200::1".parse().unwrap()),
            prefix("2001:db8:0:12ff::1".parse().unwrap()),
            "the same /56 has the same upper 56 bits"
        );
    }
}
