//! Every step of the protocol with what is done to it: the table in `crashtest/invariants.md`, read and compared with
//! what there is.
//!
//! Names only are compared here, and in [`unhit`] what a survey saw. Whether a kill at a point is survived, and whether a
//! bug is caught, the sweep and the trials say. This room must never accept an empty cell.

use std::collections::BTreeSet;

use crate::mutants;
use crate::sweep::Survey;
use crate::workload::Workload;

/// The document with the table.
const DOCUMENT: &str = include_str!("../invariants.md");
/// The table of all crash points, made of their comments.
const POINTS: &str = include_str!("../points.md");
/// How the table begins.
const HEAD: &str = "| step | crash points | workloads | deliberate bugs |";
/// The steps that may not be missing.
const STEPS: [&str; 18] = [
    "heartbeat in the middle of a clip",
    "command",
    "settings",
    "settings of a camera",
    "pairing",
    "adding a phone",
    "adding a phone by a code that another passes on",
    "removing a phone",
    "re-pairing",
    "rotation",
    "deletion",
    "notification",
    "thumbnail",
    "live",
    "retention",
    "drop statement",
    "reset",
    "reset that keeps clips",
];
/// The engine's points belong to no step: every transaction passes them.
const ENGINE: &str = "wal.";

/// A step, and what is done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is called.
    pub step: String,
    /// The crash points that are its own.
    pub points: Vec<String>,
    /// The names of the conversations in which processes die there.
    pub workloads: Vec<String>,
    /// The deliberate bugs that break it.
    pub mutants: Vec<String>,
}

/// The rows of the table.
#[must_use]
pub fn rows() -> Vec<Row> {
    rows_of(DOCUMENT)
}

fn rows_of(document: &str) -> Vec<Row> {
    let lines = document.lines().skip_while(|line| *line != HEAD).skip(2);
    let names = |cell: &str| {
        let names = cell.split(',').map(|name| name.trim().trim_matches('`'));
        let names = names.filter(|name| !name.is_empty());
        names.map(str::to_owned).collect::<Vec<String>>()
    };
    let rows = lines.map_while(|line| {
        let cells = line.strip_prefix('|')?.strip_suffix('|')?;
        let mut cells = cells.split('|');
        let mut cell = || cells.next().unwrap_or_default().trim();
        Some(Row {
            step: cell().to_owned(),
            points: names(cell()),
            workloads: names(cell()),
            mutants: names(cell()),
        })
    });
    rows.collect()
}

/// What is wrong with these rows, a sentence each.
#[must_use]
pub fn wrong(rows: &[Row]) -> Vec<String> {
    let mut wrong = Vec::new();
    let points: BTreeSet<&str> = POINTS
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    for step in STEPS {
        if rows.iter().filter(|row| row.step == step).count() != 1 {
            wrong.push(format!("the step `{step}` has not exactly one row"));
        }
    }
    for Row {
        step,
        points: own,
        workloads,
        mutants,
    } in rows
    {
        let mut cell = |names: &[String], what: &str, is_there: &dyn Fn(&str) -> bool| {
            if names.is_empty() {
                wrong.push(format!("{step}: no {what}"));
            }
            let unknown = names.iter().filter(|name| !is_there(name));
            wrong.extend(unknown.map(|name| format!("{step}: there is no {what} {name}")));
        };
        cell(own, "crash point", &|name| points.contains(name));
        cell(workloads, "workload", &|name| {
            name.parse::<Workload>().is_ok()
        });
        cell(mutants, "deliberate bug", &mutants::is_tried);
    }
    let in_no_row = points.iter().filter(|point| {
        let is_own = |row: &Row| row.points.iter().any(|own| own == *point);
        !point.starts_with(ENGINE) && !rows.iter().any(is_own)
    });
    wrong.extend(in_no_row.map(|point| format!("{point} belongs to no step")));
    wrong
}

/// Points that none of the workloads beside them passed, of those that were surveyed.
#[must_use]
pub fn unhit(rows: &[Row], survey: &Survey) -> Vec<String> {
    let hits: BTreeSet<(Workload, &str)> = survey
        .points
        .values()
        .flat_map(|points| points.hits.keys())
        .map(|(workload, point)| (*workload, point.as_str()))
        .collect();
    let mut wrong = Vec::new();
    for row in rows {
        let workloads = row.workloads.iter().filter_map(|name| name.parse().ok());
        let surveyed: Vec<Workload> = workloads
            .filter(|workload| hits.iter().any(|(one, _)| one == workload))
            .collect();
        if surveyed.is_empty() {
            continue;
        }
        let is_hit = |point: &&String| {
            let mut workloads = surveyed.iter();
            workloads.any(|workload| hits.contains(&(*workload, point.as_str())))
        };
        let never = row.points.iter().filter(|point| !is_hit(point));
        wrong.extend(never.map(|point| {
            let (step, names) = (&row.step, row.workloads.join(", "));
            format!("{step}: {point} is not passed in {names}")
        }));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Role;

    #[test]
    fn each_step_has_points_workloads_and_bugs_and_each_point_a_step() {
        let wrong = wrong(&rows());
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_name_that_is_nobodys_an_empty_cell_and_a_step_that_is_missing_are_seen() {
        let of = |change: &dyn Fn(&mut Vec<Row>)| {
            let mut rows = rows();
            change(&mut rows);
            wrong(&rows)
        };
        let live = rows().iter().position(|row| row.step == "live").unwrap();
        let wrongs = [
            of(&|rows| rows[live].points.push("hub.live.nowhere".into())),
            of(&|rows| rows[live].workloads = vec!["nobody".into()]),
            of(&|rows| rows[live].mutants = vec!["world".into()]),
            of(&|rows| rows[live].mutants.clear()),
            of(&|rows| drop(rows[live].points.pop())),
        ];
        for wrong in wrongs {
            assert_eq!(wrong.len(), 1, "{wrong:?}");
        }
        // Its points are in no row then, either.
        let without = of(&|rows| drop(rows.remove(live)));
        assert_eq!(without.len(), 4, "{without:?}");
        let of_another_table = rows_of("| step | nothing |\n|---|---|\n| live | x |\n");
        assert!(of_another_table.is_empty());
    }

    #[test]
    fn a_point_that_no_workload_beside_it_passes_is_seen() {
        let rows = [Row {
            step: "live".into(),
            points: vec!["app.live.staged".into(), "hub.live.staged".into()],
            workloads: vec!["watch".into()],
            mutants: vec!["session_key_stays".into()],
        }];
        let mut survey = Survey::default();
        assert_eq!(unhit(&rows, &survey), Vec::<String>::new(), "not surveyed");
        let points = survey.points.entry(Role::App).or_default();
        let hit = (Workload::Watch, "app.live.staged".to_owned());
        points.hits.insert(hit, 1);
        let other = (Workload::Event, "hub.live.staged".to_owned());
        points.hits.insert(other, 1);
        assert_eq!(
            unhit(&rows, &survey),
            ["live: hub.live.staged is not passed in watch"]
        );
    }
}
