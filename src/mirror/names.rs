//! Under which names servers reach this router. Pure.
//!
//! Two, of different hosts: Ollama takes a blob only from another host name than the one it asks first.

use crate::domain::ModelName;
use crate::mirror::Reference;

/// Both names, each `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// What models are pulled from.
    pub pulled: String,
    /// Where blobs are.
    pub blobs: String,
    /// The router's port speaks HTTPS.
    pub encrypted: bool,
}

impl Names {
    /// The name under which a server pulls a model from this router.
    #[must_use]
    pub fn mirrored(&self, reference: &Reference) -> String {
        format!("{}/{reference}", self.pulled)
    }

    /// Whether it is such a name, which nobody is shown.
    #[must_use]
    pub fn are_of(&self, model: &ModelName) -> bool {
        model.is_under(&self.pulled)
    }

    /// Where a server gets what it has asked for under the first name.
    #[must_use]
    pub fn location(&self, path: &str) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.blobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_pulled_under_the_first_name_and_hidden_there() {
        let names = Names {
            pulled: "Router.lan:11435".into(),
            blobs: "10.0.0.1:11435".into(),
            encrypted: false,
        };
        let mirrored = names.mirrored(&Reference::of("Big:7b-Q4").unwrap());
        assert_eq!(mirrored, "Router.lan:11435/library/Big:7b-Q4");
        let is = |name: &str| names.are_of(&ModelName::parse(name).unwrap());
        assert!(is(&mirrored));
        assert!(!is("big") && !is("library/router.lan:11435") && !is("other:1/library/big"));
        assert_eq!(names.location("/v2/x"), "http://10.0.0.1:11435/v2/x");
    }
}
