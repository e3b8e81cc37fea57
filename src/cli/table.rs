//! Columns for people.

use serde_json::Value;

/// A head and rows, each column as wide as its widest cell.
pub(super) fn of(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// The same of a list of JSON, a row for each of its values.
pub(super) fn of_list(head: &[&str], list: &Value, row: impl Fn(&Value) -> Vec<String>) -> String {
    let rows: Vec<_> = list.as_array().into_iter().flatten().map(row).collect();
    of(head, &rows)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_column_is_as_wide_as_its_widest_cell() {
        let rows = [
            vec!["a".to_owned(), "long one".to_owned()],
            vec!["bcd".to_owned(), "é".to_owned()],
        ];
        insta::assert_snapshot!(super::of(&["ID", "NAME"], &rows), @r"
        ID   NAME
        a    long one
        bcd  é
        ");
    }
}
