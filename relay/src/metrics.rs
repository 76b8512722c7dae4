//! The relay in numbers, as Prometheus reads them (text format 0.0.4): `secluso-relay metrics`.
//!
//! Numbers only. This room must never show an address, an identifier, or anything of one account.

use crate::control::StatusReport;

/// The page of a running relay's figures.
pub(crate) fn to_text(report: &StatusReport) -> String {
    let gauges = [
        ("connections", report.connections, "Devices connected now."),
        (
            "accounts",
            report.accounts,
            "Accounts with anything stored.",
        ),
        ("mailboxes", report.mailboxes, "Mailboxes."),
        (
            "envelope_bytes",
            report.envelope_bytes,
            "Bytes of envelopes, as they came.",
        ),
        (
            "quota_bytes",
            report.quota_bytes,
            "What quotas count for them.",
        ),
        ("log_files", report.log_files, "Log files in use."),
        (
            "free_log_files",
            report.free_log_files,
            "Log files that are kept free.",
        ),
        (
            "config_waiting",
            report.waiting.len() as u64,
            "Changed keys that wait for a restart.",
        ),
    ];
    let measured = report.disk_bytes.map(|bytes| {
        (
            "disk_bytes",
            bytes,
            "What the data directory takes on disk.",
        )
    });
    let mut page = String::new();
    for (name, value, help) in gauges.into_iter().chain(measured) {
        push(&mut page, name, "gauge", value, help);
    }
    push(
        &mut page,
        "syncs_total",
        "counter",
        report.syncs,
        "Syncs since the start.",
    );
    page
}

fn push(page: &mut String, name: &str, kind: &str, value: u64, help: &str) {
    page.push_str(&format!(
        "# HELP secluso_relay_{name} {help}\n# TYPE secluso_relay_{name} {kind}\nsecluso_relay_{name} {value}\n"
    ));
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
        for secret in ["example", "KEY", "192.0.2"] {
            assert!(!text.contains(secret), "{text}");
        }
        report.disk_bytes = None;
        assert!(!to_text(&report).contains("disk_bytes"));
    }
}
