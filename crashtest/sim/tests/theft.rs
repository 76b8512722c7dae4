//! S3 and S4 with the attacker's own tools, in short: `cargo xtask thief` takes longer lives.

use crashtest_sim::theft::{self, Terms};

#[test]
fn a_thief_opens_what_is_in_progress_and_without_seals_everything() {
    let terms = Terms {
        epochs: 12,
        seed: 3,
    };
    let evidence = theft::evidence(terms, &|_, _| {}).unwrap();
    let complaints = evidence.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}\n{evidence:#?}");
    let (sealed, unsealed) = (&evidence.sealed, &evidence.unsealed);
    assert_eq!(
        (sealed.broken, sealed.finished.1, sealed.deleted.1),
        (0, 0, 0)
    );
    assert!(unsealed.broken > 0, "a life without seals breaks promises");
    assert!(sealed.hub_copies > 30 && sealed.phone_copies > 30);
}
