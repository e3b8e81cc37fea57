//! The statement of a question, and which table answers it.
//!
//! Pure. Names of columns are the only parts of a statement's text that depend on the question, and none of
//! them is the caller's: values are bound.

use super::super::date::Day;
use super::super::dialect::Value;
use super::{Group, MAX_REPORT_ROWS, Measure, Order, OrderBy, Source, SpendQuery};
use crate::domain::EntityKind;

impl SpendQuery {
    /// The small table, whenever it knows enough.
    pub(super) fn source(&self) -> Source {
        let of_accounts = |group: &Group| matches!(group, Group::Kind | Group::Entity);
        let filtered = self.api_key.is_some()
            || self.model.is_some()
            || self.endpoint.is_some()
            || self.from.is_some()
            || self.to.is_some();
        let failed = OrderBy::Measure(Measure::FailedRequests);
        if self.by.iter().all(of_accounts)
            && !filtered
            && self.order.iter().all(|order| order.by != failed)
        {
            Source::Spend
        } else {
            Source::DailySpend
        }
    }

    /// The statement and its values. `text` is the type a number is cast to.
    pub(super) fn statement(&self, source: Source, text: &str) -> (String, Vec<Value<'_>>) {
        let by = |group| self.by.contains(&group);
        let mut columns: Vec<String> = Group::ALL
            .into_iter()
            .map(|group| {
                let name = group.as_str();
                let column = if by(group) { name } else { "''" };
                format!("{column} AS by_{name}")
            })
            .collect();
        let names = ["spend", "input", "output", "requests", "failed"];
        for (measure, name) in Measure::ALL.into_iter().zip(names) {
            let column = measure.as_str();
            columns.push(match (measure, source) {
                (Measure::FailedRequests, Source::Spend) => format!("'' AS sum_{name}"),
                _ => format!("CAST(sum({column}) AS {text}) AS sum_{name}"),
            });
        }
        let filters = [
            ("kind = ?", self.kind.map(EntityKind::as_str)),
            ("entity = ?", self.entity.as_deref()),
            ("api_key = ?", self.api_key.as_deref()),
            ("model = ?", self.model.as_deref()),
            ("endpoint = ?", self.endpoint.as_deref()),
            ("date >= ?", self.from.as_ref().map(Day::as_str)),
            ("date <= ?", self.to.as_ref().map(Day::as_str)),
        ];
        let filters = filters
            .into_iter()
            .filter_map(|(filter, value)| Some((filter, Value::Text(value?))));
        let (filters, values): (Vec<_>, Vec<_>) = filters.unzip();
        let table = match source {
            Source::Spend => "spend",
            Source::DailySpend => "daily_spend",
        };
        let mut statement = format!("SELECT {} FROM {table}", columns.join(", "));
        if !filters.is_empty() {
            statement += &format!(" WHERE {}", filters.join(" AND "));
        }
        let groups: Vec<_> = Group::ALL.into_iter().filter(|group| by(*group)).collect();
        let names: Vec<_> = groups.iter().map(|group| group.as_str()).collect();
        let limit = self.limit.min(MAX_REPORT_ROWS) + 1;
        statement += &format!(
            " GROUP BY {} ORDER BY {} LIMIT {limit}",
            names.join(", "),
            self.ordered(&groups).join(", ")
        );
        (statement, values)
    }

    fn ordered(&self, groups: &[Group]) -> Vec<String> {
        let dearest = Order {
            by: OrderBy::Measure(Measure::Spend),
            down: true,
        };
        let ascending = |group: Group| Order {
            by: OrderBy::Group(group),
            down: false,
        };
        let usual = [ascending(Group::Date), dearest];
        let asked = if self.order.is_empty() {
            &usual[..]
        } else {
            &self.order
        };
        let ties = groups.iter().copied().map(ascending);
        let mut seen = Vec::new();
        let mut written = Vec::new();
        for order in asked.iter().copied().chain(ties) {
            let known = match order.by {
                OrderBy::Group(group) => groups.contains(&group),
                OrderBy::Measure(_) => true,
            };
            if !known || seen.contains(&order.by) {
                continue;
            }
            seen.push(order.by);
            let what = match order.by {
                OrderBy::Group(group) => group.as_str().to_owned(),
                OrderBy::Measure(measure) => format!("sum({})", measure.as_str()),
            };
            written.push(if order.down {
                format!("{what} DESC")
            } else {
                what
            });
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_by_account_alone_reads_the_small_table() {
        let mut query = SpendQuery {
            by: vec![Group::Kind, Group::Entity],
            limit: 5,
            ..SpendQuery::default()
        };
        assert_eq!(query.source(), Source::Spend);
        insta::assert_snapshot!(query.statement(Source::Spend, "TEXT").0, @"SELECT kind AS by_kind, entity AS by_entity, '' AS by_date, '' AS by_api_key, '' AS by_model, '' AS by_endpoint, CAST(sum(spend_nano_usd) AS TEXT) AS sum_spend, CAST(sum(input_tokens) AS TEXT) AS sum_input, CAST(sum(output_tokens) AS TEXT) AS sum_output, CAST(sum(requests) AS TEXT) AS sum_requests, '' AS sum_failed FROM spend GROUP BY kind, entity ORDER BY sum(spend_nano_usd) DESC, kind, entity LIMIT 6");
        query.model = Some("m:latest".to_owned());
        assert_eq!(query.source(), Source::DailySpend);
    }

    #[test]
    fn what_is_asked_is_bound_and_never_written_into_the_statement() {
        let query = SpendQuery {
            entity: Some("x' OR '1' = '1".to_owned()),
            from: Some("2026-03-14".parse().unwrap()),
            by: vec![Group::Model, Group::Date],
            order: vec![Order {
                by: OrderBy::Measure(Measure::FailedRequests),
                down: true,
            }],
            limit: u32::MAX,
            ..SpendQuery::default()
        };
        let (statement, values) = query.statement(query.source(), "CHAR");
        let after = statement.split_once(" FROM ").unwrap().1;
        insta::assert_snapshot!(after, @"daily_spend WHERE entity = ? AND date >= ? GROUP BY date, model ORDER BY sum(failed_requests) DESC, date, model LIMIT 10001");
        let expected = ["x' OR '1' = '1", "2026-03-14"].map(Value::Text);
        assert_eq!(values, expected);
    }
}
