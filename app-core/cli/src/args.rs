//! The command line. What is not written here cannot be asked for.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "Examples:
  secluso-hub pair --json | jq -r .qr | head -1 | secluso-app pair -
  secluso-app sync --follow
  secluso-app clips
  secluso-app thumbnails
  secluso-app export 0123456789abcdef0123456789abcdef evening.mp4

Exit codes: 0 done, 2 wrong use, 3 another process has the directory open, 4 damaged or refused
state, 5 network, 6 not paired or not admitted, 7 no space, 70 a mistake in this program";

/// The phone's side of Secluso: pairs with a hub, fetches its clips through a relay, keeps them.
#[derive(Debug, Parser)]
#[command(name = "secluso-app", version, about, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The state directory; made by `pair`. Default: $SECLUSO_APP_DIR, else ~/.secluso-app
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// One JSON object per line on stdout.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pair with the hub that shows this code. Again with the same code after an interruption: it goes on.
    #[command(after_help = "Example: secluso-app pair - < code.txt")]
    Pair {
        /// The text of the code (SECLUSO1:...), or `-` to read it from stdin, where `ps` does not see it.
        code: String,
    },
    /// Fetch what the hub sent, and ack it.
    #[command(after_help = "Example: secluso-app sync --follow --json")]
    Sync {
        /// Go on for ever; connect again when the relay was away.
        #[arg(long)]
        follow: bool,
    },
    /// List the clips.
    Clips,
    /// List the pictures of events.
    Thumbnails,
    /// List the last notifications.
    Notifications,
    /// Write exactly the bytes of a clip, or of the picture of an event, to a file.
    #[command(
        after_help = "Example: secluso-app export 0123456789abcdef0123456789abcdef evening.mp4"
    )]
    Export {
        /// The clip, as `clips` names it, or the picture, as `thumbnails` does.
        clip: String,
        /// The file; replaced only when the clip is whole.
        file: PathBuf,
    },
    /// Delete a clip, with picture and notification of its event: its key is erased from the state directory.
    Delete {
        /// The clip, as `clips` names it.
        clip: String,
    },
    /// How the pairings stand.
    Status,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Arguments::command().debug_assert();
    }
}
