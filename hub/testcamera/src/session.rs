//! One connection: requests and answers (RFC 2326), and the packets of the stream between them.
//!
//! It must never send before PLAY, nor after the client has hung up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};

use crate::rtp::{self, Codec, Stream};
use crate::{
    AUDIO_CONFIG, AUDIO_FRAME_SAMPLES, AUDIO_RATE, Microphone, Mood, Scene, Shared, Sound, login,
    ticks,
};

/// The longest request.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
const SESSION: &str = "12345678";
/// Where the RTP times of pictures and sound begin: not at zero, and not together.
const PICTURE_TIME: u32 = 0xFFFF_F000;
const SOUND_TIME: u32 = 777;
/// What the camera's own clock says at the beginning of a scene, as NTP has it.
const NTP_TIME: u64 = 0xEA00_0000 << 32;
/// From one sender report to the next, in ticks of 1/90,000 s.
const REPORT_TICKS: u64 = 90_000;
/// Where their numbers begin.
const PICTURE_SEQ: u16 = 65_500;
const SOUND_SEQ: u16 = 100;

/// A request line with the headers that matter.
struct Request {
    method: String,
    uri: String,
    cseq: String,
    transport: Option<String>,
    authorization: Option<String>,
}

/// Talks until the client hangs up.
pub(crate) async fn run(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    let mut player: Option<Player> = None;
    loop {
        while let Some(request) = take_request(&mut buffer) {
            let starts = answer(&mut stream, shared, &request).await?;
            if starts {
                shared.played.fetch_add(1, Ordering::SeqCst);
                player = Some(Player::new(shared));
            }
            if request.method == "TEARDOWN" {
                return Ok(());
            }
        }
        if buffer.len() > REQUEST_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut read = [0; 2048];
        tokio::select! {
            bytes = stream.read(&mut read) => match bytes? {
                0 => return Ok(()),
                bytes => buffer.extend_from_slice(&read[..bytes]),
            },
            packets = next_packets(&mut player, shared) => {
                for packet in packets {
                    stream.write_all(&packet).await?;
                }
            }
        }
    }
}

async fn next_packets(player: &mut Option<Player>, shared: &Shared) -> Vec<Vec<u8>> {
    match player {
        Some(player) => player.next(shared).await,
        None => std::future::pending().await,
    }
}

/// Takes a whole request off the buffer; interleaved packets of the client (its reports) are dropped.
fn take_request(buffer: &mut Vec<u8>) -> Option<Request> {
    while buffer.first() == Some(&b'$') {
        let length = u16::from_be_bytes([*buffer.get(2)?, *buffer.get(3)?]);
        let end = 4 + usize::from(length);
        if buffer.len() < end {
            return None;
        }
        buffer.drain(..end);
    }
    let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, uri) = (word(), word());
    let header = |name: &str| {
        text.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    Some(Request {
        method,
        uri,
        cseq: header("CSeq").unwrap_or_default(),
        transport: header("Transport"),
        authorization: header("Authorization"),
    })
}

/// Answers a request; true if the stream begins.
async fn answer(stream: &mut TcpStream, shared: &Shared, request: &Request) -> io::Result<bool> {
    let method = request.method.as_str();
    let given = request.authorization.as_deref();
    let (status, headers, body) = if !login::is_owner(shared.login, method, given) {
        if given.is_some() {
            shared.refused.fetch_add(1, Ordering::SeqCst);
        }
        let challenge = login::challenge(shared.login).unwrap_or_default();
        let headers = format!("WWW-Authenticate: {challenge}\r\n");
        ("401 Unauthorized", headers, String::new())
    } else if !request.uri.contains("/cam") {
        ("404 Not Found", String::new(), String::new())
    } else {
        let base = request.uri.split("/cam").next().unwrap_or_default();
        let base = format!("{base}/cam/");
        match method {
            "DESCRIBE" => {
                let scene = Arc::clone(&shared.scene.borrow());
                let headers = format!("Content-Type: application/sdp\r\nContent-Base: {base}\r\n");
                ("200 OK", headers, describe(&scene, shared.sound))
            }
            "SETUP" => match &request.transport {
                Some(transport) if transport.contains("interleaved=") => {
                    let headers =
                        format!("Transport: {transport}\r\nSession: {SESSION};timeout=60\r\n");
                    ("200 OK", headers, String::new())
                }
                _ => ("461 Unsupported Transport", String::new(), String::new()),
            },
            "PLAY" => {
                let microphone = shared.sound.microphone();
                let is_told = microphone.is_none_or(|microphone| microphone.tells_rtptime);
                let begins = |time: u32| match is_told {
                    true => format!(";rtptime={time}"),
                    false => String::new(),
                };
                let begin = begins(PICTURE_TIME);
                let video = format!("url={base}video;seq={PICTURE_SEQ}{begin}");
                let sound = microphone.map(|_| {
                    let begin = begins(SOUND_TIME);
                    format!(",url={base}audio;seq={SOUND_SEQ}{begin}")
                });
                let sound = sound.unwrap_or_default();
                let headers = format!(
                    "Session: {SESSION}\r\nRange: npt=0.000-\r\nRTP-Info: {video}{sound}\r\n"
                );
                ("200 OK", headers, String::new())
            }
            _ => {
                let headers = format!(
                    "Session: {SESSION}\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER, SET_PARAMETER\r\n"
                );
                ("200 OK", headers, String::new())
            }
        }
    };
    let (cseq, length) = (&request.cseq, body.len());
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {length}\r\n")
    };
    let text = format!("RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{headers}{length}\r\n{body}");
    stream.write_all(text.as_bytes()).await?;
    Ok(method == "PLAY" && status == "200 OK")
}

/// The description of the streams (RFC 4566).
fn describe(scene: &Scene, sound: Sound) -> String {
    let (sps, pps) = (
        Base64::encode_string(&scene.sps),
        Base64::encode_string(&scene.pps),
    );
    let (name, parameters) = match &scene.vps {
        None => {
            let profile = scene.sps.iter().skip(1).take(3);
            let profile: String = profile.map(|byte| format!("{byte:02x}")).collect();
            let parameters = format!(
                "packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sps},{pps}"
            );
            ("H264", parameters)
        }
        Some(vps) => {
            let vps = Base64::encode_string(vps);
            let parameters = format!("sprop-vps={vps};sprop-sps={sps};sprop-pps={pps}");
            ("H265", parameters)
        }
    };
    let mut text = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n\
         m=video 0 RTP/AVP 96\r\na=rtpmap:96 {name}/90000\r\n\
         a=fmtp:96 {parameters}\r\n\
         a=control:video\r\n"
    );
    if sound != Sound::None {
        let [high, low] = AUDIO_CONFIG;
        text.push_str(&format!(
            "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/{AUDIO_RATE}/1\r\n\
             a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;config={high:02x}{low:02x};\
             sizelength=13;indexlength=3;indexdeltalength=3\r\n\
             a=control:audio\r\n"
        ));
    }
    text
}

/// Plays the scene in time.
struct Player {
    started: Instant,
    scene: Arc<Scene>,
    next: usize,
    /// Ticks at which the present pass began.
    pass: u64,
    /// Frames of sound sent.
    frames: u32,
    /// When the next sender reports are due.
    next_reports: u64,
    pictures: Stream,
    sound: Stream,
    packets: u32,
}

impl Player {
    fn new(shared: &Shared) -> Self {
        Self {
            started: Instant::now(),
            scene: Arc::clone(&shared.scene.borrow()),
            next: 0,
            pass: 0,
            frames: 0,
            next_reports: 0,
            pictures: Stream::new(0, 96, PICTURE_SEQ),
            sound: Stream::new(2, 97, SOUND_SEQ),
            packets: 0,
        }
    }

    /// Waits for the next picture; cancel safe, because nothing changes before the last wait.
    async fn next(&mut self, shared: &Shared) -> Vec<Vec<u8>> {
        let due = match self.scene.pictures.get(self.next) {
            Some(picture) => self.pass + picture.dts,
            None => self.pass + self.scene.duration,
        };
        sleep_until(self.started + ticks(due, shared.speed)).await;
        let mood = *shared.mood.borrow();
        match mood {
            Mood::Stalled => {
                let mut moods = shared.mood.clone();
                // The camera is gone when its sender is.
                let _changed = moods.wait_for(|mood| *mood != Mood::Stalled).await;
                return Vec::new();
            }
            Mood::Garbage => {
                sleep(Duration::from_millis(20)).await;
                return vec![b"\x00\xff garbage, not a packet \x13\x37".to_vec()];
            }
            Mood::Good | Mood::Lossy | Mood::Rubbish(_) => {}
        }
        let scene = Arc::clone(&shared.scene.borrow());
        if !Arc::ptr_eq(&scene, &self.scene) || self.next >= self.scene.pictures.len() {
            self.scene = scene;
            self.pass = due;
            self.next = 0;
        }
        let packets = self.send(due, mood, shared.sound);
        shared.pictures.send_modify(|sent| *sent += 1);
        packets
    }

    fn send(&mut self, due: u64, mood: Mood, sound: Sound) -> Vec<Vec<u8>> {
        let Some(picture) = self.scene.pictures.get(self.next) else {
            return Vec::new();
        };
        let mut nals = Vec::with_capacity(picture.nals.len() + 3);
        let codec = match &self.scene.vps {
            None => Codec::H264,
            Some(_) => Codec::H265,
        };
        if self.next == 0 {
            nals.extend(self.scene.vps.clone());
            nals.extend([self.scene.sps.clone(), self.scene.pps.clone()]);
        }
        nals.extend(picture.nals.iter().cloned());
        // Times wrap around at 32 bits, as they do in a camera.
        let time = PICTURE_TIME.wrapping_add((self.pass + picture.pts) as u32);
        let mut packets = self.pictures.picture(codec, time, &nals);
        self.next += 1;
        if let Some(microphone) = sound.microphone() {
            self.listen(microphone, due, &mut packets);
        }
        packets.retain(|_| {
            self.packets = self.packets.wrapping_add(1);
            mood != Mood::Lossy || !self.packets.is_multiple_of(97)
        });
        if let Mood::Rubbish(from) = mood {
            for packet in &mut packets {
                rtp::overwrite(packet, from);
            }
        }
        packets
    }

    /// What the microphone has heard until then, and what is reported of both streams.
    fn listen(&mut self, microphone: Microphone, due: u64, packets: &mut Vec<Vec<u8>>) {
        let (first, until) = (
            microphone.samples(microphone.begins),
            microphone.samples(due),
        );
        let begins = |frame: u32| first + u64::from(frame) * u64::from(AUDIO_FRAME_SAMPLES);
        let time = |samples: u64| SOUND_TIME.wrapping_add(samples as u32);
        while begins(self.frames) <= until {
            let number = self.frames.to_be_bytes();
            packets.push(self.sound.sound(time(begins(self.frames)), &number));
            self.frames += 1;
        }
        // As of a real camera, none of a stream that has not begun.
        if microphone.reports && self.frames > 0 && due >= self.next_reports {
            self.next_reports = due + REPORT_TICKS;
            let ntp = NTP_TIME + ((u128::from(due) << 32) / 90_000) as u64;
            let picture = PICTURE_TIME.wrapping_add(due as u32);
            packets.push(self.pictures.report(ntp, picture));
            packets.push(self.sound.report(ntp, time(until)));
        }
    }
}
