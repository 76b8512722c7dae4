//! The sockets of both sides: moves datagrams between the machines without IO and one interface.
//!
//! It decides nothing. It must never listen on more than that interface, nor fail a pairing: an offer that cannot be
//! announced is good all the same, for who has its address.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::pin;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, sleep_until};

use crate::announce::{Announcement, Responder};
use crate::browse::{Browser, CANDIDATES_MAX};
use crate::{DATAGRAM_BYTES_MAX, GROUP, MDNS_PORT, OfferTag};

/// Hops: whoever hears it can tell that it was sent on this link (RFC 6762, section 11).
const HOPS: u32 = 255;
/// After a datagram that could not be received, so that an interface that is gone costs nothing.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);
/// A documentation address (RFC 5737): routed like any far host, never contacted.
const FAR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 9);

/// One network that this machine is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lan {
    /// The interface, by an address that it has.
    pub interface: Ipv4Addr,
    /// [`MDNS_PORT`], but for a test.
    pub port: u16,
}

impl Lan {
    /// The network of the interface with this address.
    pub fn at(interface: Ipv4Addr) -> Self {
        Self {
            interface,
            port: MDNS_PORT,
        }
    }

    /// Whether this machine can announce there. Nothing is sent.
    ///
    /// # Errors
    /// No interface has the address, or another program has the port for itself.
    pub fn check(self) -> io::Result<()> {
        group_socket(self).map(drop)
    }

    /// The network through which this machine reaches others. Nothing is sent to find out: a UDP socket that is
    /// "connected" only asks the routing table.
    pub fn of_default_route() -> Option<Self> {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(FAR).ok()?;
        match socket.local_addr().ok()?.ip() {
            IpAddr::V4(interface) => Some(Self::at(interface)),
            IpAddr::V6(_) => None,
        }
    }
}

/// In which network somebody announces, or looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Where {
    /// In the one through which this machine reaches others.
    #[default]
    DefaultRoute,
    /// In this one.
    At(Lan),
    /// In none.
    Nowhere,
}

impl Where {
    /// The network, if there is one.
    pub fn lan(self) -> Option<Lan> {
        match self {
            Self::DefaultRoute => Lan::of_default_route(),
            Self::At(lan) => Some(lan),
            Self::Nowhere => None,
        }
    }
}

/// Announces an offer while `work` goes on, and says goodbye when that ends or is dropped.
pub async fn announce_while<T>(lan: Lan, said: Announcement, work: impl Future<Output = T>) -> T {
    let socket = match responder_socket(lan) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(%error, interface = %lan.interface, "an open offer is not announced in the local network; the addresses in its code hold");
            return work.await;
        }
    };
    let mut announced = Announced {
        responder: Responder::new(said, lan.port, 0),
        socket,
        group: SocketAddrV4::new(GROUP, lan.port),
    };
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => done,
        never = announced.run() => match never {},
    }
}

struct Announced {
    responder: Responder,
    socket: UdpSocket,
    group: SocketAddrV4,
}

impl Announced {
    async fn run(&mut self) -> Infallible {
        let start = Instant::now();
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        loop {
            while let Some(said) = self.responder.poll_transmit(millis_since(start)) {
                self.send(&said, self.group).await;
            }
            let due = self.responder.poll_timeout();
            let received = tokio::select! {
                biased;
                () = until(start, due) => continue,
                received = self.socket.recv_from(&mut datagram) => received,
            };
            let Some((packet, from)) = taken(received, &datagram).await else {
                continue;
            };
            let reply = self.responder.handle(packet, from, millis_since(start));
            if let Some(reply) = reply {
                self.send(&reply, from).await;
            }
        }
    }

    async fn send(&self, said: &[u8], to: SocketAddrV4) {
        if let Err(error) = self.socket.send_to(said, to).await {
            tracing::debug!(%error, "an announcement was not sent");
        }
    }
}

impl Drop for Announced {
    /// Where the work was dropped nobody could wait any more; who hears none believes it for two minutes.
    fn drop(&mut self) {
        let goodbye = self.responder.goodbye();
        if let Err(error) = self.socket.try_send_to(&goodbye, self.group.into()) {
            tracing::debug!(%error, "the end of an announcement was not sent");
        }
    }
}

/// A search for hubs that pair.
pub struct Browse {
    browser: Browser,
    socket: UdpSocket,
    group: SocketAddrV4,
    start: Instant,
    /// At most [`CANDIDATES_MAX`].
    found: VecDeque<SocketAddr>,
}

impl Browse {
    /// Begins; asks when somebody waits for [`Self::next`]. `id` is at random.
    ///
    /// # Errors
    /// There is no such interface, or no socket.
    pub fn start(lan: Lan, wanted: Option<OfferTag>, id: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddrV4::new(lan.interface, 0).into())?;
        socket.set_multicast_if_v4(&lan.interface)?;
        socket.set_multicast_ttl_v4(HOPS)?;
        Ok(Self {
            browser: Browser::new(id, wanted, 0),
            socket: UdpSocket::from_std(socket.into())?,
            group: SocketAddrV4::new(GROUP, lan.port),
            start: Instant::now(),
            found: VecDeque::with_capacity(CANDIDATES_MAX),
        })
    }

    /// Where a hub may be that was not named before; waits until somebody says so, for ever. May be dropped at any
    /// await.
    pub async fn next(&mut self) -> SocketAddr {
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        loop {
            if let Some(found) = self.found.pop_front() {
                return found;
            }
            if let Some(question) = self.browser.poll_transmit(millis_since(self.start))
                && let Err(error) = self.socket.send_to(&question, self.group).await
            {
                tracing::debug!(%error, "the local network was not asked");
            }
            let received = tokio::select! {
                biased;
                () = until(self.start, Some(self.browser.poll_timeout())) => continue,
                received = self.socket.recv_from(&mut datagram) => received,
            };
            if let Some((packet, from)) = taken(received, &datagram).await {
                self.found.extend(self.browser.handle(packet, from));
            }
        }
    }
}

pub(crate) fn responder_socket(lan: Lan) -> io::Result<UdpSocket> {
    UdpSocket::from_std(group_socket(lan)?)
}

/// Hears what is said to the group on this interface, and nothing else.
fn group_socket(lan: Lan) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    // Others of this machine have the port too.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // To the group and not to any address: who is not on this link cannot send there.
    socket.bind(&SocketAddrV4::new(GROUP, lan.port).into())?;
    // Else it would hear what came to an interface that another program joined on.
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v4(false)?;
    socket.join_multicast_v4(&GROUP, &lan.interface)?;
    socket.set_multicast_if_v4(&lan.interface)?;
    socket.set_multicast_ttl_v4(HOPS)?;
    // An answer to one goes no further than this link, whatever address the question claims.
    socket.set_ttl_v4(1)?;
    Ok(socket.into())
}

/// What was received, if it is anything of ours.
async fn taken(
    received: io::Result<(usize, SocketAddr)>,
    datagram: &[u8],
) -> Option<(&[u8], SocketAddrV4)> {
    match received {
        Ok((length, SocketAddr::V4(from))) => Some((datagram.get(..length)?, from)),
        Ok((_, SocketAddr::V6(_))) => None,
        Err(error) => {
            tracing::debug!(%error, "nothing could be received of the local network");
            sleep(TROUBLE_PAUSE).await;
            None
        }
    }
}

fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

async fn until(start: Instant, due_ms: Option<u64>) {
    match due_ms {
        Some(due_ms) => sleep_until(start + Duration::from_millis(due_ms)).await,
        None => std::future::pending().await,
    }
}
