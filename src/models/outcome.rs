//! How a call on several servers has ended, in words. Pure.
//!
//! What one server says alone is passed on as it said it: with one server, the router is that server. Of several
//! servers those that failed are named, each with its reason, and those on which it is done.

use std::sync::Arc;

use http::StatusCode;

use super::merge::{Failed, Share, Standing};
use super::targets::{LeftOut, listed};

/// The end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// On every server that was asked.
    Success,
    /// Not on all of them.
    Failed {
        /// For whoever has not been told anything yet.
        status: StatusCode,
        words: String,
    },
}

/// What is done with what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    /// As in `pull of 'llama3.2'`.
    pub(super) verb: &'static str,
    /// The model in the client's spelling, or the digest.
    pub(super) what: &'a str,
}

/// What became of a call on these servers, with those that were left out by name.
pub(super) fn conclude(call: Call<'_>, servers: &[Share], missed: &[LeftOut]) -> Outcome {
    let mut failed: Vec<(&Arc<str>, &Failed)> = Vec::new();
    let mut done: Vec<&str> = Vec::new();
    for share in servers {
        match &share.standing {
            Standing::Failed(why) => failed.push((&share.name, why)),
            Standing::Done | Standing::Running => done.push(&share.name),
        }
    }
    let Some((_, first)) = failed.first() else {
        return match missed.is_empty() {
            true => Outcome::Success,
            false => partial(call, &[], &done, missed),
        };
    };
    let same = failed.iter().all(|(_, why)| why.words == first.words);
    if done.is_empty() && missed.is_empty() && same {
        let names: Vec<&str> = failed.iter().map(|(name, _)| &***name).collect();
        return Outcome::Failed {
            status: first.status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            words: match names.len() {
                1 => first.words.clone(),
                _ => format!("{} ({})", first.words, names.join(", ")),
            },
        };
    }
    partial(call, &failed, &done, missed)
}

fn partial(
    call: Call<'_>,
    failed: &[(&Arc<str>, &Failed)],
    done: &[&str],
    missed: &[LeftOut],
) -> Outcome {
    let mut reasons: Vec<String> = failed
        .iter()
        .map(|(name, why)| format!("{name} ({})", why.words))
        .collect();
    if !missed.is_empty() {
        reasons.push(listed(missed));
    }
    let failed = reasons.join(", ");
    let done = match done.is_empty() {
        true => "it is done on no server".to_owned(),
        false => format!("it is done on {}", done.join(", ")),
    };
    Outcome::Failed {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        words: format!(
            "{} of '{}' failed on {failed}; {done}",
            call.verb, call.what
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(name: &str, failed: Option<(u16, &str)>) -> Share {
        let failed = failed.map(|(status, words)| Failed {
            status: StatusCode::from_u16(status).ok(),
            words: words.to_owned(),
        });
        Share {
            name: name.into(),
            standing: failed.map_or(Standing::Done, Standing::Failed),
            status: "".into(),
        }
    }

    fn said(servers: &[Share], missed: &[LeftOut]) -> (u16, String) {
        let call = Call {
            verb: "pull",
            what: "m",
        };
        match conclude(call, servers, missed) {
            Outcome::Success => (200, String::new()),
            Outcome::Failed { status, words } => (status.as_u16(), words),
        }
    }

    #[test]
    fn one_server_has_its_own_words() {
        let words = "invalid model name";
        assert_eq!(said(&[share("a", None)], &[]), (200, String::new()));
        assert_eq!(
            said(&[share("a", Some((400, words)))], &[]),
            (400, words.into())
        );
        // After it has begun there is no status any more.
        assert_eq!(
            said(&[share("a", Some((0, words)))], &[]),
            (500, words.into())
        );
    }

    #[test]
    fn of_several_those_that_failed_are_named_and_those_that_did_not() {
        let no = Some((0, "no such model"));
        let all = [share("a", no), share("b", no)];
        assert_eq!(said(&all, &[]).1, "no such model (a, b)");
        let some = [
            share("a", None),
            share("b", no),
            share("c", Some((502, "refused"))),
        ];
        assert_eq!(
            said(&some, &[]),
            (
                500,
                "pull of 'm' failed on b (no such model), c (refused); it is done on a".into()
            )
        );
        let differ = [share("b", no), share("c", Some((502, "refused")))];
        assert!(said(&differ, &[]).1.ends_with("; it is done on no server"));
    }

    #[test]
    fn a_server_that_was_missed_is_a_failure() {
        let missed = [LeftOut {
            name: "z".into(),
            why: "down".into(),
        }];
        let words = "pull of 'm' failed on z (down); it is done on a";
        assert_eq!(said(&[share("a", None)], &missed), (500, words.into()));
    }
}
