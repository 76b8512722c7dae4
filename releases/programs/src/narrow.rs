//! A link to the relay that is narrower than a machine's own: what programs send through it leaves at so many bits a
//! second, waits in a short queue before that, and is lost where the queue is full, as at a home's router.
//!
//! Only the way to the relay is narrow; what comes back passes at once. It looks into nothing, and it must never
//! change or reorder what it passes on.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::failure::{Because, Outcome};

/// The longest that a packet waits; one that would have to wait longer is lost.
const QUEUE_MAX: Duration = Duration::from_millis(200);
/// Packets that wait; the time bounds them long before, unless they are tiny.
const PACKETS_MAX: usize = 4096;
/// Who sends through the link, every new connection's socket counted.
const SENDERS_MAX: usize = 32;
/// The largest packet that UDP can carry.
const PACKET_BYTES_MAX: usize = 65_536;
/// How often a thread that has nothing to do looks whether the link is over.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// When packets leave a link of a fixed rate. Pure: times and sizes in, times out.
#[derive(Debug, Clone, Copy)]
pub struct Pacer {
    bytes_per_s: u64,
    /// When the last packet has left.
    free_at: Duration,
}

impl Pacer {
    /// A link that is free.
    pub fn new(bits_per_s: u64) -> Self {
        Self {
            bytes_per_s: (bits_per_s / 8).max(1),
            free_at: Duration::ZERO,
        }
    }

    /// A packet comes at `now`, by a clock that never falls: when it has left the link, or `None` if there is no room
    /// for it.
    pub fn handle_packet(&mut self, bytes: usize, now: Duration) -> Option<Duration> {
        let begins = self.free_at.max(now);
        if begins.saturating_sub(now) > QUEUE_MAX {
            return None;
        }
        let nanos = (bytes as u128 * 1_000_000_000) / u128::from(self.bytes_per_s);
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.free_at = begins.saturating_add(takes);
        Some(self.free_at)
    }
}

/// A packet and when it has left the link.
struct Queued {
    leaves: Instant,
    bytes: Vec<u8>,
}

/// What all threads of a link share.
struct Shared {
    front: UdpSocket,
    relay: SocketAddr,
    bits_per_s: u64,
    began: Instant,
    is_over: AtomicBool,
    passed_bytes: AtomicU64,
    lost_packets: AtomicU64,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// A running link; it ends with this value.
pub struct NarrowLink {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl NarrowLink {
    /// A link to `relay`, such as `127.0.0.1:4433`. Each sender has the whole rate for itself.
    ///
    /// # Errors
    /// No address, or no socket.
    pub fn start(relay: &str, bits_per_s: u64) -> Outcome<Self> {
        let relay = relay
            .parse::<SocketAddr>()
            .because(&format!("{relay} is no address of a relay"))?;
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).because("cannot open a socket")?;
        let address = front
            .local_addr()
            .because("cannot ask a socket where it is")?;
        front
            .set_read_timeout(Some(LOOK_INTERVAL))
            .because("cannot set a socket's patience")?;
        let shared = Arc::new(Shared {
            front,
            relay,
            bits_per_s,
            began: Instant::now(),
            is_over: AtomicBool::new(false),
            passed_bytes: AtomicU64::new(0),
            lost_packets: AtomicU64::new(0),
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || accept(&of_thread));
        Ok(Self {
            shared,
            address,
            thread: Some(thread),
        })
    }

    /// Where programs find the relay through it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes of packets that have left it towards the relay.
    pub fn passed_bytes(&self) -> u64 {
        self.shared.passed_bytes.load(Ordering::Relaxed)
    }

    /// Packets that there was no room for.
    pub fn lost_packets(&self) -> u64 {
        self.shared.lost_packets.load(Ordering::Relaxed)
    }
}

impl Drop for NarrowLink {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends within a look or two. If it panicked, the link is over as well.
            let _ = thread.join();
        }
    }
}

/// One who sends.
struct Sender {
    pacer: Pacer,
    packets: SyncSender<Queued>,
    threads: [JoinHandle<()>; 2],
}

impl Sender {
    fn start(shared: &Arc<Shared>, client: SocketAddr) -> io::Result<Self> {
        let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        back.connect(shared.relay)?;
        back.set_read_timeout(Some(LOOK_INTERVAL))?;
        let back = Arc::new(back);
        let (packets, waiting) = sync_channel(PACKETS_MAX);
        let there = (Arc::clone(shared), Arc::clone(&back));
        let home = Arc::clone(shared);
        Ok(Self {
            pacer: Pacer::new(shared.bits_per_s),
            packets,
            threads: [
                std::thread::spawn(move || send(&there.0, &there.1, &waiting)),
                std::thread::spawn(move || bring_back(&home, &back, client)),
            ],
        })
    }
}

/// Takes what programs send, each from its own address.
fn accept(shared: &Arc<Shared>) {
    let mut senders: BTreeMap<SocketAddr, Sender> = BTreeMap::new();
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    while !shared.is_over() {
        let Ok((bytes, client)) = shared.front.recv_from(&mut buffer) else {
            // Nothing came for a while.
            continue;
        };
        if !senders.contains_key(&client) {
            if senders.len() == SENDERS_MAX {
                continue;
            }
            let Ok(sender) = Sender::start(shared, client) else {
                continue;
            };
            senders.insert(client, sender);
        }
        let Some(sender) = senders.get_mut(&client) else {
            continue;
        };
        let leaves = sender.pacer.handle_packet(bytes, shared.began.elapsed());
        let queued = leaves.map(|leaves| Queued {
            leaves: shared.began + leaves,
            bytes: buffer[..bytes].to_vec(),
        });
        if queued.is_none_or(|queued| sender.packets.try_send(queued).is_err()) {
            shared.lost_packets.fetch_add(1, Ordering::Relaxed);
        }
    }
    for sender in senders.into_values() {
        drop(sender.packets);
        for thread in sender.threads {
            // As above: it ends with the link.
            let _ = thread.join();
        }
    }
}

fn send(shared: &Shared, back: &UdpSocket, waiting: &Receiver<Queued>) {
    for packet in waiting {
        if shared.is_over() {
            return;
        }
        std::thread::sleep(packet.leaves.saturating_duration_since(Instant::now()));
        // A relay that is gone takes nothing; whoever sent finds out by itself.
        if back.send(&packet.bytes).is_ok() {
            let bytes = packet.bytes.len() as u64;
            shared.passed_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

fn bring_back(shared: &Shared, back: &UdpSocket, client: SocketAddr) {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    while !shared.is_over() {
        if let Ok(bytes) = back.recv(&mut buffer) {
            // As above, for who is gone here.
            let _ = shared.front.send_to(&buffer[..bytes], client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_at_the_rate_and_none_waits_longer_than_the_queue() {
        // A thousand bytes a millisecond.
        let mut pacer = Pacer::new(8_000_000);
        let ms = Duration::from_millis;
        assert_eq!(pacer.handle_packet(1_000, ms(10)), Some(ms(11)));
        assert_eq!(pacer.handle_packet(2_000, ms(10)), Some(ms(13)));
        // What is idle saves nothing up.
        assert_eq!(pacer.handle_packet(1_000, ms(500)), Some(ms(501)));
        let taken = (0..1_000).filter_map(|_| pacer.handle_packet(1_000, ms(600)));
        let left: Vec<Duration> = taken.collect();
        assert_eq!(left.len(), 201);
        assert_eq!(left.last(), Some(&ms(801)));
        // There is room again as soon as some has left.
        assert!(pacer.handle_packet(1_000, ms(600)).is_none());
        assert_eq!(pacer.handle_packet(1_000, ms(602)), Some(ms(802)));
    }

    #[test]
    fn what_is_sent_through_it_arrives_and_so_does_the_answer() {
        let relay = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        relay
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let link = NarrowLink::start(&relay.local_addr().unwrap().to_string(), 8_000_000).unwrap();
        let program = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        program
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut buffer = [0; 100];
        for number in 0..3_u8 {
            program.send_to(&[number; 40], link.address()).unwrap();
            let (bytes, from) = relay.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..bytes], [number; 40]);
            relay.send_to(&[number + 1; 10], from).unwrap();
            let (bytes, _) = program.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..bytes], [number + 1; 10]);
        }
        assert_eq!((link.lost_packets(), link.passed_bytes()), (0, 120));
    }

    #[test]
    fn a_relay_without_an_address_is_refused() {
        assert!(NarrowLink::start("relay", 1_000).is_err());
    }
}
