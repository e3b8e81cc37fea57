//! The endpoints: one file for each group, and the table that finds them.
//!
//! Texts, statuses, key order and content types are Ollama's. What is asked of a model is decided
//! here; how an answer is made lies in `answer`, when it may begin in `scheduler`.

mod account;
mod audio;
mod blobs;
mod check;
mod control;
mod deliver;
mod embed;
mod fetch;
mod guard;
mod infer;
mod inspect;
mod loose;
mod manage;
mod model_request;
mod openai_models;
mod problem;
mod progress;
mod pull;
mod redirect;
mod remote;
mod reply;
mod routes;

pub use control::control;
pub use pull::BlobStore;
pub use routes::handle;
