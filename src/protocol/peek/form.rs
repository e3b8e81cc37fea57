//! What the router must know of a request whose body is a form with a file (`multipart/form-data`).
//!
//! The parts are passed over in the body as it lies in memory: the file is neither copied nor looked into, and
//! `model` may stand before it or behind. The body is kept whole like any other, within
//! `server.max_body`: it is needed again when another server has to be tried.
//!
//! Readers of forms differ: in which line ends they take, in what a name may be spelt like, in which of two
//! values counts. So every line that any of them could take for the end of a part is one here, what
//! could be read as a name in two ways is refused, and so is a second model, even the same: one reader takes the first,
//! another the last, and only one of them is given another name. What is refused is said in the words of Go's
//! reader, where it has some.

use std::ops::Range;

use memchr::memmem;

use super::parameters::Parameters;
use super::{AskUsage, BadRequest, LoadOptions, MaxOutput, Peek, Unload};

/// Longer heads of a part than this are refused.
const LONGEST_HEAD: usize = 16 << 10;
/// A boundary is no longer (RFC 2046, 5.1.1); some clients' are.
const LONGEST_BOUNDARY: usize = 200;

const NOT_A_FORM: BadRequest = BadRequest::Form("request Content-Type isn't multipart/form-data");
const NO_BOUNDARY: BadRequest = BadRequest::Form("no multipart boundary param in Content-Type");
const NOTHING: BadRequest = BadRequest::Form("multipart: NextPart: EOF");
const CUT: BadRequest = BadRequest::Form("unexpected EOF");
const BAD_HEAD: BadRequest = BadRequest::Form("malformed header of a part");
const TWO_MODELS: BadRequest = BadRequest::Form("\"model\" must not be given twice");

/// Reads a form; `content_type` is the header of that name.
///
/// # Errors
/// [`BadRequest`] when no server would take it, or when it can be read in two ways.
pub fn peek_form<'a>(content_type: &str, body: &'a [u8]) -> Result<Peek<'a>, BadRequest> {
    let mut parts = Parts::new(boundary(content_type)?, body)?;
    let mut model: Option<Range<usize>> = None;
    let (mut stream, mut prompt_bytes) = (None, 0);
    while let Some(part) = parts.next()? {
        let value = &body[part.value.clone()];
        match part.name {
            b"model" if model.is_some() => return Err(TWO_MODELS),
            b"model" => model = Some(part.value),
            b"stream" => stream = stream.or(Some(is_true(value))),
            b"prompt" => prompt_bytes += value.len(),
            _ => {}
        }
    }
    let model_at = model.filter(|at| !at.is_empty());
    let model_at = model_at.ok_or(BadRequest::ModelRequired)?;
    Ok(Peek {
        model: String::from_utf8_lossy(&body[model_at.clone()]),
        model_at,
        stream: stream.unwrap_or(false),
        usage: AskUsage::Unasked,
        prompt_bytes,
        max_output: MaxOutput::Unsaid,
        choices: 1,
        unload: Unload::No,
        load_options: LoadOptions::default(),
        user: None,
    })
}

/// As the readers of forms in Go and in Python take it.
fn is_true(value: &[u8]) -> bool {
    let words: [&[u8]; 6] = [b"true", b"1", b"t", b"yes", b"y", b"on"];
    words.iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// What separates the parts.
fn boundary(content_type: &str) -> Result<&str, BadRequest> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err(NOT_A_FORM);
    }
    let mut found = None;
    for parameter in Parameters(parameters) {
        let (name, value) = parameter.ok_or(NO_BOUNDARY)?;
        if name.eq_ignore_ascii_case("boundary") && found.replace(value).is_some() {
            return Err(NO_BOUNDARY);
        }
    }
    let found = found.filter(|found| (1..=LONGEST_BOUNDARY).contains(&found.len()));
    found.ok_or(NO_BOUNDARY)
}

/// One part of a form.
struct Part<'a> {
    /// Empty for one that has none, and for a file.
    name: &'a [u8],
    /// Where its value stands in the body.
    value: Range<usize>,
}

/// The parts of a form, one after the other.
struct Parts<'a> {
    body: &'a [u8],
    finder: memmem::Finder<'static>,
    /// Where the head of the next part begins; nothing behind the last one.
    at: Option<usize>,
}

/// A line between two parts.
struct Line {
    /// The value before it ends here.
    value_end: usize,
    /// The next part begins here, if there is one.
    behind: Option<usize>,
}

impl<'a> Parts<'a> {
    fn new(boundary: &str, body: &'a [u8]) -> Result<Self, BadRequest> {
        let mut parts = Self {
            body,
            finder: memmem::Finder::new(&format!("--{boundary}")).into_owned(),
            at: None,
        };
        parts.at = parts.line(0).ok_or(NOTHING)?.behind;
        Ok(parts)
    }

    fn next(&mut self) -> Result<Option<Part<'a>>, BadRequest> {
        let Some(begin) = self.at else {
            return Ok(None);
        };
        let line = self.line(begin).ok_or(CUT)?;
        self.at = line.behind;
        let part = &self.body[begin..line.value_end.max(begin)];
        let (head, skipped) = head(part)?;
        let start = begin + skipped;
        Ok(Some(Part {
            name: name(head)?,
            value: start..line.value_end.max(start),
        }))
    }

    /// The next line that separates parts, from `from` on.
    fn line(&self, from: usize) -> Option<Line> {
        let mut searched = from;
        loop {
            let at = searched + self.finder.find(self.body.get(searched..)?)?;
            let behind = at + self.finder.needle().len();
            if let (Some(value_end), Some(behind)) = (self.line_start(at), self.line_end(behind)) {
                return Some(Line { value_end, behind });
            }
            searched = at + 1;
        }
    }

    /// Where the line before `at` ends, if a line begins there.
    fn line_start(&self, at: usize) -> Option<usize> {
        match &self.body[..at] {
            [] => Some(0),
            [.., b'\r', b'\n'] => Some(at - 2),
            [.., b'\n'] => Some(at - 1),
            _ => None,
        }
    }

    /// Whether the line is over at `at`: then what is behind it, which is nothing if it was the last one.
    fn line_end(&self, at: usize) -> Option<Option<usize>> {
        let rest = &self.body[at..];
        let (is_last, rest) = match rest {
            [b'-', b'-', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
        let rest = &rest[padding.count()..];
        let behind = self.body.len() - rest.len();
        match (rest, is_last) {
            ([] | [b'\n', ..] | [b'\r', b'\n', ..], true) => Some(None),
            ([b'\n', ..], false) => Some(Some(behind + 1)),
            ([b'\r', b'\n', ..], false) => Some(Some(behind + 2)),
            _ => None,
        }
    }
}

/// The head of a part, and where its value begins.
fn head(part: &[u8]) -> Result<(&[u8], usize), BadRequest> {
    let looked_at = &part[..part.len().min(LONGEST_HEAD)];
    let mut at = 0;
    loop {
        let line = looked_at.get(at..).ok_or(BAD_HEAD)?;
        let end = memchr::memchr(b'\n', line).ok_or(BAD_HEAD)?;
        if matches!(line[..end], [] | [b'\r']) {
            return Ok((&part[..at], at + end + 1));
        }
        at += end + 1;
    }
}

/// The name in the head of a part that is no file.
fn name(head: &[u8]) -> Result<&[u8], BadRequest> {
    let head = std::str::from_utf8(head).unwrap_or_default();
    let mut disposition = None;
    for line in head.lines() {
        let (field, value) = line.split_once(':').ok_or(BAD_HEAD)?;
        let is = |name: &str| field.trim().eq_ignore_ascii_case(name);
        let is_again = is("content-disposition") && disposition.replace(value).is_some();
        // A line that goes on from the one before it, and a value that some decode.
        let is_encoded = is("content-transfer-encoding") && !is_identity(value);
        let is_doubtful = field.starts_with([' ', '\t']) || is_encoded;
        if is_again || is_doubtful {
            return Err(BAD_HEAD);
        }
    }
    let parameters = disposition.and_then(|value| value.split_once(';'));
    let Some((_, parameters)) = parameters else {
        return Ok(b"");
    };
    let (mut name, mut is_file) = (None, false);
    for parameter in Parameters(parameters) {
        let (key, value) = parameter.ok_or(BAD_HEAD)?;
        match key.to_ascii_lowercase().as_str() {
            "name" if !value.contains('\\') && name.is_none() => name = Some(value),
            key if key.starts_with("name") => return Err(BAD_HEAD),
            key if key.starts_with("filename") => is_file = true,
            _ => {}
        }
    }
    match name {
        // To some a name without a file behind it.
        Some("model") if is_file => Err(BAD_HEAD),
        Some(name) if !is_file => Ok(name.as_bytes()),
        _ => Ok(b""),
    }
}

/// A transfer encoding that leaves a value as it is (RFC 2045, 6.2), which many clients name for every part.
fn is_identity(encoding: &str) -> bool {
    let names = ["binary", "8bit", "7bit"];
    names
        .iter()
        .any(|name| encoding.trim().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &str = "multipart/form-data; boundary=z";

    /// A form with `\r\n` for each line end of `lines`.
    fn form(lines: &str) -> String {
        lines.replace('\n', "\r\n")
    }

    fn field(name: &str, value: &str) -> String {
        form(&format!(
            "--z\nContent-Disposition: form-data; name=\"{name}\"\n\n{value}\n"
        ))
    }

    const FILE: &str = "--z\r\ncontent-type: audio/wav\r\ncontent-disposition: form-data; \
                        name=\"file\"; filename=\"a\\\"b.wav\"\r\n\r\nRIFF\r\n--zz\0\n--\r\n\r\n";

    fn peeked(body: &str) -> Result<(String, bool, usize), BadRequest> {
        peek_form(TYPE, body.as_bytes()).map(|peek| {
            assert_eq!(&body[peek.model_at], peek.model);
            (peek.model.into_owned(), peek.stream, peek.prompt_bytes)
        })
    }

    #[test]
    fn the_model_is_found_before_the_file_and_behind_it() {
        let (model, stream) = (field("model", "whisper:v3"), field("stream", "True"));
        let prompt = field("prompt", "names");
        for parts in [
            [&model, FILE, &stream, &prompt],
            [FILE, &prompt, &stream, &model],
        ] {
            let body = parts.concat() + "--z--\r\n";
            assert_eq!(peeked(&body), Ok(("whisper:v3".to_owned(), true, 5)));
        }
        let body = format!("preamble\r\n{model}{FILE}--z-- \t\r\nepilogue");
        assert_eq!(peeked(&body), Ok(("whisper:v3".to_owned(), false, 0)));
        let unix = "--z\nContent-Disposition: form-data; name=model\n\nm\n--z--";
        assert_eq!(peeked(unix), Ok(("m".to_owned(), false, 0)));
    }

    #[test]
    fn what_is_no_form_or_can_be_read_in_two_ways_is_refused() {
        let model = field("model", "m");
        let named = |head: &str| form(&format!("--z\n{head}\n\nm\n--z--"));
        for (body, expected) in [
            (String::new(), NOTHING),
            ("x".to_owned(), NOTHING),
            ("--zz\r\n".to_owned(), NOTHING),
            (model.clone(), CUT),
            (format!("{model}--z--x"), CUT),
            ("--z--".to_owned(), BadRequest::ModelRequired),
            (field("model", "") + "--z--", BadRequest::ModelRequired),
            (FILE.replace("\"file\"", "\"model\"") + "--z--", BAD_HEAD),
            (format!("{model}{}--z--", field("model", "n")), TWO_MODELS),
            (named("no colon"), BAD_HEAD),
            (format!("{model}{model}--z--"), TWO_MODELS),
            (format!("{}{model}--z--", field("model", "")), TWO_MODELS),
            (
                named("Content-Transfer-Encoding: quoted-printable"),
                BAD_HEAD,
            ),
            (named("content-transfer-encoding: BASE64"), BAD_HEAD),
            (named("Content-Transfer-Encoding:"), BAD_HEAD),
            (
                named("Content-Transfer-Encoding: 8bit\nContent-Transfer-Encoding: base64"),
                BAD_HEAD,
            ),
            (named("Content-Transfer-Encoding: binary, base64"), BAD_HEAD),
            (
                named("Content-Disposition: form-data; name=\"mod\\el\""),
                BAD_HEAD,
            ),
            (
                named("Content-Disposition: form-data; name*=utf-8''model"),
                BAD_HEAD,
            ),
            (
                named("Content-Disposition: form-data; name=model; name=x"),
                BAD_HEAD,
            ),
            (
                named("Content-Disposition: form-data;\n name=model"),
                BAD_HEAD,
            ),
            (
                named("Content-Disposition: form-data; name=\"model"),
                BAD_HEAD,
            ),
            (
                named("Content-Disposition: x; name=model\nContent-Disposition: x; name=y"),
                BAD_HEAD,
            ),
            (
                format!("--z\r\n{}\r\n--z--", "x: y\r\n".repeat(4000)),
                BAD_HEAD,
            ),
        ] {
            assert_eq!(peeked(&body), Err(expected), "{body}");
        }
    }

    /// Retrofit, Dart's and Apache's clients send them.
    #[test]
    fn a_transfer_encoding_that_changes_nothing_is_taken() {
        for encoding in ["binary", "8bit", "7bit", "BINARY", "8Bit "] {
            let head = format!("--z\nContent-Transfer-Encoding: {encoding}\n");
            let body = form(&format!(
                "{head}Content-Disposition: form-data; name=\"model\"\n\nm\n\
                 {head}Content-Disposition: form-data; name=\"file\"; filename=\"a\"\n\nRIFF\n--z--"
            ));
            assert_eq!(peeked(&body), Ok(("m".to_owned(), false, 0)), "{encoding}");
        }
    }

    #[test]
    fn the_boundary_is_read_in_every_spelling() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=z", Ok("z")),
            (
                "Multipart/Form-Data;charset=x; BOUNDARY=\"a b\" ",
                Ok("a b"),
            ),
            ("application/json", Err(NOT_A_FORM)),
            ("", Err(NOT_A_FORM)),
            ("multipart/form-data", Err(NO_BOUNDARY)),
            ("multipart/form-data; boundary=", Err(NO_BOUNDARY)),
            (
                "multipart/form-data; boundary=a; boundary=b",
                Err(NO_BOUNDARY),
            ),
            ("multipart/form-data; boundary", Err(NO_BOUNDARY)),
        ] {
            let found = boundary(content_type);
            assert_eq!(found, expected, "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "--z", "\r\n", "\n", "--", "Content-Disposition: form-data; name=\"model\"", "\"", "\\",
                ";", "=", "m", " ", ":", "filename", "é",
            ]), 0..30),
        ) {
            let body = pieces.concat();
            if let Ok(peek) = peek_form(TYPE, body.as_bytes()) {
                prop_assert_eq!(&body[peek.model_at], peek.model);
            }
        }
    }
}
