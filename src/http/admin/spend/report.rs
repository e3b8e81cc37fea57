//! The report: a question read from a query string, and the answer to it.
//!
//! Every request is charged in full to each account it concerns, so a sum over accounts of several
//! kinds would count it several times. A question that neither says nor asks the kind is therefore
//! about keys, and the answer says so.

use axum::extract::State as Shared;
use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::{InQuery, Outcome, Problem, answer, csv};
use crate::domain::{EntityKind, ModelName, format_usd};
use crate::http::State;
use crate::store::{
    Day, Group, MAX_REPORT_ROWS, Measure, Order, OrderBy, ReportRow, Source, SpendQuery,
    SpendReport,
};

/// Names in the query.
pub(super) const NAMES: [&str; 11] = [
    "kind", "entity", "api_key", "model", "endpoint", "from", "to", "group_by", "order", "limit",
    "format",
];

/// Rows unless told otherwise.
const USUAL: u32 = 1_000;
/// No name is longer.
const LONGEST: usize = 2_000;
/// On CSV, which has no other place for it.
const MORE: HeaderName = HeaderName::from_static("x-herdsman-more");

/// A question, and how it is to be answered.
#[derive(Debug)]
struct Asked {
    query: SpendQuery,
    csv: bool,
}

type Pairs = Vec<(String, String)>;

pub(super) async fn show(
    Shared(state): Shared<State>,
    InQuery(pairs): InQuery<Pairs>,
    headers: HeaderMap,
) -> Outcome {
    let asked = read(pairs, &headers)?;
    let report = state.store.spend_report(&asked.query).await?;
    Ok(if asked.csv {
        table(&asked.query, &report)
    } else {
        answer(StatusCode::OK, &shown(&asked.query, &report))
    })
}

fn read(pairs: Pairs, headers: &HeaderMap) -> Result<Asked, Problem> {
    let mut query = SpendQuery {
        limit: USUAL,
        ..SpendQuery::default()
    };
    let mut format = None;
    for (name, value) in pairs {
        if value.contains('\0') || value.len() > LONGEST {
            return Err(Problem::wrong(format!("{name}: is no name of anything")));
        }
        match &*name {
            "kind" => query.kind = Some(parsed::<EntityKind>(&name, &value)?),
            "entity" => query.entity = Some(value),
            "api_key" => query.api_key = Some(value),
            "model" => query.model = Some(model(&value)?),
            "endpoint" => query.endpoint = Some(value),
            "from" => query.from = Some(parsed::<Day>(&name, &value)?),
            "to" => query.to = Some(parsed::<Day>(&name, &value)?),
            "group_by" => {
                for word in words(&value) {
                    query.by.push(group(&name, word)?);
                }
            }
            "order" => {
                for word in words(&value) {
                    query.order.push(order(word)?);
                }
            }
            "limit" => query.limit = limit(&value)?,
            "format" => format = Some(value),
            _ => return Err(Problem::wrong(format!("{name}: {}", one_of(&NAMES)))),
        }
    }
    if let (Some(from), Some(to)) = (&query.from, &query.to)
        && from > to
    {
        return Err(Problem::wrong("from: must not be after to"));
    }
    if query.by.is_empty() {
        query.by.push(Group::Entity);
    }
    // A name says nothing without its kind.
    if query.by.contains(&Group::Entity) && !query.by.contains(&Group::Kind) {
        query.by.push(Group::Kind);
    }
    query.by.sort_unstable();
    query.by.dedup();
    if query.kind.is_none() && !query.by.contains(&Group::Kind) {
        query.kind = Some(EntityKind::Key);
    }
    for order in &query.order {
        if let OrderBy::Group(group) = order.by
            && !query.by.contains(&group)
        {
            let name = group.as_str();
            return Err(Problem::wrong(format!(
                "order: the report is not by {name}"
            )));
        }
    }
    let csv = match format.as_deref() {
        Some("csv") => true,
        Some("json") => false,
        Some(_) => return Err(Problem::wrong("format: must be json or csv")),
        None => prefers_csv(headers),
    };
    Ok(Asked { query, csv })
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &str,
    value: &str,
) -> Result<T, Problem> {
    value
        .parse()
        .map_err(|error| Problem::wrong(format!("{name}: {error}")))
}

fn model(value: &str) -> Result<String, Problem> {
    let name = ModelName::parse_any(value);
    let wrong = |_| Problem::wrong(format!("model: \"{value}\" is not a model's name"));
    Ok(name.map_err(wrong)?.to_string())
}

fn words(value: &str) -> impl Iterator<Item = &str> {
    let words = value.split(',').map(str::trim);
    words.filter(|word| !word.is_empty())
}

fn group(name: &str, word: &str) -> Result<Group, Problem> {
    let found = Group::ALL.into_iter().find(|group| group.as_str() == word);
    let names = Group::ALL.map(Group::as_str);
    found.ok_or_else(|| Problem::wrong(format!("{name}: {}", one_of(&names))))
}

/// `requests`, or with the largest first `-requests`.
fn order(word: &str) -> Result<Order, Problem> {
    let (down, name) = match word.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, word),
    };
    let measure = Measure::ALL.into_iter().find(|one| one.as_str() == name);
    let group = Group::ALL.into_iter().find(|one| one.as_str() == name);
    let by = measure.map(OrderBy::Measure);
    let by = by.or(group.map(OrderBy::Group)).ok_or_else(|| {
        let names = [
            &Group::ALL.map(Group::as_str)[..],
            &Measure::ALL.map(Measure::as_str),
        ]
        .concat();
        let text = format!("order: {}, or one of them behind a -", one_of(&names));
        Problem::wrong(text)
    })?;
    Ok(Order { by, down })
}

fn limit(value: &str) -> Result<u32, Problem> {
    let limit = value.parse().ok();
    limit
        .filter(|limit| (1..=MAX_REPORT_ROWS).contains(limit))
        .ok_or_else(|| Problem::wrong(format!("limit: must be 1 to {MAX_REPORT_ROWS}")))
}

fn one_of(names: &[&str]) -> String {
    format!("must be one of {}", names.join(", "))
}

/// Asked for CSV, and not for JSON too.
fn prefers_csv(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    let accepted: Vec<_> = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .collect();
    accepted.contains(&"text/csv") && !accepted.contains(&"application/json")
}

/// What was spent.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "SpendReport")]
pub(super) struct Shown<'a> {
    /// The table that was summed.
    source: Table,
    /// The kind of account it is about, where it is about one.
    kind: Option<&'static str>,
    /// The first day.
    from: Option<&'a str>,
    /// The last day.
    to: Option<&'a str>,
    /// What the rows are grouped by.
    group_by: Vec<&'static str>,
    items: Vec<Item<'a>>,
    /// Whether there are more rows than were asked for.
    more: bool,
}

#[derive(Clone, Copy, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Table {
    Spend,
    DailySpend,
}

/// A row. It has those of the first six that it is grouped by.
#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct Item<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    entity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    date: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    api_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    endpoint: Option<&'a str>,
    spend_nano_usd: i64,
    spend_usd: String,
    input_tokens: i64,
    output_tokens: i64,
    requests: i64,
    /// `null` where the table does not say.
    failed_requests: Option<i64>,
}

fn shown<'a>(query: &'a SpendQuery, report: &'a SpendReport) -> Shown<'a> {
    Shown {
        source: match report.source {
            Source::Spend => Table::Spend,
            Source::DailySpend => Table::DailySpend,
        },
        kind: query.kind.map(EntityKind::as_str),
        from: query.from.as_ref().map(Day::as_str),
        to: query.to.as_ref().map(Day::as_str),
        group_by: query.by.iter().map(|group| group.as_str()).collect(),
        items: report.rows.iter().map(|row| item(query, row)).collect(),
        more: report.more,
    }
}

fn item<'a>(query: &SpendQuery, row: &'a ReportRow) -> Item<'a> {
    let by = |group: Group, text: &'a str| query.by.contains(&group).then_some(text);
    Item {
        kind: by(Group::Kind, &row.kind),
        entity: by(Group::Entity, &row.entity),
        date: by(Group::Date, &row.date),
        api_key: by(Group::ApiKey, &row.api_key),
        model: by(Group::Model, &row.model),
        endpoint: by(Group::Endpoint, &row.endpoint),
        spend_nano_usd: row.spend_nano_usd,
        spend_usd: format_usd(row.spend_nano_usd),
        input_tokens: row.input_tokens,
        output_tokens: row.output_tokens,
        requests: row.requests,
        failed_requests: row.failed_requests,
    }
}

fn table(query: &SpendQuery, report: &SpendReport) -> Response {
    let mut head: Vec<&str> = query.by.iter().map(|group| group.as_str()).collect();
    for measure in Measure::ALL {
        head.push(measure.as_str());
        if measure == Measure::Spend {
            head.push("spend_usd");
        }
    }
    let mut written = csv::line(&head);
    for row in &report.rows {
        let mut cells: Vec<String> = query
            .by
            .iter()
            .map(|&group| text(row, group).to_owned())
            .collect();
        for measure in Measure::ALL {
            let number = number(row, measure);
            cells.push(number.map_or_else(String::new, |number| number.to_string()));
            if measure == Measure::Spend {
                cells.push(format_usd(row.spend_nano_usd));
            }
        }
        written += &csv::line(&cells);
    }
    let kind = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
    let more = HeaderValue::from_static(if report.more { "true" } else { "false" });
    ([(CONTENT_TYPE, kind), (MORE, more)], written).into_response()
}

fn text(row: &ReportRow, group: Group) -> &str {
    match group {
        Group::Kind => &row.kind,
        Group::Entity => &row.entity,
        Group::Date => &row.date,
        Group::ApiKey => &row.api_key,
        Group::Model => &row.model,
        Group::Endpoint => &row.endpoint,
    }
}

fn number(row: &ReportRow, measure: Measure) -> Option<i64> {
    match measure {
        Measure::Spend => Some(row.spend_nano_usd),
        Measure::Input => Some(row.input_tokens),
        Measure::Output => Some(row.output_tokens),
        Measure::Requests => Some(row.requests),
        Measure::FailedRequests => row.failed_requests,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Result<Asked, String> {
        let pairs = pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        read(pairs.collect(), &HeaderMap::new()).map_err(|problem| problem.1)
    }

    #[test]
    fn a_name_comes_with_its_kind_and_nothing_is_summed_over_kinds() {
        let all = asked(&[]).unwrap().query;
        assert_eq!((all.kind, all.by), (None, vec![Group::Kind, Group::Entity]));
        let models = asked(&[("group_by", "model, date"), ("group_by", "model")]).unwrap();
        assert_eq!(models.query.by, [Group::Date, Group::Model]);
        assert_eq!(models.query.kind, Some(EntityKind::Key));
        let teams = asked(&[("group_by", "model"), ("kind", "team")]).unwrap();
        assert_eq!(teams.query.kind, Some(EntityKind::Team));
        let model = asked(&[("model", "LLAMA3.2")]).unwrap();
        assert_eq!(model.query.model.as_deref(), Some("llama3.2:latest"));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let wrong = [
            ("kind", "keys"),
            ("from", "yesterday"),
            ("to", "2026-02-30"),
            ("group_by", "week"),
            ("order", "price"),
            ("order", "-model"),
            ("limit", "0"),
            ("limit", "10001"),
            ("limit", "-1"),
            ("format", "xml"),
            ("groupby", "model"),
            ("model", "a b"),
            ("entity", "a\0b"),
        ];
        let said: Vec<_> = wrong.map(|pair| asked(&[pair]).unwrap_err()).into();
        insta::assert_snapshot!(said.join("\n"), @r#"
        kind: must be one of key, user, team, team_member, org, end_user, tag
        from: must be a day such as 2026-03-14
        to: must be a day such as 2026-03-14
        group_by: must be one of kind, entity, date, api_key, model, endpoint
        order: must be one of kind, entity, date, api_key, model, endpoint, spend_nano_usd, input_tokens, output_tokens, requests, failed_requests, or one of them behind a -
        order: the report is not by model
        limit: must be 1 to 10000
        limit: must be 1 to 10000
        limit: must be 1 to 10000
        format: must be json or csv
        groupby: must be one of kind, entity, api_key, model, endpoint, from, to, group_by, order, limit, format
        model: "a b" is not a model's name
        entity: is no name of anything
        "#);
        let turned = asked(&[("from", "2026-03-02"), ("to", "2026-03-01")]).unwrap_err();
        assert_eq!(turned, "from: must not be after to");
    }

    #[test]
    fn csv_is_given_to_whoever_accepts_nothing_better() {
        let accepting = |accept: &'static str| {
            prefers_csv(&HeaderMap::from_iter([(
                ACCEPT,
                HeaderValue::from_static(accept),
            )]))
        };
        assert!(accepting("text/csv"));
        assert!(accepting("text/csv;q=0.9, */*;q=0.1"));
        assert!(!accepting("application/json, text/csv"));
        assert!(!accepting("*/*"));
    }
}
