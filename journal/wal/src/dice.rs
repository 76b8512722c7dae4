//! Randomness as an argument: life ids must be unpredictable in the field and repeatable in tests.
//!
//! Nothing here may be used for keys in a test build's shape: `SeededDice` is for simulations.

/// A source of random bytes.
pub trait Dice: Send {
    /// Fills `out` with random bytes. Panics if the operating system has none: a log file without
    /// a random life id could bring dead records back to life.
    fn fill(&mut self, out: &mut [u8]);
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDice;

impl Dice for OsDice {
    #[expect(clippy::disallowed_methods, reason = "This is where the dice enter.")]
    fn fill(&mut self, out: &mut [u8]) {
        if let Err(error) = getrandom::fill(out) {
            panic!("the operating system gave no random bytes: {error}");
        }
    }
}

/// A repeatable generator (splitmix64) for simulations, never for secrets.
#[derive(Clone, Debug)]
pub struct SeededDice(pub u64);

impl SeededDice {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (which must not be zero).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound.max(1)
    }
}

impl Dice for SeededDice {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(bytes) {
                *to = from;
            }
        }
    }
}
