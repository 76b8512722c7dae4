//! Reads what a libFuzzer program says on stderr. A line that is not known says nothing.

/// Lines of a failed run that are shown.
const TAIL_LINES: usize = 30;

/// The numbers of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Inputs that were run.
    pub(super) runs: u64,
    pub(super) runs_per_second: u64,
    /// Edges that were reached.
    pub(super) coverage: u64,
    /// Edges with how often, and compared values.
    pub(super) features: u64,
    /// Inputs that reached something new.
    pub(super) new_inputs: u64,
    /// Most memory, in MiB.
    pub(super) peak_mib: u64,
}

/// The last word about each number.
pub(super) fn heard(said: &str) -> Heard {
    let mut heard = Heard::default();
    for line in said.lines() {
        let number = |name: &str| {
            let value = line.strip_prefix(name)?;
            value.trim().parse::<u64>().ok()
        };
        if let Some(runs) = number("stat::number_of_executed_units:") {
            heard.runs = runs;
        } else if let Some(rate) = number("stat::average_exec_per_sec:") {
            heard.runs_per_second = rate;
        } else if let Some(inputs) = number("stat::new_units_added:") {
            heard.new_inputs = inputs;
        } else if let Some(mib) = number("stat::peak_rss_mb:") {
            heard.peak_mib = mib;
        } else if line.starts_with('#') {
            heard.coverage = behind(line, "cov:").unwrap_or(heard.coverage);
            heard.features = behind(line, "ft:").unwrap_or(heard.features);
        }
    }
    heard
}

fn behind(line: &str, word: &str) -> Option<u64> {
    let mut words = line.split_whitespace();
    words.find(|found| *found == word)?;
    words.next()?.parse().ok()
}

/// The end of what a failed run said, where the reason is.
pub(super) fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with('#')).collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.into_iter().skip(from).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "INFO: seed corpus: files: 19\n\
        #20\tINITED cov: 300 ft: 400 corp: 19/1Kb exec/s: 0 rss: 50Mb\n\
        #4096\tpulse  cov: 412 ft: 980 corp: 61/3Kb lim: 4096 exec/s: 2048 rss: 61Mb\n\
        #9000\tDONE   cov: 415 ft: 990 corp: 65/3Kb lim: 4096 exec/s: 1800 rss: 61Mb\n\
        Done 9000 runs in 5 second(s)\n\
        stat::number_of_executed_units: 9000\n\
        stat::average_exec_per_sec:     1800\n\
        stat::new_units_added:          46\n\
        stat::slowest_unit_time_sec:    0\n\
        stat::peak_rss_mb:              61\n";

    #[test]
    fn the_last_numbers_count() {
        let want = Heard {
            runs: 9000,
            runs_per_second: 1800,
            coverage: 415,
            features: 990,
            new_inputs: 46,
            peak_mib: 61,
        };
        assert_eq!(heard(SAID), want);
        assert_eq!(heard(""), Heard::default());
        assert!(!tail(SAID).contains('#') && tail(SAID).contains("Done 9000 runs"));
    }
}
