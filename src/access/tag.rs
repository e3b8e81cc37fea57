//! Words that requests are charged under: from a header, and from the metadata of the accounts.
//!
//! A tag becomes part of the keys of tables and travels in every record, so what may be one is decided
//! here, once, for all the ways by which tags come in: one that no database keeps would hold up what
//! it is written with.

use std::sync::Arc;

use serde_json::Value;

use super::Refused;

/// How many tags a request may carry, and how many one account may have.
pub const MOST_TAGS: usize = 16;
/// How long each may be.
const LONGEST_TAG: usize = 64;

/// Whether this can be a tag: visible ASCII, without the comma that separates them.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    (1..=LONGEST_TAG).contains(&text.len())
        && text.trim() == text
        && text
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte) && byte != b',')
}

/// Reads `x-herdsman-tags`: words separated by commas.
///
/// # Errors
/// [`Refused::Tags`]: a tag left out would be money booked wrongly.
pub fn tags(list: &str) -> Result<Vec<Arc<str>>, Refused> {
    let words = list.split(',').map(str::trim);
    each_once(words.filter(|word| !word.is_empty()))
}

/// Reads `"tags": ["a", "b"]` of an account's metadata; without them there are none.
///
/// # Errors
/// [`Refused::Tags`].
pub fn tags_of(metadata: &Value) -> Result<Vec<Arc<str>>, Refused> {
    let Some(list) = metadata.get("tags") else {
        return Ok(Vec::new());
    };
    let wrong = || Refused::Tags(MOST_TAGS, LONGEST_TAG);
    let list = list.as_array().ok_or_else(wrong)?;
    let words: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
    each_once(words.ok_or_else(wrong)?.into_iter())
}

fn each_once<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<Arc<str>>, Refused> {
    let mut tags: Vec<Arc<str>> = Vec::new();
    for word in words {
        let is_known = tags.iter().any(|known| **known == *word);
        if !is_tag(word) || (!is_known && tags.len() == MOST_TAGS) {
            return Err(Refused::Tags(MOST_TAGS, LONGEST_TAG));
        }
        if !is_known {
            tags.push(word.into());
        }
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_are_read_as_a_list_and_never_silently_left_out() {
        assert_eq!(tags(" a, b ,,a").unwrap(), ["a", "b"].map(Arc::<str>::from));
        assert!(tags(&"x".repeat(65)).is_err() && tags("é").is_err());
        let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        assert!(tags(&many.join(",")).is_err() && tags(&many[..16].join(",")).is_ok());
    }

    #[test]
    fn what_may_be_a_tag_is_the_same_wherever_it_comes_from() {
        let of = |list: Value| tags_of(&json!({ "tags": list }));
        assert_eq!(
            of(json!(["a", "b", "a"])).unwrap(),
            ["a", "b"].map(Arc::<str>::from)
        );
        assert!(tags_of(&json!({})).unwrap().is_empty());
        let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        for wrong in [
            json!(1),
            json!([1]),
            json!([""]),
            json!(["a,b"]),
            json!([" a"]),
            json!(["a\0"]),
            json!(["é"]),
            json!(["x".repeat(65)]),
            json!(many),
        ] {
            assert!(of(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
