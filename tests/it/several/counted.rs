//! What the database has counted, beside what clients saw.

use std::collections::BTreeMap;

use super::clients::{Lot, Seen};
use super::{DATABASE, Herd};

/// More than any answer has, of tokens read and of tokens written.
const LARGEST: [i64; 2] = [64, 64];

/// By tag: requests, those that failed, tokens read and written.
type Rows = BTreeMap<String, [i64; 4]>;

impl Herd {
    /// Each request whose end a client saw is counted once, with the tokens that the client was told; each other one at
    /// most once.
    pub async fn must_have_counted(&self, seen: &Seen) {
        self.is_settled().await;
        let mut rows = self.rows();
        for (tag, lot) in &seen.lots {
            let row = rows.remove(tag).unwrap_or_default();
            assert!(is_counted(lot, row), "{tag}: {lot:?} is counted as {row:?}");
        }
        assert!(rows.is_empty(), "nobody has sent {rows:?}");
        let counted = self.database.sql(
            DATABASE,
            "SELECT sum(input_tokens), sum(output_tokens) FROM token_counts",
        );
        let charged = self.database.sql(
            DATABASE,
            "SELECT sum(input_tokens), sum(output_tokens) FROM spend WHERE kind = 'key'",
        );
        assert_eq!(counted, charged, "by server and model, and by key");
    }

    fn rows(&self) -> Rows {
        let select = "SELECT entity, sum(requests), sum(failed_requests), sum(input_tokens), sum(output_tokens) \
                      FROM daily_spend WHERE kind = 'tag' GROUP BY entity";
        let text = self.database.sql(DATABASE, select);
        let rows = text.lines().map(|line| {
            let mut columns = line.split('\t');
            let tag = columns.next().unwrap().to_owned();
            let mut number = || columns.next().unwrap().parse().unwrap();
            (tag, [number(), number(), number(), number()])
        });
        rows.collect()
    }
}

fn is_counted(lot: &Lot, [requests, failed, read, written]: [i64; 4]) -> bool {
    let unknown = i64::from(lot.unknown);
    let between = |counted: i64, seen: i64, more: i64| counted >= seen && counted <= seen + more;
    requests >= lot.answered
        && between(requests + failed, lot.answered, unknown)
        && between(read, lot.tokens[0], unknown * LARGEST[0])
        && between(written, lot.tokens[1], unknown * LARGEST[1])
}
