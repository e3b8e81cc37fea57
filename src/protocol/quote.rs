//! One text as a JSON string that no client's line splitter can cut.
//!
//! U+0085, U+2028 and U+2029 are legal inside a JSON string, but httpx (under ollama-python) takes
//! them for line ends, so a message that quotes one would become two broken lines. What is relayed
//! passes as it came; what is written here escapes them.

const SEPARATORS: [(char, &str); 3] = [
    ('\u{85}', "\\u0085"),
    ('\u{2028}', "\\u2028"),
    ('\u{2029}', "\\u2029"),
];

/// `text` in quotes, escaped.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = serde_json::Value::from(text).to_string();
    for (separator, escape) in SEPARATORS {
        if quoted.contains(separator) {
            quoted = quoted.replace(separator, escape);
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_line_separator_is_left() {
        insta::assert_snapshot!(
            quote("a\u{2028}b\u{2029}c\u{85}d\ne\u{b}\"é"),
            @r#""a\u2028b\u2029c\u0085d\ne\u000b\"é""#
        );
    }

    proptest! {
        #[test]
        fn a_quoted_text_reads_back_as_itself(text in any::<String>()) {
            let quoted = quote(&text);
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
            prop_assert!(SEPARATORS.iter().all(|(separator, _)| !quoted.contains(*separator)));
        }
    }
}
