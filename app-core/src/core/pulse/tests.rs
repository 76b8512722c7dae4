//! When a heartbeat is due, and when a camera looks offline: times, launches, clocks that jump.

use super::*;

const T: u64 = 1_800_000_000_000;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn said(number: u64) -> Said {
    Said {
        number,
        first_unix_ms: T,
        last_unix_ms: T,
        attempts: 1,
        answered: true,
        level_unix_ms: None,
    }
}

fn answered() -> Pulse {
    Pulse {
        said: Some(said(7)),
        ..Pulse::default()
    }
}

/// Every line waits for its Commit, config too.
fn unanswered() -> Pulse {
    let said = Said {
        answered: false,
        ..said(7)
    };
    Pulse {
        said: Some(said),
        mute: true,
        waits_since_unix_ms: Some(T),
        ..Pulse::default()
    }
}

fn level(pulse: Pulse, unix_ms: u64) -> Pulse {
    let said = pulse.said.map(|said| Said {
        level_unix_ms: Some(unix_ms),
        ..said
    });
    Pulse { said, ..pulse }
}

#[test]
fn a_heartbeat_is_due_at_once_then_every_six_hours_and_ten_minutes_after_one_at_a_launch() {
    let first = Pulse::default();
    assert_eq!(first.next_unix_ms(Rhythm::Running, T), Some(0));
    assert!(!first.is_settled());
    let pulse = answered();
    assert!(pulse.is_settled());
    assert_eq!(pulse.next_unix_ms(Rhythm::Running, T), Some(T + 6 * HOUR));
    assert_eq!(pulse.next_unix_ms(Rhythm::Launch, T), Some(T + 10 * MINUTE));
    let jitter_ms = 11 * MINUTE;
    let pulse = Pulse { jitter_ms, ..pulse };
    let less = T + 6 * HOUR - 11 * MINUTE;
    assert_eq!(pulse.next_unix_ms(Rhythm::Running, T), Some(less));
    let over = Pulse {
        over: true,
        ..pulse
    };
    assert_eq!(over.next_unix_ms(Rhythm::Launch, T), None);
}

/// A die that is thrown at each look would fall low at one of them.
#[test]
fn jitter_is_the_same_at_every_look_and_other_for_each_phone_and_heartbeat() {
    let pairing = |byte: u8| PairingId([byte; 16]);
    let mut seen = BTreeSet::new();
    for byte in 0..20 {
        for number in 0..20 {
            let jitter = jitter_ms(pairing(byte), number);
            assert_eq!(jitter, jitter_ms(pairing(byte), number));
            assert!(jitter < JITTER_MS_MAX);
            seen.insert(jitter / MINUTE);
        }
    }
    assert_eq!(seen.len(), 30, "every minute of half an hour occurs");
}

#[test]
fn a_launch_is_owed_once_for_each_pairing_and_only_to_a_person() {
    let (one, other) = (PairingId([1; 16]), PairingId([2; 16]));
    let mut launch = Launch::ByPerson(BTreeSet::new());
    assert_eq!(launch.rhythm(one), Rhythm::Launch);
    launch.is_over(one);
    assert_eq!(launch.rhythm(one), Rhythm::Running);
    assert_eq!(launch.rhythm(other), Rhythm::Launch, "its own line is away");
    let mut scheduled = Launch::ByScheduler;
    assert_eq!(scheduled.rhythm(one), Rhythm::Running);
    scheduled.is_over(one);
    assert_eq!(scheduled, Launch::ByScheduler);
}

#[test]
fn what_failed_is_said_again_after_ever_longer_pauses() {
    let at = |pulse: Pulse, rhythm| pulse.heartbeat_unix_ms(rhythm, T).unwrap() - T;
    // The hub took the keys and did not answer: the same number again and again.
    fn unread(attempts: u32) -> Pulse {
        let said = Said {
            answered: false,
            attempts,
            ..said(7)
        };
        Pulse {
            said: Some(said),
            ..Pulse::default()
        }
    }
    // It answered, and a clip overtook the keys of one line, time after time.
    fn overtaken(behind: u32) -> Pulse {
        Pulse {
            behind: u64::from(behind),
            ..answered()
        }
    }
    let failed: [fn(u32) -> Pulse; 2] = [unread, overtaken];
    for failed in failed {
        let pauses: Vec<u64> = (1..=13)
            .map(|n| at(failed(n), Rhythm::Running) / 30_000)
            .collect();
        assert_eq!(
            pauses,
            [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 720, 720, 720]
        );
        let launched: Vec<u64> = (1..=6).map(|n| at(failed(n), Rhythm::Launch)).collect();
        let minutes_10 = 10 * MINUTE;
        assert_eq!(
            launched,
            [
                30_000,
                MINUTE,
                2 * MINUTE,
                4 * MINUTE,
                8 * MINUTE,
                minutes_10
            ]
        );
    }
    assert_eq!(at(overtaken(u32::MAX), Rhythm::Running), 6 * HOUR);
    assert_eq!(at(unread(u32::MAX), Rhythm::Running), 6 * HOUR);
}

/// A scheduler that is told nothing never calls again.
#[test]
fn while_the_hub_is_silent_there_is_always_a_next_look() {
    let pulse = unanswered();
    assert_eq!(pulse.heartbeat_unix_ms(Rhythm::Launch, T), None);
    let mut now = T;
    let mut pulse = pulse;
    let mut looks = Vec::new();
    for _ in 0..9 {
        let next = pulse.next_unix_ms(Rhythm::Running, now).unwrap();
        assert!(next > now && pulse.asks_for_note(next));
        // A sync looks then, and writes down that the answer was not at the relay.
        now = next;
        pulse = level(pulse, now);
        assert!(!pulse.asks_for_note(now));
        looks.push((now - T) / (15 * MINUTE));
    }
    // A quarter of an hour; then twice as long each time; then six hours more.
    assert_eq!(looks, [1, 2, 4, 8, 16, 32, 56, 80, 104]);
}

#[test]
fn an_app_may_say_after_how_long_a_camera_looks_offline() {
    for offline_after_ms in [1_000, HOUR, EVERY_MS] {
        let pulse = Pulse {
            offline_after_ms,
            ..unanswered()
        };
        assert_eq!(pulse.look_unix_ms(T), Some(T + offline_after_ms));
        let late = T + 24 * HOUR;
        let looked = level(pulse, T + offline_after_ms - 1);
        assert_eq!(looked.offline_since_unix_ms(late), None);
        let looked = level(pulse, T + offline_after_ms);
        assert_eq!(looked.offline_since_unix_ms(late), Some(T));
        assert_eq!(
            looked.look_unix_ms(late),
            Some(T + offline_after_ms + offline_after_ms.min(EVERY_MS))
        );
    }
}

#[test]
fn the_camera_looks_offline_once_we_have_looked_and_not_before() {
    let pulse = unanswered();
    // In a sync that ends nobody looks between two calls, however long that is.
    assert!(!pulse.looks_offline(T + 24 * HOUR));
    assert!(!level(pulse, T + 5_000).looks_offline(T + 24 * HOUR));
    let seen = level(pulse, T + OFFLINE_AFTER_MS);
    assert!(seen.looks_offline(T + OFFLINE_AFTER_MS));
    // Saying it again every half minute does not hide it: what counts is when it was said first.
    let again = seen.said.map(|said| Said {
        last_unix_ms: T + OFFLINE_AFTER_MS,
        attempts: 5,
        ..said
    });
    let again = Pulse {
        said: again,
        mute: false,
        ..seen
    };
    assert!(again.looks_offline(T + OFFLINE_AFTER_MS));
    let settled = Pulse {
        waits_since_unix_ms: None,
        ..seen
    };
    assert!(!settled.looks_offline(T + 24 * HOUR));
}

/// One line whose Commit never comes is an alarm, and does not end the heartbeats of the others.
#[test]
fn one_line_that_waits_for_ever_is_noticed_and_the_others_go_on() {
    let stuck = Pulse {
        waits_since_unix_ms: Some(T - 3 * HOUR),
        ..answered()
    };
    let next = stuck.heartbeat_unix_ms(Rhythm::Running, T);
    assert_eq!(next, Some(T + 6 * HOUR));
    // A new heartbeat knows of no look yet: there is one at once.
    assert!(stuck.asks_for_note(T) && !stuck.looks_offline(T));
    let looked = level(stuck, T);
    assert!(looked.looks_offline(T) && !looked.asks_for_note(T));
    // Somebody else's look a minute later is written down; another one at once is not.
    assert!(looked.asks_for_note(T + MINUTE));
    assert_eq!(
        looked.next_unix_ms(Rhythm::Running, T),
        Some(T + 3 * HOUR),
        "as long again as it has been silent"
    );
}

#[test]
fn a_clock_that_was_wrong_and_put_right_silences_nobody() {
    const YEAR: u64 = 365 * 24 * HOUR;
    // Said by a clock that was a year ahead.
    let now = T - YEAR;
    let next = answered().next_unix_ms(Rhythm::Running, now);
    assert_eq!(next, Some(now));
    let silent = unanswered();
    assert_eq!(silent.next_unix_ms(Rhythm::Running, now), Some(now));
    assert!(silent.asks_for_note(now) && !silent.looks_offline(now));
    // The note counts the wait anew (journal), and then there is nothing to be done for a while.
    let said = silent.said.map(|said| Said {
        first_unix_ms: now,
        level_unix_ms: Some(now),
        ..said
    });
    let noted = Pulse {
        said,
        waits_since_unix_ms: Some(now),
        ..silent
    };
    assert!(!noted.asks_for_note(now));
    let look = now + OFFLINE_AFTER_MS;
    assert_eq!(noted.next_unix_ms(Rhythm::Running, now), Some(look));
    // A look by the wrong clock counts for nothing and is made again.
    let looked = level(unanswered(), T + YEAR);
    assert!(!looked.looks_offline(T) && looked.asks_for_note(T));
    // Being set by a second, as clocks are, is no such thing.
    let next = answered().next_unix_ms(Rhythm::Running, T - 1_000);
    assert_eq!(next, Some(T + 6 * HOUR));
}
