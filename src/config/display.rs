//! The effective configuration as a file would say it, with secrets redacted.

use super::Config;

/// Every key with its effective value, in the order of the shipped file.
///
/// # Errors
/// Text that TOML cannot hold, which nothing that was loaded from text is.
pub fn to_toml(config: &Config) -> Result<String, toml::ser::Error> {
    toml::to_string(config)
}

#[cfg(test)]
mod tests {
    use super::to_toml;
    use crate::config::{Config, Secret};

    #[test]
    fn secrets_are_redacted_and_everything_else_is_shown() {
        let mut config = Config::default();
        config.access.admin_key = Secret::from("hunter2");
        config.endpoint[0].api_key = Secret::from("hunter3");
        let shown = to_toml(&config).unwrap();
        assert!(!shown.contains("hunter"), "{shown}");
        assert!(shown.contains("admin_key = \"[redacted]\""), "{shown}");
        assert!(shown.contains("queue_timeout = \"1m\""), "{shown}");
    }
}
