//! How a phone finds a hub that pairs, in the local network and without an address: multicast DNS (RFC 6762) and
//! service discovery (RFC 6763), as little of them as that takes.
//!
//! While an offer is open the hub says that there is a `_secluso._udp` under a random name, with a port and with the
//! offer's [`OfferTag`]. A phone that has read the code knows the tag, asks, and tries where it was answered; the hub
//! proves itself there by its key, so nothing that is said here is believed.
//!
//! Two machines without IO, [`Responder`] and [`Browser`], each with bounded memory whatever comes; and a shell for each,
//! [`announce_while`] and [`Browse`], that moves datagrams. This room must never say anything of whose hub it is, keep
//! what others announce, or answer anybody outside its link.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

mod announce;
mod browse;
mod dns;
mod socket;

use std::net::Ipv4Addr;

pub use announce::{Announcement, Responder};
pub use browse::{Browser, CANDIDATES_MAX};
pub use socket::{Browse, Lan, Where, announce_while};

/// The group of multicast DNS. No router passes it on.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// The port of multicast DNS.
pub const MDNS_PORT: u16 = 5353;
/// Longest datagram that is read, in bytes: what fits an Ethernet. Of a longer one only so much is read, and mostly
/// nothing of that makes sense.
pub const DATAGRAM_BYTES_MAX: usize = 1500;

/// Which offer is announced: a hash of its secret, which tells nobody that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OfferTag(pub [u8; 8]);

impl OfferTag {
    /// 16 hexadecimal digits.
    fn to_hex(self) -> String {
        format!("{:016x}", u64::from_be_bytes(self.0))
    }

    fn from_hex(text: &[u8]) -> Option<Self> {
        if text.len() != 16 || !text.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        let number = u64::from_str_radix(text, 16).ok()?;
        Some(Self(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests;
