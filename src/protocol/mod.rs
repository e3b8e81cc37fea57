//! Bytes and their meaning, pure: no async, no I/O, no clock.
//!
//! A router must know four things about traffic that is not its own: which model a request wants
//! ([`peek()`]), when an answer has really ended and what it used ([`Tail`]), how an error is said
//! in the dialect of the path ([`error_body()`], [`stream_end`]) and what a server says it has
//! ([`parse_tags`], [`parse_ps`]). All of it is read from bytes that pass on unchanged: nothing
//! here decodes a message in order to write it again, so a field added tomorrow passes through.
//!
//! Everything works in memory bounded by a constant, or by the slice it is given, whatever a
//! client or a server sends. Failing is a value: a refused request is a [`BadRequest`] with its
//! status and message; an answer that makes no sense simply never finishes, and the relay, which
//! knows that the bytes have ended, says so to the client.

mod answer_text;
mod api;
mod catalogue;
mod error_body;
mod framing;
mod manage;
mod passed;
mod peek;
mod quote;
mod said_error;
mod scan;
mod shaped_error;
mod skip;
mod sse;
mod surrogates;
mod tail;
mod timestamp;
mod usage_filter;
mod version;

pub use answer_text::answer_text;
pub use api::{Api, Dialect, Format};
pub use catalogue::{
    BadCatalogue, ListedModel, Listing, RunningModel, listed_by_id, parse_openai_models, parse_ps,
    parse_tags, render_openai_model, render_openai_models, render_ps, render_ps_details,
    render_tags, with_tag,
};
pub use error_body::{CONTENT_TYPE_JSON, error_body, quota_body, stream_end};
pub use framing::{Beginning, framing};
pub use manage::{LONGEST_LINE, ManageApi, ManageRequest, ProgressLine, canonical_digest};
pub use passed::{Instance, PASSED, routers, united};
pub use peek::{
    AskUsage, BadRequest, LoadOptions, MaxOutput, Peek, Splice, Unload, peek, peek_form, settle,
    splice,
};
pub use said_error::{SaidError, before_done, said_error};
pub use shaped_error::{error_text, shaped_error};
pub use surrogates::{REPLACEMENT, lone_surrogates};
pub use tail::{Tail, TailEvent};
pub use timestamp::unix_seconds;
pub use usage_filter::UsageFilter;
pub use version::{InvalidVersion, Version};
