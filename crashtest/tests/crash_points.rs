//! Every crash point of every program: killed at its first hit, started again, judged.

use crashtest::oracle::Verdict;
use crashtest::process::Role;
use crashtest::sweep::{self, Death};
use crashtest::system::Crash;
use crashtest::trouble::{Outcome, Trouble};

/// Points that the conversation does not hit, each with its reason.
const EXCUSED: &[(Role, &str, &str)] = &[];

#[test]
fn killed_at_the_first_hit_of_every_point() -> Outcome<()> {
    let points = sweep::survey()?;
    let unexplained = sweep::unexplained(&points, EXCUSED);
    assert!(unexplained.is_empty(), "{unexplained:#?}");

    let mut crashes = Vec::new();
    for (role, points) in &points {
        for point in points
            .linked
            .keys()
            .filter(|point| points.hits.contains_key(*point))
        {
            crashes.push(Crash {
                role: *role,
                point: point.clone(),
                hit: 1,
            });
        }
    }
    let cells = sweep::run(&crashes);
    let bad: Vec<String> = cells
        .iter()
        .filter(|cell| cell.died == Death::Never || cell.verdict != Verdict::Pass)
        .map(ToString::to_string)
        .collect();
    for (role, point, reason) in EXCUSED {
        println!("{role} {point}: NOT COVERED: {reason}");
    }
    println!(
        "{} runs, {} not passed, {} points excused",
        cells.len(),
        bad.len(),
        EXCUSED.len()
    );
    if bad.is_empty() {
        return Ok(());
    }
    Err(Trouble::Broken(format!("{bad:#?}")))
}
