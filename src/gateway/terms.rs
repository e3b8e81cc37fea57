//! What the operator has decided for single models, and what follows for a request.
//!
//! Owns the terms of every model that has any, replaced whole when the configuration is read again. Nearly
//! always there are none, and a request looks at one flag. It must not know why a model is to be where it is.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::backend::ClientRequest;
use crate::domain::{KeepAlive, ModelName};
use crate::fleet::LeaseRequest;
use crate::protocol::Unload;

/// What holds for one model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelTerms {
    /// The model.
    pub model: ModelName,
    /// The servers that serve it, by name or label; without it all that have it.
    pub within: Option<Arc<[String]>>,
    /// For how long servers keep it, in place of what clients ask.
    pub keep_alive: Option<KeepAlive>,
    /// Its tokens of context, likewise.
    pub num_ctx: Option<u32>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Terms(ArcSwap<HashMap<ModelName, ModelTerms>>);

impl Terms {
    pub(super) fn replace(&self, terms: impl IntoIterator<Item = ModelTerms>) {
        let terms = terms.into_iter().map(|terms| (terms.model.clone(), terms));
        self.0.store(Arc::new(terms.collect()));
    }

    /// Those of one model.
    pub(super) fn of(&self, model: &ModelName) -> Option<ModelTerms> {
        let all = self.0.load();
        (!all.is_empty()).then(|| all.get(model).cloned()).flatten()
    }

    /// Makes of a request one that keeps to them. What only unloads goes wherever the model is.
    pub(super) fn apply(&self, request: &mut Arc<ClientRequest>, lease_request: &mut LeaseRequest) {
        let all = self.0.load();
        if all.is_empty() || request.unload == Unload::Only {
            return;
        }
        let request = Arc::make_mut(request);
        // Those of the model before it, of an alias with several.
        request.replaced.clear();
        request.keep_alive = None;
        let Some(terms) = all.get(&lease_request.model) else {
            return;
        };
        lease_request.within.extend(terms.within.clone());
        let Ok(body) = std::str::from_utf8(&request.body) else {
            return; // a form, in which nothing of this can be said
        };
        let keep_alive = terms.keep_alive.as_ref().map(KeepAlive::json);
        let options = &request.load_options;
        request.replaced = options.replaced(body, keep_alive.clone(), terms.num_ctx);
        if keep_alive.is_some() {
            request.unload = Unload::No;
            request.keep_alive = keep_alive;
        }
    }
}
