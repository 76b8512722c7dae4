//! What the cryptography costs by itself, so that a reader can tell it from storage.

use std::hint::black_box;

use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use journal::CHUNK_BYTES_MAX;
use openmls_basic_credential::SignatureKeyPair;
use openmls_libcrux_crypto::CryptoProvider;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::signatures::Signer as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::hub::noise;
use crate::measure::{Samples, timed};
use crate::report::{Figure, Question, Target};
use crate::{Outcome, Scale};

/// What is asked.
pub(crate) const QUESTIONS: [Question; 1] = [Question {
    key: "aead",
    title: "the suite's AEAD alone, full chunks",
    unit: "MB/s",
    target: Target::None,
}];

/// Chunks of work between two looks at the clock.
const REPEATS: usize = 16;

/// One contender: a name and something done to a chunk.
struct Primitive<'a> {
    name: &'static str,
    action: Box<dyn FnMut(&[u8]) -> Outcome<()> + 'a>,
}

/// Throughputs over full chunks, interleaved, by CPU time: a busy machine does not count.
pub(crate) fn run(scale: Scale) -> Outcome<Vec<Figure>> {
    let suite = journal::Suite::XWing.ciphersuite();
    let provider = CryptoProvider::new()?;
    let signer = SignatureKeyPair::new(suite.signature_algorithm())?;
    let wrap = XChaCha20Poly1305::new(&Key::from([7; 32]));
    let mut primitives = [
        Primitive {
            name: "suite's ChaCha20-Poly1305 (libcrux)",
            action: Box::new(|chunk| {
                let sealed = provider.aead_encrypt(
                    suite.aead_algorithm(),
                    &[7; 32],
                    chunk,
                    &[3; 12],
                    b"aad",
                )?;
                black_box(sealed);
                Ok(())
            }),
        },
        Primitive {
            name: "XChaCha20-Poly1305 (wrap, sealed values)",
            action: Box::new(|chunk| {
                let sealed = wrap.encrypt(&XNonce::from([3; 24]), chunk);
                black_box(sealed.map_err(|_| "XChaCha20-Poly1305 refused")?);
                Ok(())
            }),
        },
        Primitive {
            name: "Ed25519 signature of a chunk",
            action: Box::new(|chunk| {
                black_box(signer.sign(chunk).map_err(|error| format!("{error:?}"))?);
                Ok(())
            }),
        },
        Primitive {
            name: "SHA-256",
            action: Box::new(|chunk| {
                black_box(Sha256::digest(chunk));
                Ok(())
            }),
        },
    ];
    let chunk = noise(CHUNK_BYTES_MAX);
    let mut rates = vec![Samples::default(); primitives.len()];
    for _ in 0..scale.rounds(10, 40) {
        for (primitive, rates) in primitives.iter_mut().zip(&mut rates) {
            let (result, cost) =
                timed(|| (0..REPEATS).try_for_each(|_| (primitive.action)(&chunk)));
            result?;
            rates.push((REPEATS * CHUNK_BYTES_MAX) as f64 / cost.cpu_s / 1e6);
        }
    }
    let Some(suite_rate) = rates.first() else {
        return Err("there are primitives".into());
    };
    let [aead] = QUESTIONS;
    let mut figure = aead.answer_by(suite_rate);
    for (primitive, rates) in primitives.iter().zip(&rates) {
        figure = figure.with(primitive.name, rate(rates));
    }
    Ok(vec![figure])
}

fn rate(samples: &Samples) -> Value {
    let us_per_chunk = CHUNK_BYTES_MAX as f64 / samples.median();
    json!({ "mb_per_s": samples.median().round(), "us_per_chunk": us_per_chunk.round() })
}
