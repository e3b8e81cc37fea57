//! The parameters of a header of a form: what separates its parts, and what a part is called.
//!
//! Readers differ in how they undo backslashes, so that is left to the caller.

/// `; name=value; name="value"`; `None` for what is neither, which ends it.
pub(super) struct Parameters<'a>(pub(super) &'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = Option<(&'a str, &'a str)>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.trim_start_matches([';', ' ', '\t']).trim_end();
        if text.is_empty() {
            return None;
        }
        let parameter = parameter(text);
        self.0 = parameter.map_or("", |(_, rest)| rest);
        Some(parameter.map(|(parameter, _)| parameter))
    }
}

/// A parameter that begins here, and what is behind it. Of a quoted value the backslashes stay.
fn parameter(text: &str) -> Option<((&str, &str), &str)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    let Some(quoted) = value.trim_start().strip_prefix('"') else {
        let end = value.find(';').unwrap_or(value.len());
        let (value, rest) = value.split_at(end);
        return Some(((name, value.trim()), rest));
    };
    let mut escaped = false;
    let end = quoted.find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    })?;
    let rest = quoted[end + 1..].trim_start();
    let is_over = rest.is_empty() || rest.starts_with(';');
    is_over.then(|| ((name, &quoted[..end]), rest))
}
