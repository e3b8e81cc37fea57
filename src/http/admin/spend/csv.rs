//! CSV by RFC 4180. Pure.
//!
//! A field is quoted if it holds a comma, a quote or an end of a line, and a quote in it is doubled;
//! every line ends with CR LF. Spaces belong to the field. Nothing is escaped for spreadsheets: what is
//! there is what is stored.

pub(super) fn line(cells: &[impl AsRef<str>]) -> String {
    let cells: Vec<_> = cells.iter().map(|cell| field(cell.as_ref())).collect();
    format!("{}\r\n", cells.join(","))
}

fn field(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the standard says it is read.
    fn read(text: &str) -> Vec<String> {
        let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
        let mut rest = text.strip_suffix("\r\n").unwrap().chars().peekable();
        while let Some(char) = rest.next() {
            match char {
                '"' if quoted && rest.peek() == Some(&'"') => field.extend(rest.next()),
                '"' => quoted = !quoted,
                ',' if !quoted => fields.push(std::mem::take(&mut field)),
                other => field.push(other),
            }
        }
        fields.push(field);
        fields
    }

    #[test]
    fn only_what_has_to_be_is_quoted() {
        let cells = [
            "plain",
            " a b ",
            "a,b",
            "say \"hi\"",
            "two\nlines",
            "=1+1",
            "",
        ];
        insta::assert_snapshot!(line(&cells).escape_debug(), @r#"plain, a b ,\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",=1+1,\r\n"#);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(cells in prop::collection::vec("[a,\"\r\n é]{0,6}", 1..5)) {
            prop_assert_eq!(read(&line(&cells)), cells);
        }
    }
}
