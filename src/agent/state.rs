//! How the registration stands, and what follows from an answer. Pure.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::Error;
use super::routers::Answered;

/// Between two renewals, if a router says nothing else; and no other pause is shorter or longer.
const RENEWAL: Duration = Duration::from_secs(3);
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// After nobody has answered.
const RETRY: Duration = Duration::from_millis(500);
/// An earlier holder of the name is gone after its term; one that is there by then stays.
const TAKEN: Duration = Duration::from_secs(15);

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Register.
    Register,
    /// Renew the registration.
    Renew,
}

/// What follows.
#[derive(Debug)]
pub(super) enum Next {
    /// The next step, after this pause.
    Pause(Duration),
    /// It makes no sense to go on.
    End(Error),
}

/// What a router says of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Registered {
    pub(super) incarnation: i64,
    pub(super) renew_ms: u64,
    pub(super) in_flight: u32,
}

/// How the registration stands.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// While it is registered.
    incarnation: Option<i64>,
    /// It has been, in this run.
    was_registered: bool,
    /// Since when another one has the name.
    taken_since: Option<Instant>,
    /// Why it is not registered or not renewed, as last said.
    trouble: Option<String>,
}

impl Course {
    pub(super) fn step(&self) -> Step {
        match self.incarnation {
            None => Step::Register,
            Some(_) => Step::Renew,
        }
    }

    pub(super) fn incarnation(&self) -> i64 {
        self.incarnation.unwrap_or_default()
    }

    /// What an end means before there is a registration.
    pub(super) fn ended(&self) -> Result<(), Error> {
        match &self.trouble {
            Some(why) => Err(Error::Unreachable(why.clone())),
            None => Ok(()),
        }
    }

    /// This is the answer to the step.
    pub(super) fn took(&mut self, answered: Answered, now: Instant, random: f64) -> Next {
        match answered {
            Answered::Registered(registered) => self.registered(registered, random),
            Answered::Unknown => {
                // The registrations were lost, or this one was taken out: at once again.
                self.incarnation = None;
                Next::Pause(SHORTEST)
            }
            Answered::Over(why) if self.step() == Step::Renew => Next::End(Error::Refused(why)),
            Answered::Over(why) => {
                let since = *self.taken_since.get_or_insert(now);
                self.say(&why);
                match now.saturating_duration_since(since) < TAKEN {
                    true => Next::Pause(RENEWAL),
                    false => Next::End(Error::Refused(why)),
                }
            }
            Answered::Refused(why) if !self.was_registered => Next::End(Error::Refused(why)),
            Answered::Refused(why) => {
                self.say(&why);
                Next::Pause(RENEWAL)
            }
            Answered::Silent(why) => {
                self.say(&why);
                Next::Pause(RETRY.mul_f64(0.5 + random))
            }
        }
    }

    fn registered(&mut self, registered: Registered, random: f64) -> Next {
        if self.incarnation != Some(registered.incarnation) || self.trouble.is_some() {
            let incarnation = registered.incarnation;
            tracing::info!(incarnation, "registered");
        }
        self.incarnation = Some(registered.incarnation);
        self.was_registered = true;
        self.taken_since = None;
        self.trouble = None;
        let pause = Duration::from_millis(registered.renew_ms).clamp(SHORTEST, LONGEST);
        // So that agents that started together do not go on together.
        Next::Pause(pause.mul_f64(0.8 + 0.4 * random))
    }

    /// Each trouble once.
    fn say(&mut self, why: &str) {
        if self.trouble.as_deref() != Some(why) {
            tracing::warn!(why, "not registered now");
            self.trouble = Some(why.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(incarnation: i64) -> Answered {
        Answered::Registered(Registered {
            incarnation,
            renew_ms: 3_000,
            in_flight: 0,
        })
    }

    fn pause(next: Next) -> Duration {
        match next {
            Next::Pause(pause) => pause,
            Next::End(error) => panic!("{error}"),
        }
    }

    fn over() -> Answered {
        Answered::Over("taken".to_owned())
    }

    #[test]
    fn renewals_are_spread_around_three_seconds() {
        let now = Instant::now();
        for (random, expected) in [(0.0, 2_400), (0.5, 3_000), (1.0, 3_600)] {
            let mut course = Course::default();
            assert_eq!(course.step(), Step::Register);
            let pause = pause(course.took(registered(4), now, random));
            assert_eq!(pause, Duration::from_millis(expected));
            assert_eq!((course.step(), course.incarnation()), (Step::Renew, 4));
        }
    }

    #[test]
    fn routers_that_are_silent_or_have_forgotten_end_nothing() {
        let now = Instant::now();
        let mut course = Course::default();
        for _ in 0..100 {
            let silent = Answered::Silent("refused".to_owned());
            assert!(pause(course.took(silent, now, 0.5)) <= RETRY);
        }
        assert!(matches!(course.ended(), Err(Error::Unreachable(_))));
        pause(course.took(registered(1), now, 0.5));
        pause(course.took(Answered::Unknown, now, 0.5));
        assert_eq!(course.step(), Step::Register);
        let refused = Answered::Refused("the join key is needed".to_owned());
        pause(course.took(refused, now, 0.5));
    }

    #[test]
    fn who_may_not_register_ends_at_once_and_who_was_replaced_too() {
        let now = Instant::now();
        let refused = Answered::Refused("the join key is needed".to_owned());
        assert!(matches!(
            Course::default().took(refused, now, 0.5),
            Next::End(_)
        ));
        let mut course = Course::default();
        pause(course.took(registered(1), now, 0.5));
        assert!(matches!(course.took(over(), now, 0.5), Next::End(_)));
    }

    #[test]
    fn a_name_that_another_has_is_waited_for_as_long_as_a_dead_one_could_have_it() {
        let start = Instant::now();
        let mut course = Course::default();
        pause(course.took(over(), start, 0.5));
        pause(course.took(over(), start + TAKEN / 2, 0.5));
        assert!(matches!(
            course.took(over(), start + TAKEN, 0.5),
            Next::End(_)
        ));
    }
}
