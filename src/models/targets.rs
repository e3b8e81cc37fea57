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

/// The servers that a call may be for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meant {
    /// Those that the client names, by name or label; none: any.
    pub only: Vec<Box<str>>,
    /// Those that its key is limited to: of each list, one name or label has to be theirs.
    pub within: Vec<Arc<[String]>>,
}

/// One server, as far as the choice is concerned.
#[derive(Clone, Debug)]
pub(super) struct Candidate<S = Arc<Endpoint>> {
    pub(super) server: S,
    pub(super) name: Arc<str>,
    /// What it is also called.
    pub(super) labels: Arc<[Arc<str>]>,
    /// It has Ollama's API.
    pub(super) manages: bool,
    /// Why it cannot be asked now.
    pub(super) away: Option<&'static str>,
    /// An operator keeps what is new from it.
    pub(super) held: bool,
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
    #[error("this key may not use server '{0}'")]
    NotYours(String),
    #[error("models are on no server that may be used with this key")]
    NoneYours,
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
    mut candidates: Vec<Candidate<S>>,
    meant: &Meant,
) -> Result<Targets<S>, NoTarget> {
    let only = meant.only.as_slice();
    check(&candidates, meant)?;
    candidates.retain(|one| one.is_within(&meant.within));
    let (mut up, mut left_out) = (Vec::new(), Vec::new());
    for candidate in candidates {
        let is_meant = only.is_empty() || only.iter().any(|one| candidate.is_called(one));
        if !candidate.manages || !is_meant {
            continue;
        }
        // What is there already is changed and read there as well.
        let held = candidate.held && matches!(purpose, Purpose::Get(_));
        let held = held.then_some("draining");
        match candidate.away.or(held) {
            None => up.push(candidate),
            Some(why) if concerns(purpose, &candidate, only) => {
                let left = LeftOut {
                    name: candidate.name,
                    why: why.into(),
                };
                left_out.push((candidate.has, left));
            }
            Some(_) => {}
        }
    }
    match purpose {
        // Whoever has it goes on having what is newest; further ones are those with the most room.
        Purpose::Get(Spread::Some(most)) if only.is_empty() => {
            up.sort_by_key(|one| (!one.has, one.bytes));
            let having = up.iter().filter(|one| one.has).count();
            if up.len() >= most {
                left_out.retain(|(has, _)| *has); // others take the place of those that lack it
            }
            up.truncate(having.max(most));
        }
        Purpose::Read => up.sort_by_key(|one| (!one.has, one.held, !one.cloud)),
        Purpose::Get(_) | Purpose::Change => {}
    }
    let left_out = left_out.into_iter().map(|(_, left)| left).collect();
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

impl<S> Candidate<S> {
    fn is_called(&self, name: &str) -> bool {
        *self.name == *name || self.labels.iter().any(|label| **label == *name)
    }

    fn is_within(&self, within: &[Arc<[String]>]) -> bool {
        let mut lists = within.iter();
        lists.all(|names| names.iter().any(|name| self.is_called(name)))
    }
}

fn check<S>(candidates: &[Candidate<S>], meant: &Meant) -> Result<(), NoTarget> {
    let yours = || {
        let all = candidates.iter();
        all.filter(|one| one.is_within(&meant.within))
    };
    if !meant.within.is_empty() && !yours().any(|one| one.manages) {
        return Err(NoTarget::NoneYours);
    }
    for name in &meant.only {
        let shown = || name.chars().take(100).collect();
        if !candidates.iter().any(|one| one.is_called(name)) {
            return Err(NoTarget::Unknown(shown()));
        }
        let named = || yours().filter(|one| one.is_called(name));
        if named().next().is_none() {
            return Err(NoTarget::NotYours(shown()));
        }
        if !named().any(|one| one.manages) {
            return Err(NoTarget::OtherKind((**name).into()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With this many bytes; `+`: has the model, `!`: down, `~`: drained by an operator, `*`: cloud, `o`: of another
    /// kind. Those with more than nine bytes are labelled `large`.
    fn server(text: &str) -> Candidate<()> {
        let (name, marks) = text.split_at(1);
        let bytes = marks.trim_matches(|mark: char| !mark.is_ascii_digit());
        let bytes = bytes.parse().unwrap_or(0);
        let labels = (bytes > 9).then(|| "large".into());
        Candidate {
            server: (),
            name: name.into(),
            labels: labels.into_iter().collect(),
            held: marks.contains('~'),
            manages: !marks.contains('o'),
            away: marks.contains('!').then_some("down"),
            has: marks.contains('+'),
            bytes,
            cloud: marks.contains('*'),
        }
    }

    /// Those chosen, and those left out.
    fn chosen(purpose: Purpose, servers: &str, only: &str) -> Result<String, String> {
        let meant = Meant {
            only: only.split_terminator(',').map(Into::into).collect(),
            within: Vec::new(),
        };
        of(purpose, servers, &meant)
    }

    fn of(purpose: Purpose, servers: &str, meant: &Meant) -> Result<String, String> {
        let servers = servers.split(' ').map(server).collect();
        let targets = choose(purpose, servers, meant).map_err(|none| none.to_string())?;
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
        // One that is away and has it stays behind, and where too few are up it is said which are missing.
        assert_eq!(chosen(some(1), "a9+! b3 c5!", ""), Ok("b-a".into()));
        assert_eq!(chosen(some(2), "a9! b3 c5~", ""), Ok("b-ac".into()));
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
    fn servers_are_named_by_their_labels_too_and_a_key_may_be_limited_to_some() {
        let all = Purpose::Get(Spread::All);
        let servers = "a b20 c30 d40!";
        assert_eq!(chosen(all, servers, "large"), Ok("bc-d".into()));
        assert_eq!(chosen(all, servers, "a,large"), Ok("abc-d".into()));
        let within = |only: &str, names: &[&[&str]]| {
            let list = |names: &&[&str]| names.iter().map(ToString::to_string).collect();
            let meant = Meant {
                only: only.split_terminator(',').map(Into::into).collect(),
                within: names.iter().map(list).collect(),
            };
            of(all, servers, &meant)
        };
        assert_eq!(within("", &[&["a", "large"]]), Ok("abc-d".into()));
        assert_eq!(within("", &[&["a", "b"], &["large"]]), Ok("b-".into()));
        assert_eq!(within("b", &[&["large"]]), Ok("b-".into()));
        assert_eq!(
            within("a", &[&["large"]]).unwrap_err(),
            "this key may not use server 'a'"
        );
        assert_eq!(
            within("", &[&["z"]]).unwrap_err(),
            "models are on no server that may be used with this key"
        );
    }

    #[test]
    fn a_server_that_an_operator_drains_gets_nothing_new_and_is_changed_all_the_same() {
        let all = Purpose::Get(Spread::All);
        assert_eq!(chosen(all, "a b~", ""), Ok("a-b".into()));
        assert_eq!(chosen(Purpose::Change, "a+ b+~", ""), Ok("ab-".into()));
        assert_eq!(chosen(Purpose::Read, "a+~ b+ c", ""), Ok("bac-".into()));
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
