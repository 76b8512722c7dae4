//! Under which addresses a phone in the same network may find this hub.
//!
//! Nothing is sent to find out: a UDP socket that is "connected" only asks the routing table.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::config::PairingConfig;

/// Documentation addresses (RFC 5737, RFC 3849): routed like any far host, never contacted.
const FAR: [&str; 2] = ["192.0.2.1:9", "[2001:db8::1]:9"];

/// `host:port`, best first; at least one.
pub(super) fn of(config: &PairingConfig, port: u16) -> Vec<String> {
    if !config.addresses.is_empty() {
        return config
            .addresses
            .iter()
            .map(|host| with_port(host, port))
            .collect();
    }
    let listen = config.listen.ip();
    if !listen.is_unspecified() {
        return vec![SocketAddr::new(listen, port).to_string()];
    }
    let mut found: Vec<String> = FAR
        .iter()
        .filter_map(|far| source_towards(far))
        .filter(|ip| listen.is_ipv6() || ip.is_ipv4())
        .map(|ip| SocketAddr::new(ip, port).to_string())
        .collect();
    if found.is_empty() {
        found.push(SocketAddr::from(([127, 0, 0, 1], port)).to_string());
    }
    found
}

fn source_towards(far: &str) -> Option<IpAddr> {
    let far: SocketAddr = far.parse().ok()?;
    let any: SocketAddr = if far.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }
        .parse()
        .ok()?;
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(far).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn with_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config(listen: &str, addresses: &[&str]) -> PairingConfig {
        PairingConfig {
            listen: listen.parse().unwrap(),
            addresses: addresses.iter().map(|&a| a.to_owned()).collect(),
            suite: journal::Suite::XWing,
            offer: Duration::from_secs(60),
            announce: pairing_lan::Where::Nowhere,
        }
    }

    #[test]
    fn the_real_port_is_named() {
        assert_eq!(of(&config("127.0.0.1:0", &[]), 7), ["127.0.0.1:7"]);
        assert_eq!(
            of(&config("0.0.0.0:0", &["cam.local", "::1"]), 7),
            ["cam.local:7", "[::1]:7"]
        );
        assert!(!of(&config("0.0.0.0:0", &[]), 7).is_empty());
    }
}
