//! Which pages may call: Ollama's own list, and what the configuration adds.

/// Schemes of desktop programs and editors, which Ollama allows.
const PROGRAMS: [&str; 5] = [
    "app://",
    "file://",
    "tauri://",
    "vscode-webview://",
    "vscode-file://",
];

/// The origins that are allowed.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    allowed: Box<[String]>,
}

impl Origins {
    /// The given origins beside pages of this machine. `*` alone allows every page; inside an
    /// origin it stands for any text (`https://*.example.com`).
    #[must_use]
    pub fn new(allowed: &[String]) -> Self {
        let clean = |origin: &String| origin.trim_end_matches('/').to_ascii_lowercase();
        Self {
            allowed: allowed.iter().map(clean).collect(),
        }
    }

    /// Whether the page at `origin` may call the router it reached as `host`.
    pub(super) fn allow(&self, origin: &str, host: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        if PROGRAMS.iter().any(|scheme| origin.starts_with(scheme)) {
            return true;
        }
        let site = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        let own = |site: &str| {
            let name = super::host::name(site);
            matches!(name, "localhost" | "127.0.0.1" | "0.0.0.0" | "[::1]")
                || site.eq_ignore_ascii_case(host)
        };
        site.is_some_and(own) || self.names(&origin)
    }

    /// Whether the configuration has this very origin: one that only matches is anybody's who gets such a name.
    pub(super) fn has(&self, origin: &str) -> bool {
        self.allowed
            .iter()
            .any(|rule| !rule.contains('*') && rule.eq_ignore_ascii_case(origin))
    }

    /// Whether the configuration names this origin.
    pub(super) fn names(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        self.allowed.iter().any(|rule| matches(rule, &origin))
    }
}

/// Whether the text is as the rule, in which one `*` stands for any text.
pub(super) fn matches(rule: &str, origin: &str) -> bool {
    match rule.split_once('*') {
        None => rule == origin,
        Some((before, after)) => {
            origin.len() >= before.len() + after.len()
                && origin.starts_with(before)
                && origin.ends_with(after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_machine_and_of_the_list_are_allowed_and_no_others() {
        let origins = Origins::new(&["https://*.example.com/".to_owned()]);
        for origin in [
            "http://localhost",
            "http://localhost:3000",
            "https://127.0.0.1:8443",
            "http://[::1]:80",
            "vscode-webview://abc",
            "https://chat.example.com",
            "http://router.lan:11435",
        ] {
            assert!(origins.allow(origin, "router.lan:11435"), "{origin}");
        }
        for origin in [
            "null",
            "https://evil.test",
            "http://localhost.evil.test",
            "https://example.com.evil.test",
            "http://router.lan",
        ] {
            assert!(!origins.allow(origin, "router.lan:11435"), "{origin}");
        }
        assert!(Origins::new(&["*".to_owned()]).allow("https://any.test", ""));
    }

    #[test]
    fn only_what_is_written_out_is_had() {
        let rules = ["https://Chat.example.com/", "https://*.test", "*"].map(str::to_owned);
        let origins = Origins::new(&rules);
        assert!(origins.has("https://chat.example.com") && origins.has("HTTPS://chat.example.com"));
        for origin in [
            "https://a.test",
            "https://chat.example.com:8443",
            "*",
            "null",
            "",
        ] {
            assert!(!origins.has(origin), "{origin}");
        }
    }
}
