//! Asking a server for the usage that a client did not ask for.
//!
//! OpenAI's streams say what they used only when `stream_options.include_usage` is set. The router
//! must know, so it sets it, and removes the answer's extra event again
//! ([`UsageFilter`](crate::protocol::UsageFilter)). The body is not written anew: one text is
//! spliced into it, so that everything else reaches the server as the client spelt it.

use std::ops::Range;

use super::fields::{Field, Fields, is_key};
use super::splice::{Splice, range_in};
use super::{BadRequest, walk};

/// Whether the answer of this request will say what it used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskUsage {
    /// It does so anyway: every answer but OpenAI's streams.
    Unasked,
    /// The client asked, and is to see it.
    Asked,
    /// Only when the body is sent [spliced](super::splice()); the client must then not see it.
    Splice(Splice),
}

impl AskUsage {
    /// For an OpenAI request that streams. `body` is the text `fields` was read from.
    pub(super) fn of_stream(body: &str, fields: &Fields<'_>) -> Result<Self, BadRequest> {
        fields.once(Field::StreamOptions)?;
        let Some(options) = fields.raw(Field::StreamOptions) else {
            let inside = body.find('{').map_or(0, |at| at + 1);
            return Ok(splice(
                inside..inside,
                r#""stream_options":{"include_usage":true},"#,
            ));
        };
        if options == "null" {
            return Ok(splice(range_in(body, options), r#"{"include_usage":true}"#));
        }
        let (mut asked, mut empty) = (None, true);
        let read = walk::entries(options, |key, value| {
            empty = false;
            if is_key(key, "include_usage") {
                // Of several the last counts.
                asked = Some(value.get());
            }
        });
        let inside = range_in(body, options).start + 1;
        Ok(match asked {
            _ if read.is_err() => Self::Unasked, // no object: the server refuses it with its own message
            Some("true") => Self::Asked,
            Some(off @ ("false" | "null")) => splice(range_in(body, off), "true"),
            Some(_) => Self::Unasked, // likewise
            None if empty => splice(inside..inside, r#""include_usage":true"#),
            None => splice(inside..inside, r#""include_usage":true,"#),
        })
    }
}

fn splice(replaced: Range<usize>, text: &'static str) -> AskUsage {
    AskUsage::Splice(Splice::new(replaced, text))
}
