//! Versions of servers, in the order they were released.
//!
//! A fleet answers `/api/version` with the lowest of its members, so that a client that looks for a
//! feature finds it only when every server has it.

use std::cmp::Ordering;
use std::fmt;

/// A version such as `0.12.4` or `0.12.4-rc0`; a pre-release comes before its release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    numbers: [u64; 3],
    stage: Stage,
    /// As the server spelt it; last, so that it only breaks ties.
    text: Box<str>,
}

/// The text is not a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid version")]
pub struct InvalidVersion;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stage {
    Before(Vec<Part>),
    Release,
}

/// `rc10` is `rc`, then 10, so that it comes behind `rc9`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Number(u64),
    Word(Box<str>),
}

impl Version {
    /// Reads `[v]major.minor.patch[-pre][+build]`; missing numbers are 0.
    ///
    /// # Errors
    /// [`InvalidVersion`] when it does not begin with numbers.
    pub fn parse(text: &str) -> Result<Self, InvalidVersion> {
        let text = text.trim();
        let version = text.strip_prefix('v').unwrap_or(text);
        let version = version
            .split_once('+')
            .map_or(version, |(version, _)| version);
        let (release, pre) = match version.split_once('-') {
            Some((release, pre)) => (release, Some(pre)),
            None => (version, None),
        };
        let mut numbers = [0; 3];
        let mut given = release.split('.');
        for (number, given) in numbers.iter_mut().zip(&mut given) {
            if !given.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(InvalidVersion); // `+1` would parse
            }
            *number = given.parse().map_err(|_| InvalidVersion)?;
        }
        if given.next().is_some() {
            return Err(InvalidVersion);
        }
        Ok(Self {
            numbers,
            stage: pre.map_or(Stage::Release, |pre| Stage::Before(parts(pre))),
            text: text.into(),
        })
    }

    /// As the server spelt it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Compares by release order alone: `0.5.0` and `v0.5.0` are equal.
    #[must_use]
    pub fn cmp_release(&self, other: &Self) -> Ordering {
        (&self.numbers, &self.stage).cmp(&(&other.numbers, &other.stage))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Runs of digits are numbers, everything between them words.
fn parts(pre: &str) -> Vec<Part> {
    pre.split(['.', '-'])
        .flat_map(|part| {
            let digits = part
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(part.len());
            let (word, rest) = part.split_at(digits);
            let number = rest.parse().ok().map(Part::Number);
            let rest = Some(rest).filter(|rest| number.is_none() && !rest.is_empty());
            [
                Some(word)
                    .filter(|word| !word.is_empty())
                    .map(|word| Part::Word(word.into())),
                number.or(rest.map(|rest| Part::Word(rest.into()))),
            ]
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        Version::parse(text).expect(text)
    }

    #[test]
    fn versions_come_in_the_order_they_were_released() {
        let released = [
            "0.0.0",
            "0.1.9",
            "0.1.48",
            "0.9.0",
            "0.12.4-rc0",
            "0.12.4-rc2",
            "0.12.4-rc10",
            "0.12.4",
            "0.12.10",
            "1",
            "1.0.1",
        ];
        let mut sorted = released.map(version);
        sorted.reverse();
        sorted.sort();
        assert_eq!(sorted.map(|version| version.to_string()), released);
    }

    #[test]
    fn the_lowest_of_a_fleet_keeps_its_spelling() {
        let fleet = ["0.13.0", "0.12.4-rc0", "0.12.4"].map(version);
        assert_eq!(fleet.iter().min().map(Version::as_str), Some("0.12.4-rc0"));
    }

    #[test]
    fn spellings_of_one_release_compare_as_equal() {
        for other in ["v0.5.0", "0.5", "0.5.0+cuda", " 0.5.0\n"] {
            assert_eq!(
                version("0.5.0").cmp_release(&version(other)),
                Ordering::Equal
            );
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in [
            "",
            "latest",
            "0..1",
            "+1.0",
            "0.1.2.3",
            "-rc1",
            "99999999999999999999",
        ] {
            assert_eq!(Version::parse(text), Err(InvalidVersion), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it_and_numbers_decide(text: String, a in any::<[u64; 3]>(), b in any::<[u64; 3]>()) {
            let _ = Version::parse(&text);
            let of = |[x, y, z]: [u64; 3]| version(&format!("{x}.{y}.{z}"));
            prop_assert_eq!(of(a).cmp_release(&of(b)), a.cmp(&b));
        }
    }
}
