//! An RTSP camera (RFC 2326), by `retina`: digest or basic login, RTP in the TCP connection, H.264 or
//! H.265, AAC if the camera has it. One stream is enough.
//!
//! This room opens and reads; what the frames mean is in `assembly`, where sound belongs among them in
//! `sync`, what an error means in `classify`. It must never try a password twice in one attempt, never
//! wait for a camera without a limit, and never print what the camera says but as one short line.

pub mod assembly;
mod classify;
pub mod sync;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream as _;
use retina::client::{
    Credentials, Demuxed, Described, InitialTimestampPolicy, PlayOptions, Session, SessionOptions,
    SetupOptions,
};
use retina::codec::{CodecItem, FrameFormat, ParametersRef};
use retina::rtcp::ReceivedCompoundPacket;

use super::address::{CameraAddress, Login, Password, PasswordError, Secret};
use super::patience::{Came, Patience};
use super::source::{NextItem, Source, SourceItem};
use super::{CameraError, Clock};
use crate::media::{AUDIO_UNIT_BYTES_MAX, AUDIO_UNIT_TICKS_MAX, AudioTrack, AudioUnit};
use assembly::{Assembly, Frame};
use sync::LipSync;

/// How long a camera may take from the first packet to the answer to PLAY.
pub const OPEN_WAIT: Duration = Duration::from_secs(5);
/// How long no picture may come, where nothing is configured. The longest pause between two pictures
/// of a camera that is there is that of a slow one at night: a second.
pub const STALL_DEFAULT: Duration = Duration::from_secs(10);

/// Whether a camera's sound is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudioWish {
    /// If it is AAC.
    IfSupported,
    /// Not at all.
    Never,
}

/// An RTSP camera, and how to read it.
#[derive(Debug, Clone, PartialEq)]
pub struct RtspConfig {
    /// Where it is.
    pub address: CameraAddress,
    /// Who logs in; `None` where the camera asks nobody.
    pub login: Option<Login>,
    /// Whether its sound is asked for.
    pub audio: AudioWish,
    /// How long no picture may come before the camera counts as gone; for a key frame it has
    /// [`super::KEY_FRAMES_APART_MAX`] at least.
    pub stall: Duration,
}

/// A [`Source`] that reads an RTSP camera. Its connection ends when it is dropped.
pub struct RtspSource<C> {
    clock: C,
    camera: String,
    demuxed: Demuxed,
    video: usize,
    audio: Option<(usize, Arc<AudioTrack>)>,
    assembly: Assembly,
    lip_sync: LipSync,
    /// For how long the next picture, and the next key frame, are waited for.
    patience: Patience,
    /// What one frame made: at most three items.
    ready: VecDeque<SourceItem>,
    is_over: bool,
}

impl<C: Clock> RtspSource<C> {
    /// Connects, logs in and lets the camera play. Dropping the future gives the attempt up.
    ///
    /// # Errors
    /// [`CameraError`].
    pub async fn open(config: &RtspConfig, clock: C) -> Result<Self, CameraError> {
        let camera = config.address.to_string();
        let give_up = clock.now().saturating_add(OPEN_WAIT);
        let opened = tokio::select! {
            biased;
            opened = connect(config, &camera) => opened?,
            () = clock.sleep_until(give_up) => {
                let reason = format!("no answer within {} s", OPEN_WAIT.as_secs());
                return Err(CameraError::Unreachable { camera, reason });
            }
        };
        let patience = Patience::new(camera.clone(), config.stall, clock.now());
        Ok(Self {
            clock,
            assembly: Assembly::new(camera.clone(), opened.audio.clone().map(|(_, track)| track)),
            camera,
            demuxed: opened.demuxed,
            video: opened.video,
            audio: opened.audio,
            lip_sync: LipSync::default(),
            patience,
            ready: VecDeque::new(),
            is_over: false,
        })
    }

    async fn next(&mut self) -> Result<Option<SourceItem>, CameraError> {
        while !self.is_over {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            let demuxed = &mut self.demuxed;
            let item = tokio::select! {
                biased;
                item = poll_fn(|cx| Pin::new(&mut *demuxed).poll_next(cx)) => item,
                () = self.clock.sleep_until(self.patience.ends_at()) => {
                    self.is_over = true;
                    return Err(self.patience.stalled());
                }
            };
            if let Err(error) = self.handle_item(item) {
                self.is_over = true;
                return Err(error);
            }
        }
        Ok(None)
    }

    fn handle_item(
        &mut self,
        item: Option<Result<CodecItem, retina::Error>>,
    ) -> Result<(), CameraError> {
        match item {
            None => {
                let camera = self.camera.clone();
                Err(CameraError::Closed { camera })
            }
            Some(Err(error)) => Err(classify::playing(&error, &self.camera)),
            Some(Ok(CodecItem::VideoFrame(frame))) if frame.stream_id() == self.video => {
                let parameters = self.demuxed.streams().get(self.video);
                let parameters = match parameters.and_then(|stream| stream.parameters()) {
                    Some(ParametersRef::Video(parameters)) => Some(parameters),
                    _ => None,
                };
                let (time, now) = (frame.timestamp(), self.clock.now());
                self.lip_sync
                    .handle_picture(now, time.elapsed(), time.clock_rate());
                let (loss, is_sync) = (frame.loss(), frame.is_random_access_point());
                let items = self.assembly.handle_frame(Frame {
                    new_track: match parameters {
                        Some(parameters) if is_sync || frame.has_new_parameters() => {
                            let rate = time.clock_rate();
                            Some(classify::track(parameters, rate, &self.camera)?)
                        }
                        _ => None,
                    },
                    elapsed: time.elapsed(),
                    is_sync,
                    is_after_loss: loss > 0,
                    received_unix_ms: self.clock.unix_ms(),
                    data: Bytes::from(frame.into_data()),
                })?;
                if let Some(came) = Came::of(&items, self.assembly.has_left_out()) {
                    self.patience.handle_pictures(came, self.clock.now())?;
                }
                self.ready.extend(items);
                Ok(())
            }
            Some(Ok(CodecItem::AudioFrame(frame))) => {
                let Some((_, track)) = self
                    .audio
                    .as_ref()
                    .filter(|(stream, _)| *stream == frame.stream_id())
                else {
                    return Ok(());
                };
                let (bytes, duration) = (frame.data().len(), frame.frame_length().get());
                let can_be = (1..=AUDIO_UNIT_BYTES_MAX).contains(&bytes)
                    && (1..=AUDIO_UNIT_TICKS_MAX).contains(&duration);
                if !can_be {
                    return Ok(());
                }
                let (rate, now) = (track.timescale, self.clock.now());
                let elapsed = frame.timestamp().elapsed();
                let placed = self.lip_sync.handle_sound(now, elapsed, duration, rate);
                let pts = placed.and_then(|placed| assembly::ticks(placed, rate));
                // Sound from before the first picture is of no use.
                if let Some(pts) = pts.filter(|_| self.assembly.has_begun()) {
                    self.ready.push_back(SourceItem::Audio(AudioUnit {
                        data: Bytes::copy_from_slice(frame.data()),
                        pts,
                        duration,
                        captured_unix_ms: self.clock.unix_ms(),
                    }));
                }
                Ok(())
            }
            Some(Ok(CodecItem::Rtcp(packet))) => {
                self.handle_report(&packet);
                Ok(())
            }
            Some(Ok(_)) => Ok(()),
        }
    }

    /// What is no sender report is of no use, and neither is one that says what cannot be.
    fn handle_report(&mut self, packet: &ReceivedCompoundPacket) {
        let stream = match (packet.stream_id(), &self.audio) {
            (stream, _) if stream == self.video => sync::Stream::Pictures,
            (stream, Some((audio, _))) if stream == *audio => sync::Stream::Sound,
            _ => return,
        };
        let first = packet.pkts().next();
        let report = first.and_then(|first| first.as_sender_report().ok().flatten());
        let (Some(report), Some(time)) = (report, packet.rtp_timestamp()) else {
            return;
        };
        let doubt = self.lip_sync.handle_report(
            self.clock.now(),
            stream,
            report.ntp_timestamp().0,
            time.elapsed(),
            time.clock_rate(),
        );
        if let Some(doubt) = doubt {
            let address = &self.camera;
            tracing::warn!(%address, %doubt, "a sender report of a camera is not believed; sound goes without it");
        }
    }
}

impl<C: Clock> Source for RtspSource<C> {
    fn next_item(&mut self) -> NextItem<'_> {
        Box::pin(self.next())
    }
}

/// A camera that plays.
struct Opened {
    demuxed: Demuxed,
    video: usize,
    audio: Option<(usize, Arc<AudioTrack>)>,
}

async fn connect(config: &RtspConfig, camera: &str) -> Result<Opened, CameraError> {
    let secret = match &config.login {
        None => None,
        Some(login) => Some(read(login.password.clone()).await.map_err(|source| {
            let camera = camera.to_owned();
            CameraError::Password { camera, source }
        })?),
    };
    let secret = secret.as_ref();
    // The client's own copy lives as long as the connection: digest login needs it for every request.
    let credentials = config
        .login
        .as_ref()
        .zip(secret)
        .map(|(login, secret)| Credentials {
            username: login.user.clone(),
            password: secret.reveal().to_owned(),
        });
    let failed = |error: retina::Error| classify::error(&error, camera, secret);
    let options = SessionOptions::default()
        .creds(credentials)
        .user_agent("secluso-hub".to_owned());
    let mut session = Session::describe(config.address.url().clone(), options)
        .await
        .map_err(failed)?;
    let video = video_stream(&session, camera)?;
    session.setup(video, mp4()).await.map_err(failed)?;
    let audio = match config.audio {
        AudioWish::IfSupported => audio_stream(&session),
        AudioWish::Never => None,
    };
    if let Some((stream, _)) = &audio {
        session.setup(*stream, mp4()).await.map_err(failed)?;
    }
    let play = PlayOptions::default().initial_timestamp(InitialTimestampPolicy::Permissive);
    let playing = session.play(play).await.map_err(failed)?;
    Ok(Opened {
        demuxed: playing.demuxed().map_err(failed)?,
        video,
        audio,
    })
}

/// Where it may block: its file may lie on a slow disk, and other cameras go on meanwhile.
async fn read(password: Password) -> Result<Secret, PasswordError> {
    match tokio::task::spawn_blocking(move || password.read()).await {
        Ok(read) => read,
        Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
        // The runtime is shutting down.
        Err(_) => std::future::pending().await,
    }
}

/// As MP4 has it: NAL lengths of four bytes, parameter sets apart, AAC without headers.
fn mp4() -> SetupOptions {
    SetupOptions::default().frame_format(FrameFormat::MP4)
}

/// The first H.264 stream; if there is none, the first of H.265.
fn video_stream(session: &Session<Described>, camera: &str) -> Result<usize, CameraError> {
    let streams = session.streams();
    let of = |encoding: &str| {
        streams
            .iter()
            .position(|stream| stream.media() == "video" && stream.encoding_name() == encoding)
    };
    of("h264").or_else(|| of("h265")).ok_or_else(|| {
        let names = streams.iter().take(8).map(|stream| {
            let name = format!("{}/{}", stream.media(), stream.encoding_name());
            classify::one_line(&name, None)
        });
        let names: Vec<String> = names.collect();
        CameraError::NoVideo {
            camera: camera.to_owned(),
            offered: if names.is_empty() {
                "nothing".to_owned()
            } else {
                names.join(", ")
            },
        }
    })
}

/// The first AAC stream whose parameters are known.
fn audio_stream(session: &Session<Described>) -> Option<(usize, Arc<AudioTrack>)> {
    let mut streams = session.streams().iter().enumerate();
    streams.find_map(|(index, stream)| {
        let is_aac = stream.media() == "audio" && stream.encoding_name() == "mpeg4-generic";
        match stream.parameters().filter(|_| is_aac) {
            Some(ParametersRef::Audio(parameters)) => {
                Some((index, Arc::new(classify::audio_track(parameters)?)))
            }
            _ => None,
        }
    })
}

/// Keeps the type of a secret's reference short.
type SecretRef<'a> = Option<&'a Secret>;
