//! An RTSP camera for tests: login by digest or basic, RTP in the TCP connection, H.264 or H.265 from
//! pictures that the test gives, with or without AAC; and everything that a real camera does wrong.
//!
//! ```text
//! TestCamera::start(Config) -> url()          kill() and start_at() are a restart
//! set_mood(Stalled | Rubbish(0) | ..)         from the next picture on
//! play(Scene)                                 another resolution
//! ```
//!
//! It is for tests alone: it trusts its client, takes what fits its buffers, and must never be in a
//! program that is shipped.
#![forbid(unsafe_code)]

mod login;
mod rtp;
mod session;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The name that a camera with login asks for.
pub const USER: &str = "admin";
/// The password that a camera with login asks for.
pub const PASSWORD: &str = "s3cret";
/// The `AudioSpecificConfig` of the sound: AAC LC, 8 kHz, one channel.
pub const AUDIO_CONFIG: [u8; 2] = [0x15, 0x88];
/// Samples a second of the sound.
pub const AUDIO_RATE: u32 = 8000;
/// Samples of one frame of the sound.
pub const AUDIO_FRAME_SAMPLES: u32 = 1024;

/// One picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Its NAL units, without length or start code.
    pub nals: Vec<Bytes>,
    /// When it is shown, in ticks of 1/90,000 s since the beginning of the scene.
    pub pts: u64,
    /// When it is sent, in the same ticks. Never falls.
    pub dts: u64,
}

/// What is played, again and again. At least one picture, and the first can be decoded by itself.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Video parameter set. What has one is H.265, all else H.264.
    pub vps: Option<Bytes>,
    /// Sequence parameter set.
    pub sps: Bytes,
    /// Picture parameter set.
    pub pps: Bytes,
    /// In the order of decoding.
    pub pictures: Vec<Picture>,
    /// How long one pass lasts, in ticks of 1/90,000 s.
    pub duration: u64,
}

/// How the camera asks who is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoginKind {
    /// It does not.
    Open,
    /// RFC 2617, basic.
    Basic,
    /// RFC 2617, digest with MD5.
    Digest,
}

/// Whether there is sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sound {
    /// No.
    None,
    /// AAC, from a microphone that is [`Microphone::GOOD`]. What is in a frame is its number, in four bytes.
    Aac,
    /// The same, from another one.
    AacOf(Microphone),
}

impl Sound {
    fn microphone(self) -> Option<Microphone> {
        match self {
            Self::None => None,
            Self::Aac => Some(Microphone::GOOD),
            Self::AacOf(microphone) => Some(microphone),
        }
    }
}

/// A microphone, and what the camera says of how sound and pictures lie to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Microphone {
    /// By how many parts in a million its clock is fast.
    pub fast_ppm: u32,
    /// When it begins, in ticks of 1/90,000 s since the beginning of the scene.
    pub begins: u64,
    /// Whether the answer to PLAY says with which times both streams begin.
    pub tells_rtptime: bool,
    /// Whether each second of the scene brings a sender report of both streams (RFC 3550, section 6.4.1).
    pub reports: bool,
}

impl Microphone {
    /// One that runs with the pictures, of a camera that sends no reports.
    pub const GOOD: Self = Self {
        fast_ppm: 0,
        begins: 0,
        tells_rtptime: true,
        reports: false,
    };

    /// How many samples its clock counts until then, in ticks of 1/90,000 s.
    fn samples(self, ticks: u64) -> u64 {
        let clock = 1_000_000 + u128::from(self.fast_ppm);
        let samples = u128::from(ticks) * u128::from(AUDIO_RATE) * clock;
        (samples / (90_000 * 1_000_000)) as u64
    }
}

/// What the camera does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// What it should.
    Good,
    /// It keeps the connection and sends nothing.
    Stalled,
    /// It sends bytes that are no packets.
    Garbage,
    /// It leaves out every 97th packet, and counts on.
    Lossy,
    /// It sends good RTP packets of pictures and of sound, with rubbish in them behind so many bytes. With 0 there is
    /// nothing that could be put together. Behind 4 there are no headers any more: all can be, and is rubbish.
    Rubbish(usize),
}

/// A camera.
#[derive(Clone, Debug)]
pub struct Config {
    /// How it asks who is there.
    pub login: LoginKind,
    /// Whether it has sound.
    pub sound: Sound,
    /// What it plays first.
    pub scene: Scene,
    /// How many times faster than real time.
    pub speed: u32,
}

/// What all connections of a camera share.
struct Shared {
    login: LoginKind,
    sound: Sound,
    speed: u32,
    scene: watch::Receiver<Arc<Scene>>,
    mood: watch::Receiver<Mood>,
    refused: AtomicU32,
    played: AtomicU32,
    pictures: watch::Sender<u32>,
    connected: AtomicU32,
    attached: AtomicU32,
}

/// A camera that runs until it is dropped.
pub struct TestCamera {
    address: SocketAddr,
    shared: Arc<Shared>,
    scene: watch::Sender<Arc<Scene>>,
    mood: watch::Sender<Mood>,
    task: JoinHandle<()>,
}

impl TestCamera {
    /// Starts it on a port that the system chooses.
    ///
    /// # Errors
    /// The system's.
    pub async fn start(config: Config) -> io::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), config).await
    }

    /// Starts it where one was before: a camera that was restarted.
    ///
    /// # Errors
    /// The system's.
    pub async fn start_at(address: SocketAddr, config: Config) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Connections of the one before may linger.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(16)?;
        let address = listener.local_addr()?;
        let (scene, scenes) = watch::channel(Arc::new(config.scene));
        let (mood, moods) = watch::channel(Mood::Good);
        let shared = Arc::new(Shared {
            login: config.login,
            sound: config.sound,
            speed: config.speed.max(1),
            scene: scenes,
            mood: moods,
            refused: AtomicU32::new(0),
            played: AtomicU32::new(0),
            pictures: watch::Sender::new(0),
            connected: AtomicU32::new(0),
            attached: AtomicU32::new(0),
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            scene,
            mood,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address, without name and password.
    pub fn url(&self) -> String {
        format!("rtsp://{}/cam", self.address)
    }

    /// Changes what it does.
    pub fn set_mood(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Plays something else from the next picture on.
    pub fn play(&self, scene: Scene) {
        self.scene.send_replace(Arc::new(scene));
    }

    /// How often a name or a password was wrong.
    pub fn refused(&self) -> u32 {
        self.shared.refused.load(Ordering::SeqCst)
    }

    /// How often somebody began to watch.
    pub fn played(&self) -> u32 {
        self.shared.played.load(Ordering::SeqCst)
    }

    /// Waits until so many pictures were sent, to whomever.
    pub async fn has_sent(&self, pictures: u32) {
        let mut sent = self.shared.pictures.subscribe();
        // The sender is ours.
        let _reached = sent.wait_for(|sent| *sent >= pictures).await;
    }

    /// How many connections were ever made.
    pub fn connected(&self) -> u32 {
        self.shared.connected.load(Ordering::SeqCst)
    }

    /// How many connections there are now.
    pub fn attached(&self) -> u32 {
        self.shared.attached.load(Ordering::SeqCst)
    }

    /// Ends it and all its connections at once, as pulling the plug does.
    pub async fn kill(mut self) {
        self.task.abort();
        let _aborted = (&mut self.task).await;
    }
}

impl Drop for TestCamera {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection that is counted for as long as there is one.
struct Attached(Arc<Shared>);

impl Attached {
    fn new(shared: Arc<Shared>) -> Self {
        shared.attached.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.attached.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // They end with this task.
    let mut talks = JoinSet::new();
    while let Ok((stream, _peer)) = listener.accept().await {
        shared.connected.fetch_add(1, Ordering::SeqCst);
        let attached = Attached::new(Arc::clone(&shared));
        talks.spawn(async move {
            // A client that hangs up is the usual end.
            let _ended = session::run(stream, &attached.0).await;
        });
        while talks.try_join_next().is_some() {}
    }
}

/// Ticks of 1/90,000 s as time, at a speed.
fn ticks(ticks: u64, speed: u32) -> Duration {
    Duration::from_micros(ticks * 100 / 9) / speed
}
