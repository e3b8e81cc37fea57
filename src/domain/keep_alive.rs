//! For how long a model is kept loaded, by Ollama's rules.

use std::fmt;
use std::time::Duration;

/// A duration that keeps: a second or more, or negative, which is for ever. What unloads is none.
#[derive(Clone, Debug, PartialEq)]
pub struct KeepAlive {
    written: String,
    seconds: f64,
}

/// The text is not a duration that keeps a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKeepAlive;

impl KeepAlive {
    /// Reads whole seconds (`-1`) or a duration as Go writes it (`1h30m`).
    ///
    /// # Errors
    /// [`InvalidKeepAlive`] when it is neither, or unloads: everything below a second does.
    pub fn parse(written: &str) -> Result<Self, InvalidKeepAlive> {
        let seconds = match whole_seconds(written) {
            Some(seconds) => seconds,
            None => go_seconds(written).ok_or(InvalidKeepAlive)?,
        };
        if !seconds.is_finite() || (0.0..1.0).contains(&seconds) {
            return Err(InvalidKeepAlive);
        }
        Ok(Self {
            written: written.to_owned(),
            seconds,
        })
    }

    /// As a request to Ollama has it: a number, or a text in quotes.
    #[must_use]
    pub fn json(&self) -> String {
        match whole_seconds(&self.written) {
            Some(_) => self.written.clone(),
            None => format!("\"{}\"", self.written),
        }
    }

    /// How long that is; nothing when it is for ever.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.seconds).ok()
    }
}

impl fmt::Display for KeepAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

fn whole_seconds(written: &str) -> Option<f64> {
    let digits = written.strip_prefix('-').unwrap_or(written);
    let is_plain = digits == "0" || !digits.starts_with(['0', '+']);
    let seconds: i32 = written.parse().ok().filter(|_| is_plain)?;
    Some(seconds.into())
}

/// The seconds of a duration such as `1m30s` or `500ms`.
#[must_use]
pub fn go_seconds(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("\u{b5}s", 1e-6),
        ("\u{3bc}s", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let unsigned = text.trim_start_matches(['+', '-']);
    if unsigned == "0" {
        return Some(0.0);
    }
    let (mut rest, mut seconds) = (unsigned, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let (unit, size) = UNITS.iter().find(|(unit, _)| behind.starts_with(unit))?;
        seconds += number.parse::<f64>().ok()? * size;
        rest = behind.get(unit.len()..)?;
    }
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    (!unsigned.is_empty()).then_some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_is_sent_as_it_is_written() {
        for (written, json, seconds) in [
            ("-1", "-1", None),
            ("300", "300", Some(300)),
            ("1h30m", "\"1h30m\"", Some(5400)),
            ("-1s", "\"-1s\"", None),
        ] {
            let kept = KeepAlive::parse(written).unwrap();
            assert_eq!(kept.json(), json);
            assert_eq!(kept.duration(), seconds.map(Duration::from_secs));
            assert_eq!(kept.to_string(), written);
        }
    }

    #[test]
    fn what_unloads_or_is_no_duration_is_refused() {
        for written in [
            "", "0", "0s", "500ms", "soon", "1 h", "1.5", "007", "+5", "1h\"",
        ] {
            assert_eq!(
                KeepAlive::parse(written),
                Err(InvalidKeepAlive),
                "{written}"
            );
        }
    }
}
