//! Small totals of several machines: what is added, what is refused, and what is said to be missing.

use super::*;

/// A shard that ran three kinds: seeds, a list of reports, and one that each machine runs whole.
fn totals(shard: &str, seeds: u64) -> Value {
    json!({
        "tier": "full", "commit": "abc", "shard": shard, "minutes": 240,
        "commits": {"engine": "abc", "power-cuts": "abc", "model": "abc"},
        "shards": {"engine": shard, "power-cuts": shard, "model": shard},
        "seconds": {"engine": seeds as f64, "power-cuts": 5.0, "model": 1.0},
        "left_out": ["real-file-system"], "failed": [], "failed_now": [], "good": true,
        "results": {
            "engine": {"from": 0, "seeds": seeds, "left": 1, "failed": [], "crashes": 7,
                "unfinished": "1 seeds were not reached", "seconds": seeds as f64},
            "power-cuts": [{
                "program": "secluso-hub", "part": "log", "unique": 10, "failed": 0,
                "kinds": {"kill": {"unique": seeds}}, "refusals": {}, "slowest_start_ms": seeds,
                "unfinished": null, "seconds": 2.0, "states_per_second": 5.0,
                "failures": [{"kept": "/home/somebody/target/debug/crash/full/failed/1"}],
            }],
            "model": {"unique_states": 9},
        },
    })
}

fn merge(files: &[Value]) -> Outcome<Value> {
    let parts = files.iter().enumerate().map(|(number, totals)| {
        let file = format!("file {number}");
        Part::new(file, totals.clone())
    });
    let without = BTreeSet::from(["real-file-system".to_owned()]);
    merged(parts.collect::<Outcome<Vec<Part>>>()?, &without)
}

fn refused(files: &[Value]) -> String {
    merge(files).expect_err("it must be refused").to_string()
}

/// The shard of the machine that has the real file system for itself.
fn real_file_system() -> Value {
    json!({
        "tier": "full", "commit": "abc", "shard": "0/1", "minutes": 100,
        "commits": {"real-file-system": "abc", "engine": "an older one"},
        "shards": {"real-file-system": "0/1", "engine": "0/1"},
        "seconds": {"real-file-system": 60.0}, "left_out": [],
        "failed": ["engine", "power-cuts", "model"], "failed_now": [], "good": false,
        "results": {"real-file-system": {"epochs": 3}, "engine": {"seeds": 1_000_000},
            "power-cuts": null, "model": null},
    })
}

#[test]
fn what_shards_found_is_added_and_what_each_ran_whole_is_not() {
    let sum = merge(&[totals("1/2", 30), totals("0/2", 20)]).unwrap();
    let engine = &sum["results"]["engine"];
    assert_eq!(engine["seeds"], 50);
    assert_eq!(
        (&engine["left"], &engine["crashes"]),
        (&json!(2), &json!(14))
    );
    assert_eq!(engine["seconds"], 50.0);
    assert_eq!(
        engine["unfinished"],
        "shard 0/2: 1 seeds were not reached; shard 1/2: 1 seeds were not reached"
    );
    let cuts = &sum["results"]["power-cuts"];
    assert_eq!(cuts.as_array().map(Vec::len), Some(1));
    assert_eq!(cuts[0]["part"], "log");
    assert_eq!(cuts[0]["unique"], 20);
    assert_eq!(cuts[0]["kinds"]["kill"]["unique"], 50);
    assert_eq!(cuts[0]["slowest_start_ms"], 30);
    assert_eq!(cuts[0]["unfinished"], Value::Null);
    assert_eq!(cuts[0]["states_per_second"], 5.0);
    assert_eq!(cuts[0]["failures"][1]["kept"], "crash/full/failed/1");
    assert_eq!(sum["results"]["model"]["unique_states"], 9);
    assert_eq!(sum["seconds"]["engine"], 30.0);
    assert_eq!(sum["shard"], "0/2 + 1/2");
    assert_eq!(sum["shards"]["engine"], "0/2 + 1/2");
    assert_eq!(sum["good"], true);
    assert_eq!(sum["not_covered"], json!([]));
    assert_eq!(sum["left_out"], json!(["real-file-system"]));
}

#[test]
fn kills_are_added_point_by_point() {
    let kills = |shard: &str, point: &str, caught: bool| {
        let mut one = totals(shard, 1);
        one["results"]["kills"] = json!({
            "good": caught, "totals": {"planned": 4, "fatal": 0},
            "points": [
                {"program": "secluso-hub", "point": "both", "again_in_recovery": false,
                 "counts": {"planned": 3}, "workloads": {"event": 2, "trim": 1}},
                {"program": "secluso-hub", "point": point, "again_in_recovery": false,
                 "counts": {"planned": 1}, "workloads": {"event": 1}},
            ],
            "failed": [], "not_covered": ["2 second crashes"], "not_entered": ["a room"], "seconds": 3.5,
            "mutants": [{"mutant": "x", "promise": "C1", "caught": caught, "seconds": 2.0}],
        });
        one["commits"]["kills"] = json!("abc");
        one["shards"]["kills"] = json!(shard);
        if !caught {
            one["failed"] = json!(["kills"]);
        }
        one
    };
    let sum = merge(&[kills("0/2", "one", true), kills("1/2", "two", false)]).unwrap();
    let found = &sum["results"]["kills"];
    assert_eq!(found["totals"]["planned"], 8);
    let points = found["points"].as_array().unwrap();
    let planned: Vec<(&Value, &Value)> = points
        .iter()
        .map(|row| (&row["point"], &row["counts"]["planned"]))
        .collect();
    let wanted =
        [("both", 6), ("one", 1), ("two", 1)].map(|(name, runs)| (json!(name), json!(runs)));
    assert!(
        planned
            .iter()
            .copied()
            .eq(wanted.iter().map(|(name, runs)| (name, runs)))
    );
    assert_eq!(points[0]["workloads"], json!({"event": 4, "trim": 2}));
    // Two equal sentences are about different runs; two equal rooms are one.
    assert_eq!(found["not_covered"].as_array().map(Vec::len), Some(2));
    assert_eq!(found["not_entered"], json!(["a room"]));
    // A bug that survived on one machine survived.
    assert_eq!(found["mutants"][0]["caught"], false);
    assert_eq!(found["good"], false);
    assert_eq!(sum["failed"], json!(["kills"]));
    assert_eq!(sum["good"], false);
}

#[test]
fn disk_errors_are_added_by_program_and_error() {
    let errors = |shard: &str, unfinished: bool| {
        let mut one = totals(shard, 1);
        one["results"]["disk-errors"] = json!({
            "rows": [{"program": "hub", "error": "EIO", "operations": 537, "planned": 269,
                "tried": 269, "runs": 268, "restarted": 9, "fatal": 0}],
            "fatal": [], "not_covered": [], "unfinished": unfinished, "seconds": 60, "good": true,
        });
        one["commits"]["disk-errors"] = json!("abc");
        one["shards"]["disk-errors"] = json!(shard);
        one
    };
    let sum = merge(&[errors("0/2", false), errors("1/2", true)]).unwrap();
    let found = &sum["results"]["disk-errors"];
    // Both machines counted the same operations, and tried different ones.
    assert_eq!(found["rows"][0]["operations"], 537);
    assert_eq!(found["rows"][0]["tried"], 538);
    assert_eq!(found["unfinished"], true);
    assert_eq!(found["good"], true);
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let other = |key: &str, value: &str| {
        let mut other = totals("1/2", 1);
        other[key] = json!(value);
        other
    };
    for (file, wanted) in [
        (other("commit", "def"), "commit"),
        (other("commit", "abc and changes"), "is of no commit"),
        (other("commit", "unknown"), "is of no commit"),
        (other("shard", "1/3"), "number of shards"),
        (other("shard", "0/2"), "are both shard 0/2"),
        (other("shard", "2/2"), "of no shard"),
        (other("shard", "0/2 + 1/2"), "of no shard"),
        (other("tier", "crash"), "only totals of --full"),
        (json!([]), "only totals of --full"),
    ] {
        let said = refused(&[totals("0/2", 1), file]);
        assert!(said.contains(wanted), "{said}");
    }
    // A whole run beside a shard would count the shard's seeds twice.
    let said = refused(&[totals("0/1", 1), totals("1/2", 1)]);
    assert!(said.contains("engine: shard"), "{said}");
    let said = refused(&[totals("0/1", 1), totals("0/1", 1)]);
    assert!(said.contains("engine: shard"), "{said}");
    // A figure that nobody said how to add.
    let mut strange = totals("1/2", 1);
    strange["results"]["engine"]["wonders"] = json!(3);
    let said = refused(&[totals("0/2", 1), strange]);
    assert!(said.contains("engine.wonders"), "{said}");
}

#[test]
fn a_shard_that_nobody_brought_is_not_covered_and_neither_is_one_without_a_result() {
    let mut killed = totals("2/4", 5);
    killed["results"]["engine"] = Value::Null;
    killed["failed"] = json!(["engine"]);
    killed["failed_now"] = json!(["engine"]);
    let sum = merge(&[totals("0/4", 20), killed, totals("3/4", 30)]).unwrap();
    assert_eq!(sum["results"]["engine"]["seeds"], 50);
    let wanted = [
        "engine, shard 1/4: no file of it was given",
        "engine, shard 2/4: without a result",
        "power-cuts, shard 1/4: no file of it was given",
    ];
    assert_eq!(words(&sum["not_covered"]), wanted);
    assert_eq!(sum["failed"], json!(["engine"]));
}

#[test]
fn the_machine_with_the_real_file_system_belongs_to_the_shards() {
    let shards = [totals("0/2", 20), totals("1/2", 30)];
    let with = |machine: Value| {
        let mut files = shards.to_vec();
        files.push(machine);
        merge(&files).unwrap()
    };
    let sum = with(real_file_system());
    assert_eq!(sum["results"]["real-file-system"]["epochs"], 3);
    // What another commit left on that machine is not counted, and what it did not run is no failure.
    assert_eq!(sum["results"]["engine"]["seeds"], 50);
    assert_eq!((&sum["good"], &sum["left_out"]), (&json!(true), &json!([])));
    // Without that machine everybody left it to somebody else.
    let parts = shards.iter().cloned();
    let parts = parts.map(|totals| Part::new("a file".to_owned(), totals));
    let parts: Vec<Part> = parts.collect::<Outcome<_>>().unwrap();
    let sum = merged(parts, &BTreeSet::new()).unwrap();
    let wanted = ["real-file-system: every file leaves it out"];
    assert_eq!(words(&sum["not_covered"]), wanted);
    // Somebody left it out, but this machine tried and could not.
    let mut unable = real_file_system();
    unable["results"]["real-file-system"] = json!({"not_run": "this machine lacks root"});
    unable["failed_now"] = json!(["real-file-system"]);
    let sum = with(unable);
    assert_eq!(sum["failed"], json!(["real-file-system"]));
    assert_eq!(sum["left_out"], json!([]));
    let wanted = ["real-file-system, shard 0/1: this machine lacks root"];
    assert_eq!(words(&sum["not_covered"]), wanted);
}

#[test]
fn every_figure_of_the_kept_totals_has_a_rule() {
    let text = fs::read_to_string(cargo::root().join(FULL_TOTALS)).unwrap();
    let kept: Value = serde_json::from_str(&text).unwrap();
    let part = |shard: &str| {
        let mut part = kept.clone();
        part["commit"] = json!("abc");
        part["shard"] = json!(shard);
        for kind in kept["results"].as_object().unwrap().keys() {
            part["commits"][kind] = json!("abc");
            part["shards"][kind] = json!(shard);
        }
        part
    };
    let sum = merge(&[part("0/2"), part("1/2")]).unwrap();
    let mut checked = 0;
    for kind in ["simulation", "engine"] {
        let seeds = |totals: &Value| totals["results"][kind]["seeds"].as_u64();
        if let Some(one) = seeds(&kept) {
            assert_eq!(seeds(&sum), Some(2 * one), "{kind}");
            checked += 1;
        }
    }
    assert!(checked > 0);
}

#[test]
fn a_merge_runs_nothing_and_wants_to_know_where_to() {
    let parse = |text: &str| {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        asked_for(&words)
    };
    assert!(parse("--full --shard 0/4").unwrap().is_none());
    let options = parse("--json --merge a b --bless").unwrap().unwrap();
    assert_eq!(options.files, [PathBuf::from("a"), PathBuf::from("b")]);
    assert!(options.json && options.bless);
    let options = parse("--json --merge a --without kills").unwrap().unwrap();
    assert!(options.without.contains("kills"));
    for wrong in [
        "--merge --json",
        "--merge a",
        "--merge a --json --full",
        "--merge a --json --without",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}
