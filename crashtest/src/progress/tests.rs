//! What a file of progress says to the next process: a torn line, another build, a failure that passes now.

use super::*;

/// A run with a name and a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
struct One {
    name: String,
    failed: bool,
}

impl Kept for One {
    type Case = String;

    fn case(&self) -> String {
        self.name.clone()
    }

    fn fails(&self) -> bool {
        self.failed
    }

    fn to_value(&self) -> Value {
        json!({"name": self.name, "failed": self.failed})
    }

    fn of_value(value: &Value) -> Option<Self> {
        Some(Self {
            name: value.get("name")?.as_str()?.to_owned(),
            failed: value.get("failed")?.as_bool()?,
        })
    }
}

fn one(name: &str, failed: bool) -> One {
    One {
        name: name.to_owned(),
        failed,
    }
}

fn plan(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("progress")
    }

    fn open(&self) -> io::Result<Progress<One>> {
        Progress::open(&self.path(), "this")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }
}

#[test]
fn what_passed_is_not_made_again_and_counts() {
    let place = Place::new();
    let progress = place.open().unwrap();
    assert_eq!(progress.take(&one("a", false)).unwrap(), 1);
    assert_eq!(progress.take(&one("b", false)).unwrap(), 2);
    let again = place.open().unwrap();
    assert_eq!(again.all(), [one("a", false), one("b", false)]);
    assert_eq!(again.left_of(&plan(&["a", "b", "c"])), ["c"]);
    // A plan that was counted anew may lack what was done.
    assert_eq!(again.with_done(plan(&["c", "b"])), ["c", "b", "a"]);
}

#[test]
fn a_failure_is_kept_for_ever_and_made_again_first() {
    let place = Place::new();
    place.open().unwrap().take(&one("z", true)).unwrap();
    let second = place.open().unwrap();
    assert_eq!(second.left_of(&plan(&["a", "z"])), ["z", "a"]);
    // It passes now, and did fail on this build.
    second.take(&one("z", false)).unwrap();
    assert_eq!(second.all(), [one("z", true)]);
    let third = place.open().unwrap();
    assert_eq!(third.all(), [one("z", true)], "a failure is forgotten");
    assert_eq!(third.left_of(&plan(&["a"])), ["z", "a"]);
    // One that passed and fails in a later part fails from then on.
    third.take(&one("a", false)).unwrap();
    third.take(&one("a", true)).unwrap();
    assert!(place.open().unwrap().all().iter().all(Kept::fails));
}

#[test]
fn a_torn_last_line_is_no_line_and_the_next_one_is_whole() {
    let place = Place::new();
    let progress = place.open().unwrap();
    progress.take(&one("a", false)).unwrap();
    let before = place.text();
    progress.take(&one("b", true)).unwrap();
    let whole = place.text();
    for cut in before.len()..whole.len() {
        std::fs::write(place.path(), &whole.as_bytes()[..cut]).unwrap();
        let again = place.open().unwrap();
        assert_eq!(again.all(), [one("a", false)], "{cut}");
        assert_eq!(again.left_of(&plan(&["a", "b"])), ["b"], "{cut}");
        again.take(&one("c", false)).unwrap();
        let third = place.open().unwrap();
        assert_eq!(third.all(), [one("a", false), one("c", false)], "{cut}");
    }
    // The very first line, too.
    for cut in 0.."build this".len() {
        std::fs::write(place.path(), &whole.as_bytes()[..cut]).unwrap();
        assert!(place.open().unwrap().all().is_empty(), "{cut}");
        assert_eq!(place.text(), "build this\n", "{cut}");
    }
}

#[test]
fn another_build_and_damage_are_refused_and_nothing_is_changed() {
    let place = Place::new();
    place.open().unwrap().take(&one("a", true)).unwrap();
    let text = place.text();
    let other = Progress::<One>::open(&place.path(), "other").unwrap_err();
    assert!(other.to_string().contains("another build"), "{other}");
    assert_eq!(place.text(), text);
    for wrong in [
        "something else",
        "build this\nnothing\n",
        "build this\n{\"wall\": 1.0}\n",
        "build this\n{\"wall\": -1.0, \"cell\": {\"name\": \"a\", \"failed\": false}}\n",
    ] {
        std::fs::write(place.path(), wrong).unwrap();
        assert!(place.open().is_err(), "{wrong}");
        assert_eq!(place.text(), wrong);
    }
}

#[test]
fn the_plan_is_counted_once_and_time_adds_up() {
    let place = Place::new();
    let progress = place.open().unwrap();
    assert_eq!(progress.plan(), None);
    progress.keep_plan(json!({"hub": 3})).unwrap();
    let line = json!({"wall": 100.0, "cell": one("a", false).to_value()});
    std::fs::write(place.path(), format!("{}{line}\n", place.text())).unwrap();
    let again = place.open().unwrap();
    assert_eq!(again.plan(), Some(json!({"hub": 3})));
    assert!(again.wall() >= Duration::from_secs(100));
}

#[test]
fn a_build_is_all_bytes_of_all_programs() {
    let place = Place::new();
    let path = |name: &str| place.0.path().join(name);
    for (name, bytes) in [("a", "one"), ("b", "two"), ("c", "on"), ("d", "etwo")] {
        std::fs::write(path(name), bytes).unwrap();
    }
    let both = |first: &str, second: &str| build(&[path(first), path(second)]).unwrap();
    assert_eq!(both("a", "b").len(), 16);
    assert_eq!(both("a", "b"), both("a", "b"));
    assert_ne!(both("a", "b"), both("b", "a"));
    assert_ne!(both("a", "b"), both("c", "d"), "bytes were moved");
    assert!(build(&[path("none")]).is_err());
}
