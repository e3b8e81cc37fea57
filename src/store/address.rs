//! The query of a database's address: which of its options are ours to understand.
//!
//! Cut out as text and not as a URL, because an address of PostgreSQL may name several hosts, which
//! no URL can. Everything else goes on to the driver as it stands.

use std::collections::BTreeMap;

use url::form_urlencoded;

/// `address` without the options named in `ours`, and those, decoded.
pub(super) fn take<'a>(address: &str, ours: &[&'a str]) -> (String, BTreeMap<&'a str, String>) {
    let Some((before, query)) = address.split_once('?') else {
        return (address.to_owned(), BTreeMap::new());
    };
    let mut taken = BTreeMap::new();
    let mut rest = Vec::new();
    for pair in query.split('&') {
        let key = pair.split('=').next().unwrap_or_default();
        match ours.iter().find(|name| **name == key) {
            Some(name) => {
                // In a file's name a plus is a plus.
                let pair = pair.replace('+', "%2B");
                let value = form_urlencoded::parse(pair.as_bytes()).next();
                taken.extend(value.map(|(_, value)| (*name, value.into_owned())));
            }
            None => rest.push(pair),
        }
    }
    let rest = match rest.join("&") {
        rest if rest.is_empty() => before.to_owned(),
        rest => format!("{before}?{rest}"),
    };
    (rest, taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_decoded_and_the_rest_stays_as_it_was() {
        let address =
            "postgres://u:p%3F@a:1,b:2/db?sslmode=verify-full&options=-c%20x&sslrootcert=/a%20+b";
        let (rest, taken) = take(address, &["sslmode", "sslrootcert"]);
        assert_eq!(rest, "postgres://u:p%3F@a:1,b:2/db?options=-c%20x");
        assert_eq!(taken["sslmode"], "verify-full");
        assert_eq!(taken["sslrootcert"], "/a +b");
        assert_eq!(
            take("mysql://h/db?ssl-mode=X", &["ssl-mode"]).0,
            "mysql://h/db"
        );
        assert_eq!(take("mysql://h/db", &["ssl-mode"]).0, "mysql://h/db");
    }
}
