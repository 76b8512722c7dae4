//! The command line. What is not written here cannot be asked for.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::output::Place;

const EXAMPLES: &str = "Examples:
  secluso-hub pair --json | jq -r .qr | head -1 | secluso-app pair -
  secluso-app sync --follow
  secluso-app clips
  secluso-app thumbnails
  secluso-app export 0123456789ab evening.mp4

Exit codes: 0 done, 2 wrong use, 3 another process has the directory open, 4 damaged or refused
state, 5 network, 6 not paired or not admitted, 7 no space, 70 a mistake in this program";

/// The phone's side of Secluso: pairs with a hub, fetches its clips through a relay, keeps them.
#[derive(Debug, Parser)]
#[command(name = "secluso-app", version, about, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The state directory; made by `pair`. Default: $SECLUSO_APP_DIR, else ~/.secluso-app
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// One JSON object per line on stdout; on stderr where `live` writes pictures to stdout.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pair with the hub that shows this code. Again with the same code after an interruption: it goes on.
    #[command(
        after_help = "Example: secluso-app pair - < code.txt\n\nIf nobody answers where the code says, the hub is looked for in this network (mDNS)."
    )]
    Pair {
        /// The text of the code (SECLUSO1:...), or `-` to read it from stdin, where `ps` does not see it.
        code: String,
        /// Where the hub listens while it pairs, if it is not found in this network: for the secret that is printed on it
        /// (SECLUSODEVICE1:...), which is taken from stdin alone.
        #[arg(long, value_name = "HOST:PORT")]
        at: Option<String>,
        /// Look for the hub in the network in which this machine has that address, and not in its default route's.
        #[arg(long, value_name = "ADDRESS")]
        interface: Option<Ipv4Addr>,
    },
    /// Fetch what the hub sent, and ack it.
    #[command(after_help = "Example: secluso-app sync --follow --json")]
    Sync {
        /// Go on for ever; connect again when the relay was away.
        #[arg(long)]
        follow: bool,
        /// A camera that has not answered for so many seconds looks offline.
        #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=21_600))]
        offline_after: u64,
    },
    /// Watch a camera live: one fragmented MP4 on stdout, or to a file or a player.
    #[command(
        after_help = "Examples:\n  secluso-app live | ffplay -fflags nobuffer -\n  secluso-app live --player 'mpv --profile=low-latency -'\n  secluso-app live --seconds 30 --out door.mp4\n\nNothing of what is shown is stored, but in the files of --out. It fetches what else there is meanwhile, as\n`sync --follow` does."
    )]
    Live(LiveOptions),
    /// List the clips.
    Clips,
    /// List the pictures of events.
    Thumbnails,
    /// List the last notifications.
    Notifications,
    /// Write exactly the bytes of a clip, or of the picture of an event, to a file.
    #[command(after_help = "Example: secluso-app export 0123456789ab evening.mp4")]
    Export {
        /// The clip, as `clips` names it, or the picture, as `thumbnails` does; or its first digits, four at least.
        clip: String,
        /// The file; replaced only when the clip is whole.
        file: PathBuf,
    },
    /// Delete a clip, with picture and notification of its event: its key is erased from the state directory.
    Delete {
        /// The clip, as `clips` names it, or its first digits, four at least.
        clip: String,
    },
    /// Forget a hub that is lost, or that has removed this phone: its keys, and every clip of it that is here.
    #[command(after_help = "Example: secluso-app forget 1a2b3c4d --yes")]
    Forget {
        /// The hub, as `status` names it, or its first digits, four at least.
        hub: String,
        /// Really do it.
        #[arg(long)]
        yes: bool,
    },
    /// Go to another relay, where the hubs are already.
    #[command(
        after_help = "Examples:\n  secluso-app relay relay.example:4433/KEY              the same relay at another address\n  secluso-hub relay-code --json | jq -r .invitation | secluso-app relay relay.example:4433/KEY -\n\nThe hub goes first: `relay` and `invitation` in its configuration, then a restart. `secluso-hub relay-code` prints the\nwhole of this command. Nothing is lost: what is not here yet the hub sends again. All hubs of this app move with it."
    )]
    Relay {
        /// Where the relay is, as `secluso-relay run` and `secluso-hub relay-code` print it (host:port/key).
        address: String,
        /// What `secluso-hub relay-code` printed behind the address, or `-` to read it from stdin. Not needed where only
        /// the address of the relay has changed.
        invitation: Option<String>,
    },
    /// How the pairings stand.
    Status,
    /// Privacy mode: with it no event is recorded.
    #[command(after_help = "Example: secluso-app privacy on --wait")]
    Privacy {
        /// On or off.
        switch: Switch,
        #[command(flatten)]
        options: OrderOptions,
    },
    /// The settings of a hub, and of its cameras.
    #[command(
        after_help = "Examples:\n  secluso-app settings show\n  secluso-app settings set event_seconds_max 60\n  secluso-app settings set alerts storage_full,camera_away\n  secluso-app settings camera door --wait\n  secluso-app settings set-camera door sensitivity 70 --wait\n  secluso-app settings set-camera door name 'Front door' --wait\n  secluso-app settings set-camera door persons off --wait\n\nIf another phone has changed them since, nothing changes and the answer says what they are."
    )]
    Settings {
        #[command(subcommand)]
        action: SettingsAction,
        #[command(flatten)]
        options: OrderOptions,
    },
    /// Ask for event videos that are missing here: the hub asks the relay anew what it holds.
    Resend {
        #[command(flatten)]
        options: OrderOptions,
    },
    /// Have the hub's program start again.
    RestartHub {
        #[command(flatten)]
        options: OrderOptions,
    },
    /// Ask which phones are paired with the camera.
    #[command(after_help = "Example: secluso-app phones --wait")]
    Phones {
        #[command(flatten)]
        options: OrderOptions,
    },
    /// Remove another phone of the camera: its keys and everything kept for it, at once. It must pair again.
    #[command(
        after_help = "Example: secluso-app remove-phone 1a2b3c4d --yes --wait\n\nThis phone cannot remove itself: that is done at the camera, with `secluso-hub remove`."
    )]
    RemovePhone {
        /// The phone, as the answer to `phones` names it, or its first digits, four at least.
        phone: String,
        /// Really do it.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        options: OrderOptions,
    },
    /// Show a code by which one more phone can pair with the camera, and wait for it.
    #[command(
        after_help = "Examples:\n  secluso-app invite\n  secluso-app invite --png code.png\n\nThe other phone must be in the camera's network. Whoever reads the code can pair, once: show it to nobody else.\nEvery phone of the camera is told which phone was added, and by which. Stopping this does not make the code void:\nanother `invite` does, and its time."
    )]
    Invite {
        /// Write the code to a picture as well. The file must not exist; it is for you alone, and is removed when this
        /// program ends.
        #[arg(long, value_name = "FILE")]
        png: Option<PathBuf>,
        /// The hub, as `status` names it, or its first digits; needed only if there are several.
        #[arg(long, value_name = "HUB")]
        hub: Option<String>,
    },
    /// List the commands that wait for an answer, and the last that were answered.
    Commands,
    /// Check directory, clock, pairing and relay.
    Doctor,
    /// Print completions for a shell.
    #[command(
        after_help = "Example: secluso-app completions bash > /etc/bash_completion.d/secluso-app"
    )]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Where the facts go that this command tells.
    pub(crate) fn place_of_facts(&self) -> Place {
        match self {
            Self::Live(options) => options.place_of_facts(),
            _ => Place::Stdout,
        }
    }
}

/// What to watch, and where it goes.
#[derive(Args, Debug)]
pub(crate) struct LiveOptions {
    /// The hub, as `status` names it, or its first digits; needed only if there are several.
    #[arg(long, value_name = "HUB")]
    pub(crate) hub: Option<String>,
    /// The camera's name; without it the hub's first.
    #[arg(long, value_name = "NAME")]
    pub(crate) camera: Option<String>,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) seconds: Option<u64>,
    /// Write to this file, whatever is in it. Facts go to stdout then. Where the camera's picture changes, a further file
    /// follows: door.2.mp4 behind door.mp4, or the next that is not there yet.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Write to a program that is started for it. Facts go to stdout then.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "out")]
    pub(crate) player: Option<String>,
}

impl LiveOptions {
    /// Not where the pictures go.
    pub(crate) fn place_of_facts(&self) -> Place {
        match self.out.is_none() && self.player.is_none() {
            true => Place::Stderr,
            false => Place::Stdout,
        }
    }
}

/// To which hub a command goes, and how long this program lasts.
#[derive(Args, Debug)]
pub(crate) struct OrderOptions {
    /// The hub, as `status` names it, or its first digits; needed only if there are several.
    #[arg(long, global = true, value_name = "HUB")]
    pub(crate) hub: Option<String>,
    /// Go on until the hub has answered. Without it, a later `sync` fetches the answer.
    #[arg(long, global = true)]
    pub(crate) wait: bool,
}

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub(crate) enum SettingsAction {
    /// Show them, as the hub told them last.
    Show,
    /// Change one of them.
    Set {
        /// Which.
        key: SettingKey,
        /// `on` or `off` for privacy; seconds, or `none`, for event_seconds_max; days, or `none`, for clip_days_max;
        /// `all`, `none`, or some of `motion,storage_full,camera_away` for alerts.
        value: String,
    },
    /// Ask what phones have set at a camera, over what the hub's configuration says.
    Camera {
        /// Its name, as `clips` and `notifications` have it, or as the hub's configuration has it.
        camera: String,
    },
    /// Change one thing that is set at a camera. `camera` must have asked for it before.
    SetCamera {
        /// Its name.
        camera: String,
        /// Which.
        key: CameraKey,
        /// The value, or `default`: as the hub's configuration has it.
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
}

/// What can be set at a camera. All but the name is about what moves in its pictures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum CameraKey {
    /// `on` or `off`: whether what moves is looked for.
    Detection,
    /// 1 to 100: how little a difference counts.
    Sensitivity,
    /// 1 to 500: how small a thing counts, in thousandths of the picture.
    MinAreaPermille,
    /// 30 to 100: more of the picture at once is the light.
    LightSwitchPercent,
    /// Where motion counts, instead of the configuration's zones: JSON, corners in thousandths of width and height.
    Zones,
    /// What is not looked at, beside the configuration's masks: JSON.
    Masks,
    /// `22:00-06:30` or `never`: when no event begins.
    Quiet,
    /// -720 to 840: of the clock of the quiet hours.
    UtcOffsetMinutes,
    /// 0 to 30: recorded from before the motion.
    PreRollSeconds,
    /// 1 to 120: recorded after it.
    PostRollSeconds,
    /// 10 to 600: the longest event.
    AtMostSeconds,
    /// 0 to 3600: how long after an event none begins.
    CoolDownSeconds,
    /// 1 to 64 bytes: the name under which phones are shown what begins from now on. The one in the hub's
    /// configuration goes on to be good for these commands.
    Name,
    /// `on` or `off`: whether the program is asked about persons that the hub's configuration names. Where it names
    /// none, `on` is refused.
    Persons,
}

/// A setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum SettingKey {
    /// Privacy mode.
    #[value(name = "privacy")]
    Privacy,
    /// Seconds after which the recording of an event ends.
    #[value(name = "event_seconds_max")]
    EventSecondsMax,
    /// Days, in which the hub runs, after which it drops a clip that no phone has got.
    #[value(name = "clip_days_max")]
    ClipDaysMax,
    /// What phones are notified of.
    #[value(name = "alerts")]
    Alerts,
}

/// A switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Arguments::command().debug_assert();
    }
}
