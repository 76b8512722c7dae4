//! Tells the hub's own network that it pairs, while an offer is open.
//!
//! What is said is in `pairing_lan`; where is decided here. It must never be said in a network in which the hub does not
//! listen, unless its owner names one, and no pairing may fail because of it.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};

use pairing_lan::{Announcement, Lan, OfferTag, Where};
use wal::{Dice as _, OsDice};

use crate::config::PairingConfig;

/// Announces the offer of this tag while `work` goes on; nothing, if it has none or the hub is to say nothing.
pub(super) async fn announced_while<T>(
    config: &PairingConfig,
    port: u16,
    tag: Option<OfferTag>,
    work: impl Future<Output = T>,
) -> T {
    let (Some(tag), Some(lan)) = (tag, network(config)) else {
        return work.await;
    };
    let mut instance = [0; 8];
    OsDice.fill(&mut instance);
    let said = Announcement {
        instance,
        tag,
        address: match listens_at(config) {
            Some(address) if !address.is_unspecified() => address,
            _ => lan.interface,
        },
        port,
    };
    pairing_lan::announce_while(lan, said, work).await
}

/// In which network. One that is not configured is that of the address at which the hub listens, or the default route's.
fn network(config: &PairingConfig) -> Option<Lan> {
    match (config.announce, listens_at(config)) {
        (Where::DefaultRoute, None) => None,
        // Nobody else is there.
        (Where::DefaultRoute, Some(address)) if address.is_loopback() => None,
        (Where::DefaultRoute, Some(address)) if !address.is_unspecified() => Some(Lan::at(address)),
        (chosen, _) => chosen.lan(),
    }
}

/// An address that is not specified is every one. `None`: at no IPv4 address.
fn listens_at(config: &PairingConfig) -> Option<Ipv4Addr> {
    match config.listen.ip() {
        IpAddr::V4(address) => Some(address),
        // A socket for all of IPv6 takes IPv4 as well.
        IpAddr::V6(address) if address.is_unspecified() => Some(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn network_of(listen: &str, announce: Where) -> Option<Lan> {
        network(&PairingConfig {
            listen: listen.parse().unwrap(),
            addresses: Vec::new(),
            suite: journal::Suite::XWing,
            offer: Duration::from_secs(60),
            announce,
        })
    }

    #[test]
    fn it_is_said_where_the_hub_listens_and_nowhere_else() {
        let (home, other) = (Ipv4Addr::new(192, 168, 1, 20), Ipv4Addr::new(10, 0, 0, 2));
        let (home, other) = (Lan::at(home), Lan::at(other));
        let route = Where::DefaultRoute;
        assert_eq!(network_of("192.168.1.20:0", route), Some(home));
        assert_eq!(network_of("127.0.0.1:0", route), None);
        assert_eq!(network_of("[fd00::1]:0", route), None);
        assert_eq!(network_of("0.0.0.0:0", route), Lan::of_default_route());
        assert_eq!(network_of("[::]:0", route), Lan::of_default_route());
        assert_eq!(network_of("0.0.0.0:0", Where::At(other)), Some(other));
        assert_eq!(network_of("192.168.1.20:0", Where::Nowhere), None);
    }
}
