//! S3 and S4 with the attacker's own tools, in short: `cargo xtask thief` takes longer lives.

use crashtest_sim::mutants::{self, TRIALS, Tier};
use crashtest_sim::theft::{self, Terms};

#[test]
fn a_thief_opens_what_is_in_progress_and_without_seals_everything() {
    let evidence = theft::evidence(Terms::shortest(3), &|_, _| {}).unwrap();
    let complaints = evidence.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}\n{evidence:#?}");
    for life in [&evidence.sealed, &evidence.retaining] {
        assert_eq!((life.broken, life.finished.1, life.deleted.1), (0, 0, 0));
        assert_eq!((life.shut.1, life.released.1), (0, 0));
        // Of two cameras at once, of what phones store, and of pairings.
        assert_eq!((life.beside.1, life.stored_notices.1), (0, 0));
        let pairing = life.pairing;
        let past = (pairing.past_welcomes_opened, pairing.past_secrets_found);
        assert_eq!(past, (0, 0), "{pairing:?}");
        // Five groups of the first phone, of the second, and of the one that takes its place.
        assert!(pairing.welcomes >= 15, "{pairing:?}");
        assert_eq!(pairing.welcomes_opened, pairing.welcomes);
        for class in [life.sessions, life.pictures, life.notices] {
            assert!(class.all > 0 && class.finished.0 > 0, "{class:?}");
            assert_eq!((class.finished.1, class.later, class.gone.1), (0, 0, 0));
        }
        // Each kind of step came.
        assert!(life.crashes > 0 && life.heals > 0 && life.commands > 1);
        assert!(life.pairings > 1 && life.removals > 0);
        assert!(life.beside.0 > 0, "two cameras never recorded at once");
        assert!(life.deaths.iter().all(|deaths| *deaths > 0), "{life:?}");
        assert!(life.hub_copies > 30 && life.phone_copies > 30);
        assert!(life.copies_within > 30);
    }
    let unsealed = evidence.unsealed;
    assert!(unsealed.broken > 0, "a life without seals breaks promises");
    for class in [unsealed.sessions, unsealed.pictures, unsealed.notices] {
        assert_eq!(
            (class.by_any, class.all > 0),
            (class.all, true),
            "{class:?}"
        );
    }
}

#[test]
fn a_copy_that_is_left_open_and_a_key_that_stays_are_seen() {
    let linked = mutants::linked().unwrap();
    for (name, seed) in [
        ("retained_never_forgotten", 3),
        ("key_stays_beside_a_clip", 3),
        ("offer_keys_stay", 3),
        ("update_passed_over", 3),
    ] {
        assert!(TRIALS.iter().any(|trial| trial.mutant == name), "{name}");
        // It is nobody's pair that a life begins with.
        let pair = crashtest_sim::run::pair(journal::Suite::Classic).unwrap();
        let broken = mutants::play(Tier::Theft, seed, Some(name), &pair).unwrap_err();
        assert_eq!(broken.promise, linked[name], "{broken}");
    }
}
