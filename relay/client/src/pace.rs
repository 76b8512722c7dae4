//! What may wait inside QUIC: twice what the network takes, and no more.
//!
//! Whose turn it is on a shared connection is decided when bytes are handed over, and what lies in QUIC's buffer is past
//! deciding. A fixed buffer of megabytes is many seconds of a home's uplink: a clip that fills it keeps live pictures and
//! the next event's picture waiting until they are late. So the buffer follows the congestion window: one window is under
//! way, one lies ready for the acknowledgements to come. Whoever sends much calls this with every envelope; it costs a
//! lock. It must never be smaller than what a connection may send before its first acknowledgement.

/// The least that may wait, in bytes: a second of the slowest line on which live pictures make sense, 256 kbit/s. It is
/// more than the first congestion window (RFC 9002, 7.2).
const SEND_WINDOW_BYTES_MIN: u64 = 32 * 1024;

/// Lets this connection buffer twice its congestion window, within `most` bytes.
pub fn follow_network(connection: &quinn::Connection, most: u64) {
    let congestion_window = connection.stats().path.cwnd;
    connection.set_send_window(send_window_bytes(congestion_window, most));
}

fn send_window_bytes(congestion_window: u64, most: u64) -> u64 {
    let twice = congestion_window.saturating_mul(2);
    twice.max(SEND_WINDOW_BYTES_MIN).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_buffer_follows_what_the_network_takes_within_its_bounds() {
        assert_eq!(send_window_bytes(0, u64::MAX), SEND_WINDOW_BYTES_MIN);
        assert_eq!(send_window_bytes(100_000, 1 << 23), 200_000);
        assert_eq!(send_window_bytes(u64::MAX, 1 << 23), 1 << 23);
    }
}
