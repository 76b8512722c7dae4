//! What fuzzers run: one function for each parser of bytes from outside, and what must hold besides "it
//! does not panic".
//!
//! The functions are in a library of their own so that three may call them: the libFuzzer programs in
//! `crashtest/fuzz` (`cargo xtask fuzz`), which a nightly toolchain builds; the gate, which runs every
//! committed input on the pinned one; and whoever holds an input that once failed. Each takes any bytes and
//! returns, or panics: that is a finding. None may touch a file, a clock or a network.
//!
//! Where bytes are sealed, signed or checksummed, no fuzzer gets past the seal, the signature or the
//! checksum by itself. There an input is a short program that damages sound bytes, and what a malicious
//! other side could make fit again is made to fit: so a fuzzer reaches what lies behind.

mod camera;
mod input;
mod lan;
mod line;
mod log;
mod media;
mod message;
mod motion;
mod offer;
mod pair;
mod pairing;
mod recovery;
mod relay_store;
mod relay_wire;
pub mod seeds;
mod settings;

/// A parser and its function.
#[derive(Clone, Copy)]
pub struct Target {
    /// The name of the libFuzzer program and of its folder of inputs.
    pub name: &'static str,
    /// What is parsed.
    pub what: &'static str,
    /// Whose code does it.
    pub parser: &'static str,
    /// Longest input in bytes that is worth trying.
    pub bytes_max: usize,
    /// Runs one input; panics if something does not hold.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident, $bytes_max:literal, $run:path, $what:literal, $parser:literal;)*) => {
        /// Every parser of bytes from outside.
        pub const TARGETS: &[Target] = &[$(Target {
            name: stringify!($name),
            what: $what,
            parser: $parser,
            bytes_max: $bytes_max,
            run: $run,
        },)*];
    };
}

targets! {
    fields, 256, relay_wire::fields, "the integers that every frame is read with",
        "wire::codec::Reader";
    frame, 4096, relay_wire::frame, "frames between client and relay, state answers among them",
        "wire::Frame::{decode, parse}, wire::FrameHeader::parse";
    relay_answers, 4096, relay_wire::relay_answers, "what a relay's frames do to sender, receiver and mailbox",
        "wire::{sender::Sender, receiver::Receiver, mailbox::Mailbox}";
    relay_store, 4096, relay_store::relay_store, "what admitted devices ask of a relay, in frames",
        "wire::Frame::decode, relay::store::MailboxStore";
    credential, 512, relay_wire::credential, "certificates and invitations, binary and as text",
        "wire::{Certificate, Invitation}::decode and their texts";
    address, 512, relay_wire::address, "relay addresses and the texts of ids",
        "relay_client::RelayAddress, texts of wire's ids";
    raw_key, 256, relay_wire::raw_key, "the raw key that a peer shows in TLS",
        "relay_client::rpk::{ed25519_key, judge}";
    offer, 2048, offer::offer, "the texts of a pairing code and of a device's secret",
        "journal::Offer::from_text, journal::DeviceSecret::from_text";
    lan, 1500, lan::datagram, "datagrams by which a phone finds a hub that pairs",
        "pairing_lan::{Browser, Responder}";
    pairing_message, 24577, pairing::message, "messages of a pairing",
        "journal::PairingMessage::decode";
    pairing_stream, 4096, pairing::stream, "the stream of a pairing's messages, each behind its length",
        "hub::pairing::messages_in";
    pairing_hub, 4096, pairing::hub, "requests and proofs to a hub that pairs",
        "journal::HubPairing";
    pairing_app, 4096, pairing::app, "answers to a phone that pairs",
        "journal::AppPairing";
    printed, 1024, pairing::printed, "the question for a code by a printed secret, and its answer",
        "journal::HubPairing::asked, journal::DeviceSecret::open";
    envelope, 4096, line::envelope, "envelopes of somebody without the pairing's keys",
        "journal's unwrap, by Session::receive and Session::take";
    wrap_body, 4096, line::wrap_body, "all that lies under the wrap",
        "what lies under the wrap, by the same";
    mls_hub, 4096, line::mls_hub, "MLS messages to a hub",
        "journal::Session::receive of a hub, OpenMLS";
    mls_app, 4096, line::mls_app, "MLS messages to an app",
        "journal::Session::take of a phone, OpenMLS";
    message, 4096, message::message, "every message that is said inside MLS",
        "journal::message::decode, of each type";
    said_hub, 4096, line::said_hub, "what a phone says inside MLS, to one session of a hub",
        "journal::Session of a hub, behind MLS";
    hub_core, 4096, line::hub_core, "what a phone says inside MLS, and what a whole hub does with it",
        "hub::core::Core::handle_envelope";
    said_app, 4096, line::said_app, "what a hub says inside MLS, to one session of a phone",
        "journal::Session of a phone, behind MLS";
    app_core, 4096, line::app_core, "what a hub says inside MLS, and what a whole app does with it",
        "app_core::core::Core::deliver, of all channels";
    live_frame, 4096, line::live_frame, "frames of a live session, around and inside MLS",
        "journal::Session::open_live";
    live_run, 1024, line::live_run, "many frames of a live session, as they come to a whole app",
        "app_core::core::Core::open_live";
    statement, 1024, line::statement, "statements about clips that are no more",
        "journal::message::SignedStatement";
    log_record, 4096, log::records, "headers, groups and records of a log file",
        "wal::record::{FileHeader, GroupHeader, Record}::decode";
    recover_engine, 4096, recovery::engine, "a directory of the storage engine",
        "wal::Wal::open";
    recover_journal, 4096, recovery::journal, "a hub's directory, with its vault",
        "journal::Journal::open, of a hub";
    recover_app, 4096, recovery::app, "a phone's directory, with its vault and a clip",
        "journal::Journal::open, of a phone, and its library";
    recover_relay, 4096, recovery::relay, "a relay's directory, spoilt by rot",
        "relay::store::MailboxStore::new and its rows";
    device_secret, 256, settings::device_secret, "the file that provisions a device's secret",
        "hub::secret::read_bytes";
    hub_config, 8192, settings::hub_config, "a hub's configuration file",
        "hub::config::Config::parse";
    relay_config, 8192, settings::relay_config, "a relay's configuration file",
        "relay::config::Config::parse";
    control, 4096, settings::control, "questions to a running hub",
        "hub::control::Request";
    hub_answers, 8192, settings::hub_answers, "what a running hub answers to its command line",
        "hub::control::read_answer, and what each command shows of it";
    metrics_request, 1024, settings::metrics_request, "requests to a hub's page of metrics",
        "hub::metrics::judge";
    person_score, 64, settings::person_score, "what a program answers that hints at persons",
        "hub::person::Score::parse";
    json_line, 8192, settings::json_line, "lines of JSON that one program reads of another",
        "serde_json, a line";
    mp4, 65536, media::mp4, "MP4 files, and the clip that is made of them",
        "hub::camera::demux::Clip::read, hub::segmenter::Segmenter";
    avc, 17000, media::avc, "H.264 decoder configurations",
        "hub::camera::AvcConfig::{parse, parse_in_band}";
    camera_units, 8192, media::units, "what a camera hands out, and the clip that is made of it",
        "hub::segmenter::Segmenter";
    command_stream, 8192, camera::command_stream, "H.264 with start codes, of a program",
        "hub::camera::command::Reader, with the splitter of NAL units and the size of pictures";
    rtsp_frames, 4096, camera::rtsp_frames, "frames of an RTSP camera, as they come out of RTP",
        "hub::camera::rtsp::assembly::Assembly";
    rtsp_times, 4096, camera::rtsp_times, "times of an RTSP camera's pictures, sound and sender reports",
        "hub::camera::rtsp::sync::LipSync";
    codec_configs, 1024, camera::codec_configs, "H.265 and AAC configurations of a camera's description",
        "hub::camera::HevcConfig, hub::media::AacConfig";
    camera_address, 2200, camera::camera_address, "addresses of cameras, with passwords in them",
        "hub::camera::CameraAddress";
    detection, 4096, motion::detection, "what a phone sets at a camera, and pictures under it",
        "hub::config::detection::Detection::with, hub::motion::MotionDetector";
    decoder, 8192, motion::decoder, "compressed pictures to the decoder, and what becomes of them",
        "hub::detector::OpenH264, hub::thumbnail::Thumbnail";
}

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// All targets as a table, for a document.
#[must_use]
pub fn table() -> String {
    let mut out = String::from("| target | bytes of | parsed by | longest |\n|---|---|---|---|\n");
    for target in TARGETS {
        let Target {
            name,
            what,
            parser,
            bytes_max,
            ..
        } = target;
        out.push_str(&format!("| `{name}` | {what} | {parser} | {bytes_max} |\n"));
    }
    out
}

/// Runs one input of a target; one that is longer than is worth trying is passed over.
///
/// # Panics
/// If there is no such target, which is a mistake of the libFuzzer program, and on every finding.
pub fn run(name: &str, data: &[u8]) {
    match target(name) {
        Some(target) if data.len() > target.bytes_max => {}
        Some(target) => (target.run)(data),
        None => panic!("no target is called {name}"),
    }
}
