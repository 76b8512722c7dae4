//! Chromium as a judge: headless, muted, a film through Media Source Extensions, in real time to its end.
//!
//! It gets a profile of its own and is killed with all that it has started, whatever happens. A picture that it drops may
//! be the machine's fault, which has other tests to run meanwhile: so a film of which one was dropped is played again, twice at most,
//! and said to be. One that is not shown whole then is at fault.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::presence::Player;
use crate::read::parts;
use crate::site::Site;
use crate::{Fault, Film, ROUNDING};

/// The judge's name.
const JUDGE: &str = "Chromium";
/// How often a film is shown if pictures of it were dropped: what is promised is that none is, and a machine of two
/// cores that draws without a graphics card drops one now and then whatever the film: one of 70 in two shows of three was seen.
const SHOWS_MAX: u32 = 3;
/// What it may take beyond the films themselves, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a browser is looked at that says nothing.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The end of what it said that a failure shows, in bytes.
const SAID_BYTES: usize = 2_000;

/// What makes it headless, ours alone and quiet. Root, as which CI runs, has no sandbox.
const FLAGS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-extensions",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
];

/// Has Chromium play films, in one go: a verdict for each.
///
/// # Errors
/// [`Fault::Machine`]: it could not be run, or does not come to an end.
pub fn play(films: &[Film]) -> Result<Vec<Result<(), Fault>>, Fault> {
    let program = Player::Chromium
        .program()
        .ok_or_else(|| Fault::machine(JUDGE, "it is not installed"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::machine(JUDGE, error))?;
    judged(films, |films| runtime.block_on(shown(program, films)))
}

/// A verdict for each film, by the reports of as many shows as they need.
fn judged(
    films: &[Film],
    mut show_all: impl FnMut(&[Film]) -> Result<Vec<Value>, Fault>,
) -> Result<Vec<Result<(), Fault>>, Fault> {
    let mut verdicts: BTreeMap<usize, Result<(), Fault>> = BTreeMap::new();
    for show in 1..=SHOWS_MAX {
        let left: Vec<usize> = (0..films.len())
            .filter(|at| !verdicts.contains_key(at))
            .collect();
        if left.is_empty() {
            break;
        }
        let again: Vec<Film> = left.iter().map(|at| films[*at].clone()).collect();
        let reports = show_all(&again)?;
        for ((at, film), report) in left.into_iter().zip(&again).zip(&reports) {
            let dropped = number(report, "dropped");
            // What was shown whole is judged by that, and not shown again.
            if dropped == 0.0 || show == SHOWS_MAX {
                verdicts.insert(at, judge(film, report));
            } else {
                eprintln!(
                    "{JUDGE} dropped {dropped} pictures of {}, which is shown once more",
                    film.name
                );
            }
        }
    }
    Ok(verdicts.into_values().collect())
}

/// One browser, all films: its report of each.
async fn shown(program: &str, films: &[Film]) -> Result<Vec<Value>, Fault> {
    let machine = |error: io::Error| Fault::machine(JUDGE, error);
    let (tell, mut reports) = mpsc::channel(1);
    let site = Arc::new(Site {
        page: page(films),
        films: films.iter().map(|film| film.bytes.clone()).collect(),
        reports: tell,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(machine)?;
    let address = listener.local_addr().map_err(machine)?;
    let place = tempfile::Builder::new()
        .prefix("secluso-browser-")
        .tempdir()
        .map_err(machine)?;
    let url = format!("http://{address}/");
    let mut browser = Browser::start(program, place.path(), &url).map_err(machine)?;
    let mut connections = JoinSet::new();
    let serving = async {
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.map_err(machine)?;
                    let site = Arc::clone(&site);
                    // What becomes of a connection the page sees.
                    connections.spawn(async move { drop(site.answer(stream).await) });
                }
                Some(_answered) = connections.join_next() => {}
                Some(report) = reports.recv() => return Ok(report),
                () = tokio::time::sleep(LOOK_INTERVAL) => {
                    if let Some(status) = browser.child.try_wait().map_err(machine)? {
                        return Err(Fault::machine(JUDGE, format!("it ended: {status}")));
                    }
                }
            }
        }
    };
    let all: Duration = films.iter().map(|film| film.want.lasts).sum();
    let patience = PATIENCE + all;
    let report = match tokio::time::timeout(patience, serving).await {
        Ok(report) => report,
        Err(_late) => Err(Fault::machine(
            JUDGE,
            format!("no report within {patience:?}"),
        )),
    };
    drop(browser);
    let report = report.map_err(|fault| with_words(fault, place.path()))?;
    let report: Value =
        serde_json::from_slice(&report).map_err(|error| Fault::machine(JUDGE, error))?;
    match report.as_array() {
        Some(reports) if reports.len() == films.len() => Ok(reports.clone()),
        _ => Err(Fault::machine(JUDGE, format!("it reports {report}"))),
    }
}

/// The page, with what it has to know of the films.
fn page(films: &[Film]) -> String {
    let films: Vec<Value> = films
        .iter()
        .map(|film| {
            // What is appended in one go.
            let parts: Vec<usize> = parts(&film.bytes).iter().map(|part| part.len()).collect();
            json!({"mime": film.mime, "parts": parts, "pictures": film.want.pictures})
        })
        .collect();
    // Within a script nothing may look like its end.
    let films = Value::from(films).to_string().replace('<', "\\u003c");
    include_str!("page.html").replace("@FILMS@", &films)
}

fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or(0.0)
}

/// What the page has reported of a film, against what that should be.
fn judge(film: &Film, report: &Value) -> Result<(), Fault> {
    let want = &film.want;
    let lasts = number(report, "ends") - number(report, "begins");
    let slack = (want.picture + ROUNDING).as_secs_f64();
    let is_near = |found: f64, want: f64| (found - want).abs() <= slack;
    let is_shown_whole = report["error"].is_null()
        && number(report, "ranges") == 1.0
        && is_near(lasts, want.lasts.as_secs_f64())
        && is_near(number(report, "at"), number(report, "ends"))
        && report["total"].as_u64() == u64::try_from(want.pictures).ok()
        && report["dropped"].as_u64() == Some(0)
        && report["corrupted"].as_u64() == Some(0)
        && (number(report, "soundBytes") > 0.0) == want.sound.is_some();
    match is_shown_whole {
        true => Ok(()),
        false => {
            let said = format!("it reports {report}; it should be {want:?}");
            Err(Fault::refused(JUDGE, film, said))
        }
    }
}

/// A fault of the machine with the end of what the browser wrote.
fn with_words(fault: Fault, place: &Path) -> Fault {
    let Fault::Machine { judge, said } = fault else {
        return fault;
    };
    let words = std::fs::read(place.join("words")).unwrap_or_default();
    let begin = words.len().saturating_sub(SAID_BYTES);
    let words = String::from_utf8_lossy(words.get(begin..).unwrap_or_default());
    Fault::machine(judge, format!("{said}; it said: {}", words.trim()))
}

/// A running browser. Dropping it kills it and all of its processes.
struct Browser {
    child: Child,
}

impl Browser {
    fn start(program: &str, place: &Path, url: &str) -> io::Result<Self> {
        let words = File::create(place.join("words"))?;
        let profile = format!("--user-data-dir={}", place.join("profile").display());
        let child = Command::new(program)
            .args(FLAGS)
            .arg(profile)
            .arg(url)
            .stdin(Stdio::null())
            .stdout(words.try_clone()?)
            .stderr(words)
            .process_group(0)
            .spawn()?;
        Ok(Self { child })
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended by itself.
            let _ended = kill_process_group(group, Signal::KILL);
        }
        let _status = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Want;
    use crate::read::tests::foreign;

    fn film() -> Film {
        Film {
            name: "a film".to_owned(),
            bytes: foreign(),
            mime: "video/mp4; codecs=\"avc1.64000A</script>\"".to_owned(),
            want: Want {
                pictures: 50,
                lasts: Duration::from_secs(2),
                picture: Duration::from_millis(40),
                sound: None,
            },
        }
    }

    #[test]
    fn each_thing_that_a_browser_misses_is_a_fault() {
        let good = json!({"ranges": 1, "begins": 7.0, "ends": 9.0, "at": 9.0, "total": 50, "dropped": 0,
            "corrupted": 0, "soundBytes": 0});
        judge(&film(), &good).expect("shown whole");
        let wrong = [
            ("error", json!("Error: it is no film")),
            ("ranges", json!(2)),
            ("ends", json!(8.9)),
            ("begins", json!(6.9)),
            ("at", json!(8.9)),
            ("total", json!(49)),
            ("total", json!(null)),
            ("dropped", json!(1)),
            ("dropped", json!(null)),
            ("corrupted", json!(1)),
            ("soundBytes", json!(9)),
        ];
        for (key, value) in wrong {
            let mut report = good.clone();
            report[key] = value;
            assert!(judge(&film(), &report).is_err(), "{report}");
        }
        assert!(judge(&film(), &json!({})).is_err());
    }

    /// Twice the machine may be at fault.
    #[test]
    fn a_film_of_which_pictures_are_dropped_in_every_show_is_refused() {
        let report = |dropped: u64| {
            json!({"ranges": 1, "begins": 7.0, "ends": 9.0, "at": 9.0, "total": 50, "dropped": dropped,
                "corrupted": 0, "soundBytes": 0})
        };
        // (dropped in each show, whether the film is good)
        let table: [(&[u64], bool); 3] = [(&[0], true), (&[3, 1, 0], true), (&[1, 1, 1], false)];
        for (shows, is_good) in table {
            let mut reports = shows.iter().map(|dropped| vec![report(*dropped)]);
            let verdicts = judged(&[film()], |films| {
                assert_eq!(films.len(), 1);
                Ok(reports.next().expect("no more shows than these"))
            });
            let verdict = verdicts.expect("it is shown").remove(0);
            assert_eq!(verdict.is_ok(), is_good, "{shows:?}");
        }
    }

    #[test]
    fn the_page_knows_its_films_and_ends_where_it_ends() {
        let film = film();
        let lengths: Vec<String> = parts(&film.bytes)
            .iter()
            .map(|part| part.len().to_string())
            .collect();
        let page = page(&[film]);
        assert_eq!(page.matches("</script>").count(), 1, "{page}");
        assert!(!page.contains("@FILMS@"));
        assert!(page.contains(&format!("[{}]", lengths.join(","))), "{page}");
    }
}
