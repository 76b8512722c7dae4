//! How the malicious relay is told what to do: one line over a socket in its data directory, one line back.
//!
//! Only who plays the attack may tell it; hub and app cannot reach the socket. This room must never decide
//! what an order does.

use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fault::{Fault, Outcome};
use crate::vice::Vice;

/// The socket's name in the relay's data directory.
const SOCKET_NAME: &str = "orders.sock";
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Lie so, with dice of this seed.
    Vice(Vice, u64),
    /// Be honest.
    Behave,
    /// Forget everything that is stored, honestly.
    Empty,
    /// From now on, count what leaves for the first time.
    Mark,
    /// Only answer.
    Look,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vice(vice, seed) => write!(f, "vice {vice} {seed}"),
            Self::Behave => f.write_str("behave"),
            Self::Empty => f.write_str("empty"),
            Self::Mark => f.write_str("mark"),
            Self::Look => f.write_str("look"),
        }
    }
}

impl FromStr for Order {
    type Err = Fault;

    fn from_str(text: &str) -> Outcome<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let unknown = || Fault::Usage(format!("no order is called `{text}`"));
        Ok(match words.as_slice() {
            ["vice", vice, seed] => {
                let seed = seed.parse::<u64>().map_err(|_| unknown())?;
                Self::Vice(vice.parse()?, seed)
            }
            ["behave"] => Self::Behave,
            ["empty"] => Self::Empty,
            ["mark"] => Self::Mark,
            ["look"] => Self::Look,
            _ => return Err(unknown()),
        })
    }
}

/// What it answers: counts only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Look {
    /// Lies that it has told.
    pub lies: u64,
    /// Ends of mailboxes that were ever attached, without those that a hub has given up.
    pub ends: u64,
    /// Those of them, on the hubs' side, that have not been attached since the last order that closed the connections.
    pub waiting_hub: u64,
    /// The same on the phones' side.
    pub waiting_phone: u64,
    /// Envelopes stored.
    pub stored: u64,
    /// Envelopes that hubs sent for the first time since the last mark.
    pub fresh_hub: u64,
    /// The same of phones.
    pub fresh_phone: u64,
    /// Those of hubs that came into mailboxes which a hub had given up before.
    pub fresh_gone: u64,
}

impl Look {
    /// One line of JSON.
    #[must_use]
    pub fn to_json(self) -> Value {
        json!({
            "lies": self.lies,
            "ends": self.ends,
            "waiting_hub": self.waiting_hub,
            "waiting_phone": self.waiting_phone,
            "stored": self.stored,
            "fresh_hub": self.fresh_hub,
            "fresh_phone": self.fresh_phone,
            "fresh_gone": self.fresh_gone,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let number = |key: &str| value.get(key).and_then(Value::as_u64);
        Some(Self {
            lies: number("lies")?,
            ends: number("ends")?,
            waiting_hub: number("waiting_hub")?,
            waiting_phone: number("waiting_phone")?,
            stored: number("stored")?,
            fresh_hub: number("fresh_hub")?,
            fresh_phone: number("fresh_phone")?,
            fresh_gone: number("fresh_gone")?,
        })
    }
}

/// Where the socket of a relay with this data directory lies.
#[must_use]
pub fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET_NAME)
}

/// Tells a running malicious relay, and waits until it has obeyed.
///
/// # Errors
/// [`Fault::Machine`] if none runs there, [`Fault::Nonsense`] if it answers nonsense.
pub fn tell(data_dir: &Path, order: Order) -> Outcome<Look> {
    let said = exchange(data_dir, order).map_err(Fault::machine("an order to the relay"))?;
    let look = serde_json::from_str(&said)
        .ok()
        .and_then(|value: Value| Look::from_json(&value));
    look.ok_or(Fault::Nonsense(said))
}

fn exchange(data_dir: &Path, order: Order) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket(data_dir))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(format!("{order}\n").as_bytes())?;
    let mut said = String::new();
    BufReader::new(stream).read_line(&mut said)?;
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_answers_come_back() {
        let orders = [
            Order::Vice(Vice::ForgeReceipts, 7),
            Order::Behave,
            Order::Empty,
            Order::Mark,
            Order::Look,
        ];
        for order in orders {
            assert_eq!(order.to_string().parse::<Order>().unwrap(), order);
        }
        for text in ["", "vice", "vice drop", "vice drop x", "behave now"] {
            assert!(text.parse::<Order>().is_err(), "{text}");
        }
        let look = Look {
            lies: 1,
            ends: 2,
            waiting_hub: 3,
            waiting_phone: 4,
            stored: 5,
            fresh_hub: 6,
            fresh_phone: 7,
            fresh_gone: 8,
        };
        assert_eq!(Look::from_json(&look.to_json()), Some(look));
    }
}
