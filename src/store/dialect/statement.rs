//! A statement whose text is ours and whose values are bound by diesel, for every database alike.
//!
//! Unlike `diesel::sql_query` it may be kept: a server that has understood a statement of a thousand
//! rows once need not read it again each second. So only texts of which there are few may be kept;
//! see [`sizes`].

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType, Text, Untyped};

use super::Value;

/// With a `?` in its text for each value, and none besides.
pub(super) struct Statement<'a> {
    pub(super) text: &'a str,
    pub(super) values: Vec<Value<'a>>,
    /// Whether the server keeps it for the next time.
    pub(super) kept: bool,
}

impl QueryId for Statement<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// If it selects at all, then one column of whole numbers.
impl Query for Statement<'_> {
    type SqlType = BigInt;
}

impl<DB> QueryFragment<DB> for Statement<'_>
where
    DB: Backend + HasSqlType<Text> + HasSqlType<BigInt>,
    str: ToSql<Text, DB>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        if !self.kept {
            out.unsafe_to_cache_prepared();
        }
        let mut values = self.values.iter();
        let mut pieces = self.text.split('?').peekable();
        while let Some(piece) = pieces.next() {
            out.push_sql(piece);
            if pieces.peek().is_none() {
                break;
            }
            match values.next() {
                Some(Value::Text(text)) => out.push_bind_param::<Text, str>(text)?,
                Some(Value::Number(number)) => out.push_bind_param::<BigInt, i64>(number)?,
                None => {
                    return Err(diesel::result::Error::QueryBuilderError(
                        "a value lacks".into(),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// One that selects columns by name.
pub(super) struct Named<'a>(pub(super) Statement<'a>);

impl QueryId for Named<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Named<'_> {
    type SqlType = Untyped;
}

impl<'a, DB> QueryFragment<DB> for Named<'a>
where
    DB: Backend,
    Statement<'a>: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }
}

/// How to write `count` rows, at most `most` with a statement, with statements of few different
/// sizes: each of the sizes is a power of two.
pub(super) fn sizes(count: usize, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let left = count - from;
        let size = (left.checked_ilog2().map(|log| 1 << log)?).min(most);
        let range = from..from + size;
        from += size;
        Some(range)
    })
}

#[cfg(test)]
mod tests {
    use diesel::debug_query;
    use diesel::mysql::Mysql;
    use diesel::pg::Pg;
    use diesel::sqlite::Sqlite;

    use super::*;

    #[test]
    fn each_database_reads_its_own_kind_of_placeholder() {
        let statement = Statement {
            text: "UPDATE t SET a = ? WHERE b IN (?, ?)",
            values: vec![Value::Number(1), Value::Text("?"), Value::Text("$")],
            kept: true,
        };
        let said = [
            debug_query::<Sqlite, _>(&statement).to_string(),
            debug_query::<Mysql, _>(&statement).to_string(),
            debug_query::<Pg, _>(&statement).to_string(),
        ];
        insta::assert_snapshot!(said.join("\n"), @r#"
        UPDATE t SET a = ? WHERE b IN (?, ?) -- binds: [1, "?", "$"]
        UPDATE t SET a = ? WHERE b IN (?, ?) -- binds: [1, "?", "$"]
        UPDATE t SET a = $1 WHERE b IN ($2, $3) -- binds: [1, "?", "$"]
        "#);
    }

    #[test]
    fn any_number_of_rows_takes_few_sizes() {
        let of = |count| {
            sizes(count, 1_024)
                .map(|range| range.len())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(0), [] as [usize; 0]);
        assert_eq!(of(1), [1]);
        assert_eq!(of(2_503), [1_024, 1_024, 256, 128, 64, 4, 2, 1]);
        for count in 0..5_000 {
            let mut next = 0;
            for range in sizes(count, 1_024) {
                assert_eq!(range.start, next);
                assert!(range.len().is_power_of_two());
                next = range.end;
            }
            assert_eq!(next, count);
        }
    }
}
