//! Where the log goes: to the journal of the system with fields of its own, if journald reads stderr and hears its
//! socket; else to stderr, and there in journald's own form if that reads it.
//!
//! A field has the name that it has here, behind `SECLUSO_`: `journalctl SECLUSO_EVENT=clip_dropped`. It must never
//! decide what is said, only how; and of a fact it takes a few words alone, by their names, none of which holds a secret.

use std::io::{self, StderrLock, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tracing::Metadata;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use wal::service::{Urgency, is_read_by_journald};

use crate::output::Format;

/// Before the name of each field in the journal of the system.
const PREFIX: &str = "SECLUSO";
/// The program's name there, and before what is said to people.
const NAME: &str = "secluso-hub";
/// What is said to people is no part of the log, and no filter of that leaves it out.
const SAID: &str = "said";
/// Whether everything goes to the journal of the system by its socket.
static IS_NATIVE: AtomicBool = AtomicBool::new(false);

/// Starts the log of this process; `SECLUSO_LOG` says what is in it.
pub fn start() {
    let filter = EnvFilter::try_from_env("SECLUSO_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let is_journald = is_read_by_journald();
    // Where its socket is out of reach, what stands on stderr reaches it all the same.
    let native = is_journald.then(tracing_journald::layer);
    if let Some(Ok(layer)) = native {
        let layer = layer
            .with_field_prefix(Some(PREFIX.to_owned()))
            .with_syslog_identifier(NAME.to_owned())
            .with_priority_mappings(priorities());
        let filter = match format!("{SAID}=trace").parse() {
            Ok(always) => filter.add_directive(always),
            Err(_) => filter,
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(layer)
            .init();
        IS_NATIVE.store(true, Ordering::Relaxed);
        return;
    }
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false);
    if is_journald {
        // It notes the time itself, and shows no colours.
        log.without_time()
            .with_ansi(false)
            .with_writer(Journald)
            .init();
    } else {
        log.with_writer(io::stderr).init();
    }
}

/// The numbers of [`Urgency`], which a line on stderr has as well.
fn priorities() -> PriorityMappings {
    PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    }
}

/// What is said to people beside facts and log.
pub fn aside(urgency: Urgency, text: &str) {
    aside_about(urgency, text, &Value::Null);
}

/// The same about a fact, whose words become fields where there are any.
pub fn aside_about(urgency: Urgency, text: &str, fact: &Value) {
    if IS_NATIVE.load(Ordering::Relaxed) {
        return note(urgency, text, fact);
    }
    let text = lines(is_read_by_journald().then_some(urgency), text);
    // Nobody can be told that stderr is closed.
    let _closed = io::stderr().lock().write_all(text.as_bytes());
}

/// A fact on stdout: one JSON object, or `text`, which stands in the journal of the system with its fields instead where
/// that is what people read.
pub fn fact(format: Format, json: &Value, text: &str) {
    let is_read_there = format == Format::Text && IS_NATIVE.load(Ordering::Relaxed);
    match is_read_there && !text.is_empty() {
        true => note(Urgency::Info, text, json),
        false => format.line(json, text),
    }
}

/// One entry for whoever subscribes, with the fields of a fact.
fn note(urgency: Urgency, text: &str, fact: &Value) {
    macro_rules! at {
        ($level:expr) => {
            tracing::event!(
                target: SAID,
                $level,
                event = fact["event"].as_str(),
                camera = fact["camera"].as_str(),
                clip = fact["clip"].as_str(),
                phone = fact["phone"].as_str(),
                channel = fact["channel"].as_str(),
                why = fact["why"].as_str(),
                "{text}"
            )
        };
    }
    match urgency {
        Urgency::Error => at!(tracing::Level::ERROR),
        Urgency::Warning => at!(tracing::Level::WARN),
        Urgency::Info => at!(tracing::Level::INFO),
        Urgency::Debug => at!(tracing::Level::DEBUG),
    }
}

fn lines(urgency: Option<Urgency>, text: &str) -> String {
    let prefix = urgency.map_or("", Urgency::prefix);
    let mut out = String::new();
    for (number, line) in text.lines().enumerate() {
        let name = if number == 0 { "secluso-hub: " } else { "" };
        out.push_str(&format!("{prefix}{name}{line}\n"));
    }
    out
}

/// Stderr, each line behind its urgency.
struct Journald;

impl<'a> MakeWriter<'a> for Journald {
    type Writer = StderrLock<'static>;

    fn make_writer(&'a self) -> Self::Writer {
        io::stderr().lock()
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        let mut stderr = io::stderr().lock();
        let prefix = Urgency::from(metadata.level()).prefix();
        // What follows fails as well, and says so.
        let _closed = stderr.write_all(prefix.as_bytes());
        stderr
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::Context;

    use super::*;

    /// What is taken of a fact.
    const FIELDS: [&str; 6] = ["event", "camera", "clip", "phone", "channel", "why"];

    #[test]
    fn each_line_for_journald_has_its_urgency_and_people_see_none() {
        let text = "the camera is away\nIt is opened again";
        assert_eq!(
            lines(Some(Urgency::Warning), text),
            "<4>secluso-hub: the camera is away\n<4>It is opened again\n"
        );
        assert_eq!(
            lines(None, text),
            "secluso-hub: the camera is away\nIt is opened again\n"
        );
    }

    /// Level, target and fields of what was noted.
    type Noted = (tracing::Level, String, BTreeMap<String, String>);

    /// What a layer for journald is given.
    #[derive(Clone, Default)]
    struct Book(Arc<Mutex<Vec<Noted>>>);

    struct Fields(BTreeMap<String, String>);

    impl Visit for Fields {
        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.insert(field.name().to_owned(), value.to_owned());
        }

        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0.insert(field.name().to_owned(), format!("{value:?}"));
        }
    }

    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Book {
        fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
            let mut fields = Fields(BTreeMap::new());
            event.record(&mut fields);
            let metadata = event.metadata();
            let noted = (*metadata.level(), metadata.target().to_owned(), fields.0);
            self.0.lock().unwrap().push(noted);
        }
    }

    #[test]
    fn a_fact_has_its_words_as_fields_and_nothing_else_of_it() {
        let book = Book::default();
        let subscriber = tracing_subscriber::registry().with(book.clone());
        let fact = json!({"event": "clip_dropped", "clip": "00ff", "camera": "door", "why": "age",
                          "invitation": "secluso-invite:secret", "bytes": 7});
        tracing::subscriber::with_default(subscriber, || {
            note(Urgency::Warning, "a clip is dropped", &fact);
            note(Urgency::Info, "nothing about it", &Value::Null);
        });
        let noted = book.0.lock().unwrap();
        let (level, target, fields) = &noted[0];
        assert_eq!((*level, target.as_str()), (tracing::Level::WARN, SAID));
        assert_eq!(fields["message"], "a clip is dropped");
        assert_eq!(fields["event"], "clip_dropped");
        assert_eq!(fields["camera"], "door");
        assert_eq!(
            (fields["clip"].as_str(), fields["why"].as_str()),
            ("00ff", "age")
        );
        let is_known = |name: &String| name == "message" || FIELDS.contains(&name.as_str());
        assert!(fields.keys().all(is_known), "{fields:?}");
        let (level, _, fields) = &noted[1];
        assert_eq!(*level, tracing::Level::INFO);
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["message"]);
    }

    #[test]
    fn an_entry_has_the_priority_that_its_line_would_have() {
        let mapped = priorities();
        for (urgency, priority) in [
            (Urgency::Error, mapped.error),
            (Urgency::Warning, mapped.warn),
            (Urgency::Info, mapped.info),
            (Urgency::Debug, mapped.debug),
        ] {
            // The enumeration has the digit itself as its value.
            let digit = char::from(priority as u8);
            assert_eq!(urgency.prefix(), format!("<{digit}>"));
        }
    }
}
