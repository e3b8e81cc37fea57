//! Paths with slashes or dots too many.
//!
//! Ollama redirects to the path without them, and clients that do not follow redirects, or lose their
//! body on the way, fail. Here the path that was meant is served at once. The router's own paths are
//! what they are: an id that is empty by mistake names no list.

use http::Uri;
use http::uri::PathAndQuery;

/// Makes of the path the one that is meant.
pub(super) fn clean(uri: &mut Uri) {
    if is_clean(uri.path()) {
        return;
    }
    let parts = uri
        .path()
        .split('/')
        .filter(|part| !matches!(*part, "" | "."));
    let mut clean = parts.fold(String::new(), |clean, part| format!("{clean}/{part}"));
    if !["/api/", "/v1/"]
        .iter()
        .any(|group| clean.starts_with(group))
    {
        return;
    }
    if let Some(query) = uri.query() {
        clean.push('?');
        clean.push_str(query);
    }
    let mut parts = std::mem::take(uri).into_parts();
    if let Ok(path) = PathAndQuery::try_from(clean) {
        parts.path_and_query = Some(path);
    }
    // Only the path is another one, and one is there: it cannot fail.
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

fn is_clean(path: &str) -> bool {
    let bytes = path.as_bytes();
    let doubtful = |pair: &[u8]| matches!(pair, [b'/', b'/' | b'.']);
    (path.len() <= 1 || !path.ends_with('/')) && !bytes.windows(2).any(doubtful)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_that_is_meant_is_served_and_a_clean_one_stays() {
        for (given, meant) in [
            ("/", "/"),
            ("/admin/keys/", "/admin/keys/"),
            ("//admin/keys", "//admin/keys"),
            ("/api/tags", "/api/tags"),
            ("/api/tags/?a=/b/", "/api/tags?a=/b/"),
            ("//api//chat", "/api/chat"),
            ("/api/./tags", "/api/tags"),
            ("/v1/models/a.b", "/v1/models/a.b"),
            ("/v1/models/.a", "/v1/models/.a"),
            ("http://host//api/tags", "http://host/api/tags"),
        ] {
            let mut uri: Uri = given.parse().unwrap();
            clean(&mut uri);
            assert_eq!(uri.to_string(), meant, "{given}");
        }
    }
}
