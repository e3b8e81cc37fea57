//! Which routers a request has passed, so that one that goes in a circle ends.
//!
//! Every router has an id. What it sends to a server says in [`PASSED`] which routers the request has
//! passed, itself last; what it answers says which the answer has passed, itself first. A router that
//! finds its own id in a request has seen that request before, and one that finds it in an answer has
//! asked itself, over however many others. A list that is longer than [`MOST`] can only be a circle.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The header, of requests and of answers.
pub static PASSED: HeaderName = HeaderName::from_static("x-herdsman-instance");

/// No chain of routers is longer.
const MOST: usize = 32;
/// No id of a router is longer.
const LONGEST: usize = 64;

/// This router among others: another id for each run of the program.
#[derive(Clone, Debug)]
pub struct Instance {
    id: Arc<str>,
    alone: HeaderValue,
}

impl Instance {
    /// With this id; what cannot be one in a header or a list becomes what can.
    #[must_use]
    pub fn new(id: &str) -> Self {
        let id: String = id.chars().filter(|char| is_of_id(*char)).collect();
        let id = &id[..id.len().min(LONGEST)];
        Self {
            id: id.into(),
            alone: HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("")),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether these are headers of something that has passed this router already, or so many others
    /// that it must go in a circle.
    #[must_use]
    pub fn refuses(&self, headers: &HeaderMap) -> bool {
        let mut passed = 0;
        listed(headers).any(|id| {
            passed += 1;
            id == self.id.as_bytes() || passed > MOST
        })
    }

    /// Whether an answer with these headers has passed this router.
    #[must_use]
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        listed(headers).any(|id| id == self.id.as_bytes())
    }

    /// What a request that came with these headers goes on with.
    #[must_use]
    pub fn onto(&self, headers: &HeaderMap) -> HeaderValue {
        let Some(before) = routers(headers) else {
            return self.alone.clone();
        };
        self.joined(format!("{before},{}", self.id))
    }

    /// What an answer is given that has come over these routers, if any.
    #[must_use]
    pub fn before(&self, behind: Option<&str>) -> HeaderValue {
        match behind.filter(|behind| !behind.is_empty()) {
            None => self.alone.clone(),
            Some(behind) => self.joined(format!("{},{behind}", self.id)),
        }
    }

    fn joined(&self, list: String) -> HeaderValue {
        HeaderValue::try_from(list).unwrap_or_else(|_| self.alone.clone())
    }
}

/// The ids in these headers, as one list; nothing without any. What is no id is left out.
#[must_use]
pub fn routers(headers: &HeaderMap) -> Option<String> {
    let mut list = String::new();
    let ids = listed(headers).filter_map(|id| std::str::from_utf8(id).ok());
    for id in ids.filter(|id| id.chars().all(is_of_id)).take(MOST) {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(id);
    }
    (!list.is_empty()).then_some(list)
}

/// Each router of these lists once, at most [`MOST`] of them.
#[must_use]
pub fn united<'a>(lists: impl Iterator<Item = &'a str>) -> String {
    let mut once: Vec<&str> = Vec::new();
    for id in lists.flat_map(|list| list.split(',')) {
        if !id.is_empty() && once.len() < MOST && !once.contains(&id) {
            once.push(id);
        }
    }
    once.join(",")
}

/// What stands between the commas, in the order of the headers.
fn listed(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(&PASSED).into_iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|id| (1..=LONGEST).contains(&id.len()))
}

fn is_of_id(char: char) -> bool {
    char.is_ascii_graphic() && char != ','
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let pairs = values.iter().map(|value| {
            let value = HeaderValue::from_str(value).unwrap();
            (PASSED.clone(), value)
        });
        pairs.collect()
    }

    #[test]
    fn a_request_lists_the_routers_it_has_passed_in_their_order() {
        let here = Instance::new("b");
        assert_eq!(here.onto(&headers(&[])), "b");
        assert_eq!(here.onto(&headers(&["a"])), "a,b");
        assert_eq!(here.onto(&headers(&["x, y", "a"])), "x,y,a,b");
        assert_eq!(here.before(None), "b");
        assert_eq!(here.before(Some("")), "b");
        assert_eq!(here.before(Some("c,d")), "b,c,d");
    }

    #[test]
    fn a_router_finds_itself_wherever_it_stands_and_nobody_whose_id_is_alike() {
        let here = Instance::new("b-1");
        for found in [&["b-1"][..], &["a, b-1"], &["a", "b-1,c"], &["b-1 ,a"]] {
            assert!(here.refuses(&headers(found)), "{found:?}");
            assert!(here.is_in(&headers(found)), "{found:?}");
        }
        for other in [&[][..], &["b"], &["b-11,ab-1"], &["B-1"], &[",,"]] {
            assert!(!here.refuses(&headers(other)), "{other:?}");
            assert!(!here.is_in(&headers(other)), "{other:?}");
        }
    }

    /// Whatever a client sends, what is kept of it is bounded.
    #[test]
    fn a_list_too_long_for_any_chain_is_refused_and_never_grows() {
        let here = Instance::new("b");
        let many: Vec<String> = (0..MOST).map(|n| n.to_string()).collect();
        assert!(!here.refuses(&headers(&[&many.join(",")])));
        let more = format!("{},x", many.join(","));
        assert!(here.refuses(&headers(&[&more])));
        assert!(
            !here.is_in(&headers(&[&more])),
            "an answer is no circle yet"
        );
        assert_eq!(routers(&headers(&[&more])).unwrap(), many.join(","));
        let long = "y".repeat(LONGEST + 1);
        assert_eq!(routers(&headers(&[&long])), None);
        assert_eq!(united([&*more, "x,z"].into_iter()), many.join(","));
        assert_eq!(united(["a,b", "", "b,c"].into_iter()), "a,b,c");
    }

    #[test]
    fn any_text_makes_an_id_that_a_header_can_carry() {
        assert_eq!(Instance::new("a b,c\u{e9}").onto(&headers(&[])), "abc");
    }
}
