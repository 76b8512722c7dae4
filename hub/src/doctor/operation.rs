//! What `doctor` says of how the hub is run: who looks after it, whether its configuration is in force, where
//! its numbers are, and whether cameras are in a network of their own.
//!
//! Nothing is sent to find out: a UDP socket that is "connected" only asks the routing table.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};

use serde_json::Value;

use super::Finding;
use crate::camera::{CameraAddress, SourceConfig};
use crate::config::CameraConfig;
use crate::exit::Code;

/// Documentation addresses (RFC 5737, RFC 3849): routed like any far host, never contacted.
const FAR: [&str; 2] = ["192.0.2.1:9", "[2001:db8::1]:9"];

/// What a running hub says of itself (`service` in its status).
pub(super) fn of_running(service: &Value) -> [(&'static str, Finding); 2] {
    let supervisor = match (
        service["supervised"].as_bool(),
        service["watchdog_s"].as_u64(),
    ) {
        (Some(true), Some(seconds)) => {
            Finding::Good(format!("awaits a sign of life every {seconds} s"))
        }
        (Some(true), None) => Finding::Good("awaits no signs of life (WatchdogSec=)".into()),
        _ => Finding::Warning(
            "none: nobody starts this hub again if it ends; releases/systemd has a unit".into(),
        ),
    };
    let waiting = service["waiting"].as_array().map(Vec::as_slice);
    let waiting: Vec<&str> = waiting
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let in_force = match waiting.as_slice() {
        [] => Finding::Good("what was read last".into()),
        keys => Finding::Warning(format!("restart the hub for {}", keys.join(", "))),
    };
    [("supervisor", supervisor), ("in force", in_force)]
}

/// Whether the numbers are to be had, or could be.
pub(super) fn metrics(address: SocketAddr, is_running: bool) -> Finding {
    if is_running {
        return match std::net::TcpStream::connect(address) {
            Ok(_open) => Finding::Good(format!("http://{address}/metrics")),
            Err(error) => Finding::Warning(format!(
                "nobody answers at {address} ({error}); restart the hub if [metrics] is new"
            )),
        };
    }
    match std::net::TcpListener::bind(address) {
        Ok(_free) => Finding::Good(format!("{address} is free")),
        Err(error) => Finding::Bad(
            Code::Network,
            format!(
                "{address} cannot be listened on ({error}); choose another in [metrics] listen"
            ),
        ),
    }
}

/// Whether a camera is reached over another network than the rest of the world: whoever listens there sees its
/// pictures, and a camera that reaches the internet may send them there itself. `None`: it is on no network.
pub(super) fn isolation(camera: &CameraConfig) -> Option<Finding> {
    let SourceConfig::Rtsp(rtsp) = &camera.source else {
        return None;
    };
    let ours = source_towards(place(&rtsp.address)?)?;
    let outwards: Vec<IpAddr> = FAR
        .iter()
        .filter_map(|far| source_towards(far.parse().ok()?))
        .collect();
    Some(judge(ours, &outwards))
}

fn judge(towards_camera: IpAddr, outwards: &[IpAddr]) -> Finding {
    if towards_camera.is_loopback() {
        return Finding::Good("on this machine".into());
    }
    match outwards.contains(&towards_camera) {
        false => Finding::Good("reached over a network of its own".into()),
        true => Finding::Warning(
            "reached over the network that also leads to the internet: whoever is in it may see its pictures, and the camera may send them out itself. Put cameras into a network of their own"
                .into(),
        ),
    }
}

/// Where a camera is, if its name is known.
fn place(address: &CameraAddress) -> Option<SocketAddr> {
    let (host, port) = address.host_and_port();
    (host.as_str(), port).to_socket_addrs().ok()?.next()
}

/// The address from which this machine would reach another one.
fn source_towards(far: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if far.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }
        .parse()
        .ok()?;
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(far).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_good(finding: &Finding) -> bool {
        matches!(finding, Finding::Good(_))
    }

    #[test]
    fn a_hub_that_nobody_looks_after_and_a_change_that_waits_are_warned_of() {
        let good = json!({"supervised": true, "watchdog_s": 120, "waiting": []});
        assert!(of_running(&good).iter().all(|(_, found)| is_good(found)));
        let bad = json!({"supervised": false, "watchdog_s": null, "waiting": ["relay"]});
        for value in [bad, json!({"waiting": ["relay"]})] {
            let found = of_running(&value);
            assert!(
                found
                    .iter()
                    .all(|(_, found)| matches!(found, Finding::Warning(_)))
            );
        }
    }

    #[test]
    fn a_camera_beside_the_internet_is_warned_of() {
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let outwards = [ip("192.168.1.2"), ip("2001:db8::2")];
        assert!(is_good(&judge(ip("10.9.0.1"), &outwards)));
        assert!(is_good(&judge(ip("127.0.0.1"), &outwards)));
        assert!(!is_good(&judge(ip("192.168.1.2"), &outwards)));
        // Without a way out there is none for a camera either.
        assert!(is_good(&judge(ip("192.168.1.2"), &[])));
    }

    #[test]
    fn numbers_that_nobody_could_read_are_said() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert!(is_good(&metrics(address, true)));
        assert!(matches!(
            metrics(address, false),
            Finding::Bad(Code::Network, _)
        ));
        drop(taken);
        assert!(matches!(metrics(address, true), Finding::Warning(_)));
        assert!(is_good(&metrics(address, false)));
    }
}
