//! The command line: what may be asked, and what each answer prints.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use pairing_code::CodeImage;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::control::{self, Request};
use crate::exit::{Code, Failure};
use crate::output::{self, Format};
use crate::pairing::Step;
use crate::phones::{self, Question};
use crate::preflight::{self, Looker};
use crate::traffic::{Cost, Traffic};
use crate::{doctor, metrics, moving, reset, retained, secret, status, supervisor};

mod cameras;
mod usage;

pub use usage::usage_failure;

/// How long a running hub may take for its status.
const STATUS_PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take for a code, which its relay gives.
const CODE_PATIENCE: Duration = Duration::from_secs(40);

/// How long a running hub may take to end a pairing that was stopped: it hears out a phone that is
/// talking, and syncs.
const LAST_WORDS_PATIENCE: Duration = Duration::from_secs(10);

/// The hub of a home camera that nobody but its owner can watch.
#[derive(Parser, Debug)]
#[command(name = "secluso-hub", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  secluso-hub pair --config hub.toml       show a code for a phone
  secluso-hub run --config hub.toml        record and send
  secluso-hub status --config hub.toml     what a running hub is doing
  secluso-hub metrics --config hub.toml    the same in numbers, for Prometheus
  secluso-hub phones --config hub.toml     which phones are paired
  secluso-hub test-camera rtsp://192.168.1.20/stream1 --user hub --password-file cam.password

Exit codes: 0 done, 2 usage or configuration, 3 another hub has the state directory,
4 state damaged or refused, 5 nobody reached, 6 not admitted, 7 disk full,
8 a phone asked for a restart: start it again, 70 internal.";

#[derive(Args, Debug, Clone)]
struct Common {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "hub.toml")]
    config: PathBuf,
    /// Facts on stdout as one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Record events and send them, until stopped.
    #[command(
        after_help = "Example:\n  secluso-hub run --config /etc/secluso/hub.toml\n\nThe smallest configuration:\n  state_dir = \"/var/lib/secluso\"\n  relay = \"relay.example:4433/KEY\"\n  invitation = \"TEXT\"\n  [[camera]]\n  kind = \"virtual\""
    )]
    Run(Common),
    /// Show a code with which one phone can pair, and wait for it.
    #[command(
        after_help = "Examples:\n  secluso-hub pair --config hub.toml\n  secluso-hub pair --config hub.toml --png code.png\n\nWorks with and without a running hub. Stopping it (ctrl-C) makes the code void, unless a phone has just been paired: what happened is said."
    )]
    Pair {
        #[command(flatten)]
        common: Common,
        /// Show the code in this PNG file too, which must not exist yet. Only this user can read it,
        /// and it is removed when pairing ends.
        #[arg(long, value_name = "FILE")]
        png: Option<PathBuf>,
    },
    /// What a running hub is doing.
    #[command(after_help = "Example:\n  secluso-hub status --config hub.toml --json")]
    Status(Common),
    /// A running hub in numbers, as Prometheus reads them.
    #[command(
        after_help = "Example:\n  secluso-hub metrics --config hub.toml > secluso.prom\n\nNumbers only: no names, no addresses. `[metrics] listen` in the configuration hands the same out at an address of this machine. With --json it is one object, {\"event\":\"metrics\",\"metrics\":[...]}: each value with its `name`, `type` and `labels`."
    )]
    Metrics(Common),
    /// Which phones are paired.
    #[command(
        after_help = "Example:\n  secluso-hub phones --config hub.toml\n\nWorks with and without a running hub."
    )]
    Phones(Common),
    /// Remove a phone: its keys and everything kept for it, at once. It must pair again.
    #[command(
        after_help = "Example:\n  secluso-hub remove 1a2b3c4d --config hub.toml --yes\n\nWorks with and without a running hub. What the phone has received stays on the phone; what the hub retains for it stays for `secluso-hub retained`."
    )]
    Remove {
        /// The phone, as `secluso-hub phones` names it, or its first digits, four at least.
        phone: String,
        #[command(flatten)]
        common: Common,
        /// Really do it.
        #[arg(long)]
        yes: bool,
    },
    /// What a phone needs to come to the relay at which this hub is now: a command for the phone.
    #[command(
        after_help = "Example:\n  secluso-hub relay-code --config hub.toml\n\nTo another relay the hub goes first: put its address and an invitation of it into the configuration (`relay`,\n`invitation`) and restart the hub. Then run this for each phone. Whoever reads the code can use it, once, within a day."
    )]
    RelayCode {
        /// The phone, as `secluso-hub phones` names it; needed only if there are several.
        phone: Option<String>,
        #[command(flatten)]
        common: Common,
        /// Make another code, and the one before void.
        #[arg(long)]
        again: bool,
    },
    /// Stop a running hub cleanly.
    Stop(Common),
    /// Check the configuration and the passwords, clips and programs that it names, and say what its traffic costs.
    /// Nothing is started, made or asked.
    #[command(
        after_help = "Example:\n  secluso-hub check-config --config hub.toml\n\nRun it as the hub's user. What `password_credential` names is only there inside the systemd unit: it is checked where the hub starts."
    )]
    CheckConfig(Common),
    /// The cameras of the configuration. None of them is asked.
    #[command(after_help = "Example:\n  secluso-hub cameras --config hub.toml")]
    Cameras(Common),
    /// Look at an RTSP camera for some seconds: whether it answers, what it sends.
    #[command(
        after_help = "Examples:\n  secluso-hub test-camera rtsp://192.168.1.20/stream1 --user hub --password-file cam.password\n  secluso-hub test-camera rtsp://192.168.1.20/stream1 --seconds 30 --json\n\nThe password's file must be readable by its owner alone (chmod 600). A name and a password in the address are taken too, but everybody on this machine can see them while the command runs."
    )]
    TestCamera {
        /// Its address.
        #[arg(value_name = "URL")]
        url: String,
        /// The name to log in with.
        #[arg(long, requires = "password_file")]
        user: Option<String>,
        /// The file that holds the password, and nothing else.
        #[arg(long, value_name = "FILE", requires = "user")]
        password_file: Option<PathBuf>,
        /// For how long.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=600))]
        seconds: u16,
        /// Facts on stdout as one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Look for what could go wrong: clock, disk, pairing, relay, cameras. In privacy mode no camera is asked.
    #[command(after_help = "Example:\n  secluso-hub doctor --config hub.toml")]
    Doctor(Common),
    /// Erase all keys and stored video of this hub. Phones must pair again.
    #[command(
        after_help = "Examples:\n  secluso-hub reset --config hub.toml --yes\n  secluso-hub reset --keep-clips --yes    ends all pairings; what is retained waits for a new phone"
    )]
    Reset {
        #[command(flatten)]
        common: Common,
        /// Really do it.
        #[arg(long)]
        yes: bool,
        /// Remove all phones and keep what is retained for them, for a new one, with the device's own secret.
        /// Works with and without a running hub.
        #[arg(long)]
        keep_clips: bool,
    },
    /// What a running hub retains for phones that have not acked it, and what is to become of it.
    #[command(
        after_help = "Examples:\n  secluso-hub retained --config hub.toml\n  secluso-hub retained --play OLD --to NEW    a new phone gets what a lost one never had\n  secluso-hub retained --forget OLD\n\nOLD and NEW are phones as this command and `phones` name them. Only with `[privacy] retain = \"until-acked\"` anything is retained."
    )]
    Retained {
        #[command(flatten)]
        common: Common,
        /// Play what was retained for this phone, as new events...
        #[arg(long, value_name = "PHONE", requires = "to", conflicts_with = "forget")]
        play: Option<String>,
        /// ...to this one, which was paired later.
        #[arg(long, value_name = "PHONE", requires = "play")]
        to: Option<String>,
        /// Erase what was retained for this phone.
        #[arg(long, value_name = "PHONE")]
        forget: Option<String>,
    },
    /// Print the secret of this device, of which every pairing code is made: a QR code and its text.
    #[command(
        after_help = "Example:\n  secluso-hub secret --config hub.toml --print\n\nWorks with and without a running hub. It is printed on a terminal only, unless --force is given, also with --json: one object then, with its text (`text`) and without the QR code."
    )]
    Secret {
        #[command(flatten)]
        common: Common,
        /// Really print it.
        #[arg(long)]
        print: bool,
        /// Print it also where stdout is no terminal.
        #[arg(long)]
        force: bool,
    },
    /// Print completions for a shell.
    #[command(
        after_help = "Example:\n  secluso-hub completions bash > /etc/bash_completion.d/secluso-hub"
    )]
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

impl Cli {
    /// How facts are printed, the last one included that says why it failed.
    pub fn format(&self) -> Format {
        match &self.command {
            Command::Run(common)
            | Command::Status(common)
            | Command::Stop(common)
            | Command::CheckConfig(common)
            | Command::Cameras(common)
            | Command::Doctor(common)
            | Command::Phones(common)
            | Command::Metrics(common)
            | Command::Secret { common, .. }
            | Command::Pair { common, .. }
            | Command::Remove { common, .. }
            | Command::RelayCode { common, .. }
            | Command::Retained { common, .. }
            | Command::Reset { common, .. } => common.format(),
            Command::TestCamera { json: true, .. } => Format::Json,
            Command::TestCamera { json: false, .. } | Command::Completions { .. } => Format::Text,
        }
    }
}

impl Common {
    fn format(&self) -> Format {
        if self.json {
            Format::Json
        } else {
            Format::Text
        }
    }

    fn read(&self) -> Result<Config, Failure> {
        Ok(Config::read(&self.config)?)
    }
}

/// Does what the command line asks.
///
/// # Errors
/// One sentence and its code.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let format = cli.format();
    match cli.command {
        Command::Run(common) => {
            let config = common.read()?;
            supervisor::run(config, common.config, format).await
        }
        Command::Pair { common, png } => pair(common.read()?, common.format(), png).await,
        Command::Status(common) => {
            let config = common.read()?;
            let format = common.format();
            let mut failed = None;
            control::ask(
                &config.state_dir,
                Request::Status,
                STATUS_PATIENCE,
                |value| match failure_in(&value) {
                    Some(failure) => failed = Some(failure),
                    None => format.line(&value, &status::to_text(&value)),
                },
            )
            .await?;
            failed.map_or(Ok(()), Err)
        }
        Command::Metrics(common) => metrics_of(&common.read()?, format).await,
        Command::Phones(common) => {
            about_phones(&common.read()?, common.format(), &Question::List).await
        }
        Command::Remove { phone, common, yes } => {
            let config = common.read()?;
            if !yes {
                let what = "this erases the keys of that phone and all that is kept for it; it must pair again. Add --yes to do it";
                return Err(Failure::new(Code::Usage, what));
            }
            about_phones(&config, common.format(), &Question::Remove(phone)).await
        }
        Command::RelayCode {
            phone,
            common,
            again,
        } => {
            let config = common.read()?;
            let request = Request::RelayCode { phone, again };
            let mut failed = None;
            control::ask(
                &config.state_dir,
                request,
                CODE_PATIENCE,
                |value| match failure_in(&value) {
                    Some(failure) => failed = Some(failure),
                    None => format.line(&value, &moving::to_text(&value)),
                },
            )
            .await?;
            failed.map_or(Ok(()), Err)
        }
        Command::Stop(common) => {
            let config = common.read()?;
            let format = common.format();
            let said = |value: Value| format.line(&value, "the hub is stopping");
            control::ask(&config.state_dir, Request::Stop, STATUS_PATIENCE, said).await
        }
        Command::CheckConfig(common) => {
            let config = common.read()?;
            check(&config, common.format())
        }
        Command::Cameras(common) => {
            cameras::list(&common.read()?, common.format());
            Ok(())
        }
        Command::TestCamera {
            url,
            user,
            password_file,
            seconds,
            json: _,
        } => {
            let login = user.zip(password_file);
            cameras::test(&url, login, seconds, format).await
        }
        Command::Doctor(common) => {
            // A configuration that cannot be read is doctor's first finding, not its failure.
            doctor::run(&common.config, common.format()).await
        }
        Command::Reset {
            common,
            yes,
            keep_clips,
        } => {
            let config = common.read()?;
            let consent = match yes {
                true => reset::Consent::Given,
                false => reset::Consent::Missing,
            };
            match keep_clips {
                true => reset::run_keeping(&config, consent, format).await,
                false => reset::run(&config, consent, format),
            }
        }
        Command::Retained {
            common,
            play,
            to,
            forget,
        } => {
            let request = retained::request(play.as_deref().zip(to.as_deref()), forget.as_deref());
            let (config, format) = (common.read()?, common.format());
            let mut failed = None;
            let said = |value: Value| match failure_in(&value) {
                Some(failure) => failed = Some(failure),
                None => format.line(&value, &retained::to_text(&value)),
            };
            control::ask(&config.state_dir, request, STATUS_PATIENCE, said).await?;
            failed.map_or(Ok(()), Err)
        }
        Command::Secret {
            common,
            print,
            force,
        } => {
            if !print {
                let what = "whoever has the device secret can pair while the hub is in pairing mode; add --print to see it";
                return Err(Failure::new(Code::Usage, what));
            }
            let reader = match force {
                true => secret::Reader::Anybody,
                false => secret::Reader::Person,
            };
            secret::print(&common.read()?, reader, format).await
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "secluso-hub", &mut script);
            output::raw(&script);
            Ok(())
        }
    }
}

/// Prints the numbers of the running hub.
async fn metrics_of(config: &Config, format: Format) -> Result<(), Failure> {
    let mut told = Err(Failure::new(Code::Internal, "the running hub failed"));
    let said = |value: Value| {
        told = match failure_in(&value) {
            Some(failure) => Err(failure),
            None => Ok(value),
        };
    };
    control::ask(&config.state_dir, Request::Status, STATUS_PATIENCE, said).await?;
    let status = told?;
    match format {
        Format::Text => output::raw(metrics::to_text(&status).as_bytes()),
        Format::Json => format.line(&metrics::to_json(&status), ""),
    }
    Ok(())
}

async fn about_phones(config: &Config, format: Format, question: &Question) -> Result<(), Failure> {
    let answer = phones::ask(config, question).await?;
    match failure_in(&answer) {
        Some(failure) => Err(failure),
        None => {
            format.line(&answer, &phones::to_text(&answer));
            Ok(())
        }
    }
}

/// Looks at what the configuration names as well: one line for each thing that is of no use, or not to be seen.
fn check(config: &Config, format: Format) -> Result<(), Failure> {
    let flaws = preflight::look(config, Looker::Beside);
    for flaw in &flaws {
        format.line(&flaw.to_json(), &flaw.to_string());
    }
    if flaws.iter().any(|flaw| flaw.is_known) {
        let what = "what the configuration names cannot be used; see above";
        return Err(Failure::new(Code::Usage, what));
    }
    let (json, text) = checked(config);
    format.line(&json, &text);
    Ok(())
}

/// What is said of a configuration that is good.
fn checked(config: &Config) -> (Value, String) {
    let cost = config.traffic.map(Traffic::cost);
    let json = json!({"event": "config", "traffic": cost.map(Cost::to_json)});
    let cost = cost.map_or_else(
        || {
            "traffic: envelopes leave when there is something to say; the relay sees when that is"
                .into()
        },
        Cost::to_text,
    );
    (json, format!("the configuration is good\n{cost}"))
}

/// Why a running hub did not do what it was asked, if it says so.
pub fn failure_in(value: &Value) -> Option<Failure> {
    if value["event"] != "failed" {
        return None;
    }
    let code = match value["code"].as_u64() {
        Some(2) => Code::Usage,
        Some(3) => Code::Locked,
        Some(4) => Code::State,
        Some(5) => Code::Network,
        Some(6) => Code::NotAdmitted,
        Some(7) => Code::Space,
        _ => Code::Internal,
    };
    Some(Failure::new(
        code,
        value["message"]
            .as_str()
            .unwrap_or("the running hub failed"),
    ))
}

/// In the running hub if there is one, else here.
async fn pair(config: Config, format: Format, png: Option<PathBuf>) -> Result<(), Failure> {
    let image = png.as_deref().map(CodeImage::at).transpose()?;
    let mut shower = Shower { format, image };
    if !control::is_running(&config.state_dir).await {
        return supervisor::pair(config, move |step| shower.show(step)).await;
    }
    let mut signals = supervisor::Signals::new()?;
    let patience = config.pairing.offer + Duration::from_secs(60);
    let until = control::Until {
        stop: signals.any(),
        last_words: LAST_WORDS_PATIENCE,
    };
    pair_there(&config.state_dir, patience, until, |step| shower.show(step)).await
}

/// In the running hub. Only what that says is shown: when its asker is stopped, it may just have
/// paired a phone.
async fn pair_there(
    state_dir: &Path,
    patience: Duration,
    until: control::Until<impl Future<Output = ()>>,
    mut show: impl FnMut(&Step),
) -> Result<(), Failure> {
    let not_known = |what: &str| {
        Failure::new(
            Code::Network,
            format!(
                "{what}. Whether a phone is paired is shown by `secluso-hub status`; the code is void at the latest when its time is over"
            ),
        )
    };
    let mut outcome = Err(not_known(
        "the running hub hung up without saying how pairing ended",
    ));
    let mut offered = false;
    let asked = control::ask_until(state_dir, Request::Pair, patience, until, |value| {
        if let Some(failure) = failure_in(&value) {
            outcome = Err(failure);
        } else if let Some(step) = step_in(&value) {
            show(&step);
            match step {
                Step::Offer { .. } => offered = true,
                Step::Paired { .. } | Step::Stopped => outcome = Ok(()),
            }
        }
    });
    match asked.await {
        Ok(()) => outcome,
        // It had said how it ended before it fell silent.
        Err(_) if outcome.is_ok() => outcome,
        Err(failure) if offered => Err(not_known(&failure.message)),
        Err(failure) => Err(failure),
    }
}

/// What a running hub says about a pairing.
pub fn step_in(value: &Value) -> Option<Step> {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    match value["event"].as_str()? {
        "offer" => Some(Step::Offer {
            text: Zeroizing::new(text("qr")),
            expires_unix_ms: value["expires_unix_ms"].as_u64().unwrap_or_default(),
        }),
        "paired" => Some(Step::Paired {
            phone: text("phone"),
        }),
        "stopped" => Some(Step::Stopped),
        _ => None,
    }
}

/// Shows a person how a pairing goes.
struct Shower {
    format: Format,
    image: Option<CodeImage>,
}

impl Shower {
    fn show(&mut self, step: &Step) {
        let text = match step {
            Step::Offer { text, .. } => pairing_code::show(text),
            Step::Paired { phone } => format!("paired with phone {phone}"),
            Step::Stopped => "pairing was stopped; its code is void".into(),
        };
        match (step, &mut self.image) {
            (Step::Offer { text, .. }, Some(image)) => match image.show(text) {
                Ok(()) => eprintln!(
                    "secluso-hub: the code is in {} too, for this user alone; the file is removed when pairing ends",
                    shown(image.path())
                ),
                Err(error) => eprintln!(
                    "secluso-hub: {} could not be written ({error}); use the code below",
                    shown(image.path())
                ),
            },
            // The offer is over, and the picture of its code with it.
            (Step::Paired { .. } | Step::Stopped, image) => *image = None,
            (Step::Offer { .. }, None) => {}
        }
        self.format.line(&control::step_json(step), &text);
    }
}

/// Where a file of the configuration is, for messages.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

    use super::*;

    #[test]
    fn a_checked_configuration_says_what_its_traffic_costs() {
        let relay = wire::RelayId([7; 32]).to_text();
        let parse = |rest: &str| {
            let text = format!("state_dir = \"s\"\nrelay = \"127.0.0.1:4433/{relay}\"\n{rest}");
            Config::parse(&text, "hub.toml", Path::new("/etc")).unwrap()
        };
        let (json, text) = checked(&parse(""));
        assert!(json["traffic"].is_null());
        assert!(text.contains("the relay sees when"), "{text}");
        let (json, text) = checked(&parse("[traffic]\nconstant_rate = \"64 KiB/s\"\n"));
        assert_eq!(json["traffic"]["bytes_per_day"], 5_622_566_400_u64);
        assert!(text.contains("168.7 GB a month"), "{text}");
    }

    /// A hub that shows a code, waits until its asker wants no more, and then says this. Without a
    /// word it stays silent and keeps the line.
    async fn hub(listener: tokio::net::UnixListener, last_word: Option<&str>) {
        let (stream, _address) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        let mut question = String::new();
        read.read_line(&mut question).await.unwrap();
        let offer = b"{\"event\":\"offer\",\"qr\":\"SECLUSO1:x\",\"expires_unix_ms\":1}\n";
        write.write_all(offer).await.unwrap();
        assert_eq!(read.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        match last_word {
            Some(word) => write.write_all(word.as_bytes()).await.unwrap(),
            None => std::future::pending().await,
        }
    }

    /// Stops a pairing as soon as its code is shown: what is shown, and how it ends.
    async fn stopped_when(last_word: Option<&str>) -> (Vec<&'static str>, Result<(), Failure>) {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join(control::SOCKET_NAME);
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let mut stop = Some(stop);
        let until = control::Until {
            stop: async {
                let _stopped = stopped.await;
            },
            last_words: match last_word {
                Some(_) => Duration::from_secs(60),
                None => Duration::from_millis(20),
            },
        };
        let mut shown = Vec::new();
        let show = |step: &Step| {
            drop(stop.take());
            shown.push(match step {
                Step::Offer { .. } => "offer",
                Step::Paired { .. } => "paired",
                Step::Stopped => "stopped",
            });
        };
        let pairing = pair_there(place.path(), Duration::from_secs(60), until, show);
        let ended = tokio::select! {
            ended = pairing => ended,
            () = async { hub(listener, last_word).await; std::future::pending().await } => unreachable!(),
        };
        (shown, ended)
    }

    #[tokio::test]
    async fn only_the_hub_says_how_a_stopped_pairing_ended() {
        let (shown, ended) = stopped_when(Some("{\"event\":\"stopped\"}\n")).await;
        assert_eq!((shown, ended.is_ok()), (vec!["offer", "stopped"], true));
        // A phone was confirmed in the same moment.
        let paired = "{\"event\":\"paired\",\"phone\":\"ab\"}\n";
        let (shown, ended) = stopped_when(Some(paired)).await;
        assert_eq!((shown, ended.is_ok()), (vec!["offer", "paired"], true));
        let failed = "{\"event\":\"failed\",\"code\":7,\"message\":\"full\"}\n";
        let (shown, ended) = stopped_when(Some(failed)).await;
        assert_eq!(shown, ["offer"]);
        assert_eq!(ended.unwrap_err().code, Code::Space);
        for silence in [Some(""), None] {
            let (shown, ended) = stopped_when(silence).await;
            assert_eq!(shown, ["offer"], "nobody knows that the code is void");
            let failure = ended.unwrap_err();
            assert_eq!(failure.code, Code::Network);
            assert!(failure.message.contains("secluso-hub status"), "{failure}");
        }
    }
}
