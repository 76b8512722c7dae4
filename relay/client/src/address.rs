//! Where a relay is and which key it must have.
//!
//! This room must never resolve a name: text in, text out.

use std::fmt;
use std::str::FromStr;

use wire::RelayId;

use crate::error::ClientError;

/// The longest host name (RFC 1035 section 2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// `host:port/id`: a name or address, a UDP port, and the relay's pinned key in base64url.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelayAddress {
    /// A DNS name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The UDP port.
    pub port: u16,
    /// The key that the relay must prove to have.
    pub relay_id: RelayId,
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.relay_id.to_text();
        if self.host.contains(':') {
            write!(f, "[{}]:{}/{id}", self.host, self.port)
        } else {
            write!(f, "{}:{}/{id}", self.host, self.port)
        }
    }
}

impl FromStr for RelayAddress {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<RelayAddress, ClientError> {
        parse(text.trim()).ok_or(ClientError::BadAddress)
    }
}

fn parse(text: &str) -> Option<RelayAddress> {
    let (place, id) = text.split_once('/')?;
    let (host, port) = place.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let plain = !host.is_empty()
        && host.len() <= HOST_BYTES_MAX
        && host
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b'[');
    if !plain {
        return None;
    }
    Some(RelayAddress {
        host: host.to_owned(),
        port: port.parse().ok()?,
        relay_id: id.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_from_their_text() {
        for host in ["relay.example", "127.0.0.1", "::1", "fe80::1%eth0"] {
            let address = RelayAddress {
                host: host.to_owned(),
                port: 4433,
                relay_id: RelayId([7; 32]),
            };
            assert_eq!(address.to_string().parse::<RelayAddress>(), Ok(address));
        }
    }

    #[test]
    fn everything_else_is_one_clear_error() {
        let id = RelayId([7; 32]).to_text();
        for text in [
            "".to_owned(),
            "host".to_owned(),
            "host:1".to_owned(),
            format!("host/{id}"),
            format!("host:99999/{id}"),
            format!(":1/{id}"),
            format!("::1:1/{id}"),
            format!("[::1:1/{id}"),
            format!("host:1/{}", &id[1..]),
            format!("ho st:1/{id}"),
        ] {
            assert_eq!(
                text.parse::<RelayAddress>(),
                Err(ClientError::BadAddress),
                "{text}"
            );
        }
    }
}
