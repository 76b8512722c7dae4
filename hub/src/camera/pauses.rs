//! How long to wait before a camera is opened again. It knows no clock; the dice are an argument.
//!
//! A camera that restarts must be found within seconds, so pauses stay short; it is one of ours, on
//! our own network. Only a refused password is tried rarely: many cameras lock an account after a few
//! wrong ones, and nobody but the owner can correct it. One that this camera has taken before is most likely right: a
//! camera that starts, or has too many viewers, refuses for a moment. This room must never let two attempts follow
//! each other without a pause.

use std::time::Duration;

use super::CameraErrorKind;

/// The first pause, before jitter.
pub const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest, before jitter.
pub const PAUSE_MAX: Duration = Duration::from_secs(4);
/// The first pause after a refused password: most locks count five of them in half an hour.
pub const LOGIN_PAUSE_MIN: Duration = Duration::from_secs(600);
/// The longest after a refused password.
pub const LOGIN_PAUSE_MAX: Duration = Duration::from_secs(3600);
/// How often a password that the camera has taken is tried again after [`PAUSE_MAX`] before it counts as a wrong one.
pub const LOGIN_RETRIES: u32 = 2;
/// The pause behind these: with the one that follows, four attempts in half an hour, fewer than most locks count.
const LOGIN_PAUSE_RETRIED: Duration = Duration::from_secs(4 * 600);
/// A camera that has handed out pictures for so long was there: pauses begin anew.
pub const HELD_MIN: Duration = Duration::from_secs(10);

/// Pauses between attempts to open one camera.
pub struct Pauses {
    next: Duration,
    next_login: Duration,
    /// How often a refused password is tried again soon.
    login_retries: u32,
    dice: Box<dyn FnMut() -> u64 + Send>,
}

impl Pauses {
    /// From the shortest pauses; `dice` gives random numbers.
    pub fn new(dice: Box<dyn FnMut() -> u64 + Send>) -> Self {
        Self {
            next: PAUSE_MIN,
            next_login: LOGIN_PAUSE_MIN,
            login_retries: 0,
            dice,
        }
    }

    /// The camera failed, or could not be opened; answers how long to wait, between half and all of
    /// what is due. `held` is for how long it had handed out pictures.
    pub fn handle_failure(&mut self, kind: CameraErrorKind, held: Duration) -> Duration {
        if held >= HELD_MIN {
            self.next = PAUSE_MIN;
        }
        let due = match kind {
            CameraErrorKind::Login if self.login_retries > 0 => {
                self.login_retries -= 1;
                self.next_login = LOGIN_PAUSE_RETRIED;
                PAUSE_MAX
            }
            CameraErrorKind::Login => {
                let due = self.next_login;
                self.next_login = (due * 2).min(LOGIN_PAUSE_MAX);
                due
            }
            CameraErrorKind::Retry | CameraErrorKind::Replace => {
                let due = self.next;
                self.next = (due * 2).min(PAUSE_MAX);
                due
            }
        };
        let half = due / 2;
        let span = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_millis((self.dice)() % span)
    }

    /// The camera was opened: its password is right.
    pub fn handle_opened(&mut self) {
        self.next_login = LOGIN_PAUSE_MIN;
        self.login_retries = LOGIN_RETRIES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses() -> Pauses {
        let mut number = 0;
        Pauses::new(Box::new(move || {
            number += 7919;
            number
        }))
    }

    #[test]
    fn a_camera_that_is_away_is_found_within_seconds() {
        let mut pauses = pauses();
        let mut due = PAUSE_MIN;
        for _ in 0..20 {
            let pause = pauses.handle_failure(CameraErrorKind::Retry, Duration::ZERO);
            assert!(pause >= due / 2 && pause <= due, "{pause:?} for {due:?}");
            due = (due * 2).min(PAUSE_MAX);
        }
        let pause = pauses.handle_failure(CameraErrorKind::Retry, HELD_MIN);
        assert!(pause <= PAUSE_MIN, "{pause:?}");
    }

    #[test]
    fn a_wrong_password_is_tried_a_few_times_in_an_hour() {
        let mut pauses = pauses();
        let mut passed = Duration::ZERO;
        let mut attempts = 1;
        while passed < Duration::from_secs(3600) {
            passed += pauses.handle_failure(CameraErrorKind::Login, Duration::ZERO);
            attempts += 1;
        }
        assert!(attempts <= 5, "{attempts} attempts");
        for _ in 0..9 {
            let pause = pauses.handle_failure(CameraErrorKind::Login, HELD_MIN);
            assert!(pause >= LOGIN_PAUSE_MIN / 2 && pause <= LOGIN_PAUSE_MAX);
        }
    }

    #[test]
    fn a_password_that_was_taken_is_tried_twice_more_within_seconds() {
        let mut pauses = pauses();
        let mut refused = move |is_taken_before| {
            if is_taken_before {
                pauses.handle_opened();
            }
            pauses.handle_failure(CameraErrorKind::Login, Duration::ZERO)
        };
        let long = LOGIN_PAUSE_MIN / 2..=LOGIN_PAUSE_MIN;
        assert!(long.contains(&refused(false)), "nobody knows it");
        for _ in 0..3 {
            let soon = [refused(true), refused(false)];
            for pause in soon {
                assert!(pause >= PAUSE_MAX / 2 && pause <= PAUSE_MAX, "{pause:?}");
            }
            let pause = refused(false);
            assert!(
                pause >= LOGIN_PAUSE_RETRIED / 2 && pause <= LOGIN_PAUSE_RETRIED,
                "{pause:?}"
            );
        }
    }

    /// The owner has changed the password at the camera: its lock must not see five attempts in half an hour.
    #[test]
    fn a_password_that_is_taken_no_more_never_locks_the_account() {
        for dice in [0, u64::MAX, 7] {
            let mut pauses = Pauses::new(Box::new(move || dice));
            pauses.handle_opened();
            let mut attempts = vec![Duration::ZERO];
            for _ in 0..12 {
                let pause = pauses.handle_failure(CameraErrorKind::Login, Duration::ZERO);
                attempts.push(attempts[attempts.len() - 1] + pause);
            }
            for five in attempts.windows(5) {
                assert!(five[4] - five[0] >= Duration::from_secs(1_800), "{five:?}");
            }
        }
    }
}
