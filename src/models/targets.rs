//! Which servers a call is for, pure.
//!
//! Only Ollama servers take part. One that is down or drains is named and not asked, unless the client asked
//! for it by name: then the call has failed there.

use std::sync::Arc;

use crate::fleet::Endpoint;

/// How many servers get a model that is pulled or created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// All of them.
    #[default]
    All,
    /// So many.
    Some(usize),
}

/// One server, as far as the choice is concerned.
#[derive(Clone, Debug)]
pub(super) struct Candidate<S = Arc<Endpoint>> {
    pub(super) server: S,
    pub(super) name: Arc<str>,
    /// It has Ollama's API.
    pub(super) manages: bool,
    /// Why it cannot be asked now.
    pub(super) away: Option<&'static str>,
    /// It lists the model.
    pub(super) has: bool,
    /// Bytes of all its models.
    pub(super) bytes: u64,
    /// It has the account at ollama.com.
    pub(super) cloud: bool,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To get a model there.
    Get(Spread),
    /// To change a model wherever it is.
    Change,
    /// To read it from one server; the others are for when that one cannot be reached.
    Read,
}

/// The choice.
#[derive(Clone, Debug)]
pub(super) struct Targets<S = Arc<Endpoint>> {
    /// Those that are asked, in this order.
    pub(super) chosen: Vec<Candidate<S>>,
    /// Those that are not and ought to be, and why.
    pub(super) left_out: Vec<LeftOut>,
}

/// A server that was not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub name: Arc<str>,
    /// Why.
    pub why: Arc<str>,
}

/// Why there is nothing to choose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoTarget {
    #[error("there is no server '{0}'")]
    Unknown(String),
    #[error("models are managed on Ollama servers only, and '{0}' is none")]
    OtherKind(Arc<str>),
    #[error("no server can be reached{}", behind(.0))]
    Away(Vec<LeftOut>),
}

fn behind(left_out: &[LeftOut]) -> String {
    match left_out.is_empty() {
        true => String::new(),
        false => format!(": {}", listed(left_out)),
    }
}

/// The servers and why, for people.
pub(super) fn listed(left_out: &[LeftOut]) -> String {
    let each = left_out
        .iter()
        .map(|one| format!("{} ({})", one.name, one.why));
    each.collect::<Vec<_>>().join(", ")
}

/// Chooses among all servers, or those that are named.
pub(super) fn choose<S>(
    purpose: Purpose,
    candidates: Vec<Candidate<S>>,
    only: &[Box<str>],
) -> Result<Targets<S>, NoTarget> {
    check(&candidates, only)?;
    let is_meant = |name: &str| only.is_empty() || only.iter().any(|one| **one == *name);
    let (mut up, mut left_out) = (Vec::new(), Vec::new());
    for candidate in candidates {
        if !candidate.manages || !is_meant(&candidate.name) {
            continue;
        }
        match candidate.away {
            None => up.push(candidate),
            Some(why) if concerns(purpose, &candidate, only) => left_out.push(LeftOut {
                name: candidate.name,
                why: why.into(),
            }),
            Some(_) => {}
        }
    }
    match purpose {
        // Whoever has it goes on having what is newest; further ones are those with the most room.
        Purpose::Get(Spread::Some(most)) if only.is_empty() => {
            up.sort_by_key(|one| (!one.has, one.bytes));
            let having = up.iter().filter(|one| one.has).count();
            up.truncate(having.max(most));
            left_out.clear(); // others take their place
        }
        Purpose::Read => up.sort_by_key(|one| (!one.has, !one.cloud)),
        Purpose::Get(_) | Purpose::Change => {}
    }
    match up.is_empty() {
        true => Err(NoTarget::Away(left_out)),
        false => Ok(Targets {
            chosen: up,
            left_out,
        }),
    }
}

/// Whether anybody misses a server that is away.
fn concerns<S>(purpose: Purpose, candidate: &Candidate<S>, only: &[Box<str>]) -> bool {
    match purpose {
        _ if !only.is_empty() => true,
        Purpose::Get(_) => true,
        Purpose::Change => candidate.has,
        Purpose::Read => false,
    }
}

fn check<S>(candidates: &[Candidate<S>], only: &[Box<str>]) -> Result<(), NoTarget> {
    for name in only {
        let mut named = candidates.iter().filter(|one| *one.name == **name);
        match named.next() {
            None => return Err(NoTarget::Unknown(name.chars().take(100).collect())),
            Some(other) if !other.manages => {
                return Err(NoTarget::OtherKind(Arc::clone(&other.name)));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With this many bytes; `+`: has the model, `!`: down, `*`: cloud, `o`: of another kind.
    fn server(text: &str) -> Candidate<()> {
        let (name, marks) = text.split_at(1);
        let bytes = marks.trim_matches(|mark: char| !mark.is_ascii_digit());
        Candidate {
            server: (),
            name: name.into(),
            manages: !marks.contains('o'),
            away: marks.contains('!').then_some("down"),
            has: marks.contains('+'),
            bytes: bytes.parse().unwrap_or(0),
            cloud: marks.contains('*'),
        }
    }

    /// Those chosen, and those left out.
    fn chosen(purpose: Purpose, servers: &str, only: &str) -> Result<String, String> {
        let servers = servers.split(' ').map(server).collect();
        let only: Vec<Box<str>> = only.split_terminator(',').map(Into::into).collect();
        let targets = choose(purpose, servers, &only).map_err(|none| none.to_string())?;
        let chosen: String = targets.chosen.iter().map(|one| &*one.name).collect();
        let left_out: String = targets.left_out.iter().map(|one| &*one.name).collect();
        Ok(format!("{chosen}-{left_out}"))
    }

    #[test]
    fn a_model_goes_to_all_servers_that_are_up_and_the_others_are_named() {
        let all = Purpose::Get(Spread::All);
        assert_eq!(chosen(all, "a b! c o1o", ""), Ok("ac-b".into()));
        assert_eq!(chosen(all, "a b! c", "c"), Ok("c-".into()));
        assert_eq!(chosen(all, "a b! c", "c,b"), Ok("c-b".into()));
    }

    #[test]
    fn of_so_many_those_that_have_it_are_first_and_then_those_with_the_fewest_bytes() {
        let some = |n| Purpose::Get(Spread::Some(n));
        assert_eq!(chosen(some(1), "a9 b3 c5", ""), Ok("b-".into()));
        assert_eq!(chosen(some(2), "a9 b3 c5 d1!", ""), Ok("bc-".into()));
        assert_eq!(chosen(some(1), "a9+ b3 c5", ""), Ok("a-".into()));
        assert_eq!(chosen(some(2), "a9+ b3 c5", ""), Ok("ab-".into()));
        // Nowhere it is left behind.
        assert_eq!(chosen(some(1), "a9+ b3+ c5", ""), Ok("ba-".into()));
        // Who is named is meant.
        assert_eq!(chosen(some(1), "a9 b3 c5", "a,c"), Ok("ac-".into()));
    }

    #[test]
    fn a_change_misses_a_server_that_is_down_only_if_that_has_the_model() {
        let servers = "a+ b!+ c! d";
        assert_eq!(chosen(Purpose::Change, servers, ""), Ok("ad-b".into()));
        assert_eq!(chosen(Purpose::Change, servers, "a,c"), Ok("a-c".into()));
    }

    #[test]
    fn it_is_read_from_one_that_has_it_the_one_with_the_account_first() {
        assert_eq!(chosen(Purpose::Read, "a b+ c*+ d*", ""), Ok("cbda-".into()));
    }

    #[test]
    fn without_a_server_it_is_said_why() {
        let all = Purpose::Get(Spread::All);
        let said = |servers: &str, only: &str| chosen(all, servers, only).unwrap_err();
        assert_eq!(said("a b", "x"), "there is no server 'x'");
        assert!(said("a b1o", "b").contains("'b' is none"));
        assert_eq!(said("a!", ""), "no server can be reached: a (down)");
        assert_eq!(said("a1o", ""), "no server can be reached");
    }
}
