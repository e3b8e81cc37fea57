//! `time.ParseDuration`: `1h30m`, `-1s`, `1.5ms`, and `0` alone needs no unit.

/// Nanoseconds, or `None` where Go reports an error.
#[must_use]
pub fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..number].parse().ok()?;
        rest = &rest[number..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        nanos += value * nanos_per(&rest[..unit])?;
        rest = &rest[unit..];
    }
    if nanos >= 9.3e18 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "bounded just above; `as` saturates"
    )]
    let nanos = nanos as i64;
    Some(if negative { -nanos } else { nanos })
}

fn nanos_per(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        for (text, seconds) in [
            ("5m", 300.0),
            ("1h30m", 5400.0),
            ("-1s", -1.0),
            ("1.5s", 1.5),
            ("+2ms", 0.002),
            ("0", 0.0),
            ("10µs", 0.000_01),
        ] {
            let nanos = parse_duration(text).expect(text);
            assert!((nanos as f64 / 1e9 - seconds).abs() < 1e-9, "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in ["", "5", "-", "m", "1x", "1.s.", "1s ", "99999999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
