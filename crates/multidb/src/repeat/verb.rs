//! A command's name, as commands are told apart.

use redis::{Arg, Cmd};

/// The longest name that is told apart; all longer ones are alike.
const LONGEST: usize = 24;

/// The first word of a command, in capitals.
#[derive(Clone, Copy)]
pub(crate) struct Verb {
    letters: [u8; LONGEST],
    len: usize,
}

impl Verb {
    pub(crate) fn of(cmd: &Cmd) -> Self {
        match cmd.args_iter().next() {
            Some(Arg::Simple(word)) => Self::new(word),
            _ => Self::new(&[]),
        }
    }

    pub(super) fn new(word: &[u8]) -> Self {
        let mut letters = [0; LONGEST];
        let len = match letters.get_mut(..word.len()) {
            Some(place) => {
                place.copy_from_slice(word);
                place.make_ascii_uppercase();
                word.len()
            }
            None => 0,
        };
        Self { letters, len }
    }

    /// Empty for none, or for one that is too long to be known.
    pub(crate) fn name(&self) -> &[u8] {
        &self.letters[..self.len]
    }

    /// For people.
    pub(crate) fn to_text(self) -> String {
        String::from_utf8_lossy(self.name()).into_owned()
    }
}

/// The words after the name.
pub(super) fn arguments(cmd: &Cmd) -> impl Iterator<Item = &[u8]> {
    cmd.args_iter().skip(1).map(|arg| match arg {
        Arg::Simple(word) => word,
        // Where a cursor goes, it begins.
        _ => b"0".as_slice(),
    })
}

/// Whether one of these words (in capitals) is among the arguments from `from` on.
pub(super) fn has(cmd: &Cmd, from: usize, words: &[&[u8]]) -> bool {
    arguments(cmd)
        .skip(from)
        .any(|argument| words.iter().any(|word| argument.eq_ignore_ascii_case(word)))
}
