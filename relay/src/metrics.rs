//! The relay in numbers, as Prometheus reads them (text format 0.0.4), or as one object of JSON: `secluso-relay metrics`.
//!
//! Numbers only. This room must never show an address, an identifier, or anything of one account.

use serde_json::{Value, json};

use crate::control::StatusReport;

/// What stands before every name.
const PREFIX: &str = "secluso_relay";

/// A figure.
struct Metric {
    name: &'static str,
    /// What Prometheus calls its type.
    kind: &'static str,
    value: u64,
    help: &'static str,
}

/// The page of a running relay's figures.
pub(crate) fn to_text(report: &StatusReport) -> String {
    let mut page = String::new();
    for metric in metrics_of(report) {
        let Metric {
            name,
            kind,
            value,
            help,
        } = metric;
        page.push_str(&format!(
            "# HELP {PREFIX}_{name} {help}\n# TYPE {PREFIX}_{name} {kind}\n{PREFIX}_{name} {value}\n"
        ));
    }
    page
}

/// The same as one object: a list of values, each with its name and type. None of them has a label.
pub(crate) fn to_json(report: &StatusReport) -> Value {
    let of = |metric: Metric| {
        let name = format!("{PREFIX}_{}", metric.name);
        json!({"name": name, "type": metric.kind, "labels": {}, "value": metric.value})
    };
    let all: Vec<Value> = metrics_of(report).into_iter().map(of).collect();
    json!({"event": "metrics", "metrics": all})
}

fn metrics_of(report: &StatusReport) -> Vec<Metric> {
    let gauge = |name, value, help| Metric {
        name,
        kind: "gauge",
        value,
        help,
    };
    let mut all = vec![
        gauge("connections", report.connections, "Devices connected now."),
        gauge(
            "accounts",
            report.accounts,
            "Accounts with anything stored.",
        ),
        gauge("mailboxes", report.mailboxes, "Mailboxes."),
        gauge(
            "envelope_bytes",
            report.envelope_bytes,
            "Bytes of envelopes, as they came.",
        ),
        gauge(
            "quota_bytes",
            report.quota_bytes,
            "What quotas count for them.",
        ),
        gauge("log_files", report.log_files, "Log files in use."),
        gauge(
            "free_log_files",
            report.free_log_files,
            "Log files that are kept free.",
        ),
        gauge(
            "config_waiting",
            report.waiting.len() as u64,
            "Changed keys that wait for a restart.",
        ),
    ];
    let measured = report.disk_bytes.map(|bytes| {
        gauge(
            "disk_bytes",
            bytes,
            "What the data directory takes on disk.",
        )
    });
    all.extend(measured);
    all.push(Metric {
        name: "syncs_total",
        kind: "counter",
        value: report.syncs,
        help: "Syncs since the start.",
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_figures_and_no_address() {
        let mut report = StatusReport {
            relay: "relay.example:4433/KEY".into(),
            listening: "192.0.2.7:4433".into(),
            connections: 3,
            accounts: 2,
            mailboxes: 20,
            envelope_bytes: 1000,
            quota_bytes: 4096,
            disk_bytes: Some(70_000),
            syncs: 9,
            log_files: 1,
            free_log_files: 4,
            log_file_bytes: 16 << 20,
            supervised: true,
            watchdog_s: None,
            waiting: vec!["listen".into()],
        };
        let text = to_text(&report);
        for line in [
            "secluso_relay_connections 3",
            "secluso_relay_mailboxes 20",
            "secluso_relay_disk_bytes 70000",
            "secluso_relay_syncs_total 9",
            "secluso_relay_config_waiting 1",
        ] {
            assert!(text.lines().any(|said| said == line), "{line}\n{text}");
        }
        let object = to_json(&report);
        let values = object["metrics"].as_array().unwrap();
        let said = values
            .iter()
            .map(|one| format!("{} {}", one["name"].as_str().unwrap(), one["value"]));
        let said: Vec<String> = said.collect();
        let page: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(said, page);
        let syncs = json!({"name": "secluso_relay_syncs_total", "type": "counter", "labels": {}, "value": 9});
        assert!(values.contains(&syncs), "{object}");
        for secret in ["example", "KEY", "192.0.2"] {
            assert!(!text.contains(secret), "{text}");
            assert!(!object.to_string().contains(secret), "{object}");
        }
        report.disk_bytes = None;
        assert!(!to_text(&report).contains("disk_bytes"));
    }
}
