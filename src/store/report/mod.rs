//! What was spent, summed by whatever it is asked by.
//!
//! Sums are made in the database, which has the rows, and come as text, because each database has
//! another type for a sum; a sum that no whole number holds is an error and never a wrong number.
//! Every request is charged in full to each account it concerns, so a sum over accounts of several
//! kinds counts it several times: whoever asks says which kind, or asks by kind.

mod statement;

use diesel::deserialize::QueryableByName;
use diesel::result::Error as Diesel;
use diesel::sql_types::Text;

use super::Store;
use super::date::Day;
use super::dialect::Dialect;
use super::error::Error;
use super::pool::reading;
use crate::domain::EntityKind;

/// No report has more rows.
pub const MAX_REPORT_ROWS: u32 = 10_000;

/// What a sum can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The kind of account.
    Kind,
    /// The account. Names are unique within a kind only.
    Entity,
    /// The day, UTC.
    Date,
    /// The SHA-256 of the key.
    ApiKey,
    /// The canonical model name.
    Model,
    /// The endpoint's name.
    Endpoint,
}

/// What is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Money.
    Spend,
    /// Tokens read.
    Input,
    /// Tokens written.
    Output,
    /// Answered requests.
    Requests,
    /// Requests that got no answer.
    FailedRequests,
}

/// What comes first: the smallest, or with `down` the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Of what.
    pub by: OrderBy,
    /// The largest first.
    pub down: bool,
}

/// See [`Order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderBy {
    /// A sum.
    Measure(Measure),
    /// One of those the report is by; any other is passed over.
    Group(Group),
}

/// A question. Whatever is `None` is not asked.
#[derive(Clone, Debug, Default)]
pub struct SpendQuery {
    /// Accounts of this kind.
    pub kind: Option<EntityKind>,
    /// The account of this name.
    pub entity: Option<String>,
    /// The key with this SHA-256.
    pub api_key: Option<String>,
    /// This model, by its canonical name.
    pub model: Option<String>,
    /// This endpoint.
    pub endpoint: Option<String>,
    /// From this day on.
    pub from: Option<Day>,
    /// Until this day, it included.
    pub to: Option<Day>,
    /// At least one.
    pub by: Vec<Group>,
    /// Ties are broken by the groups. Empty: by day, then the dearest first.
    pub order: Vec<Order>,
    /// At most so many rows, and never more than [`MAX_REPORT_ROWS`].
    pub limit: u32,
}

/// The table that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Sums since the beginning, by account.
    Spend,
    /// By day, key, model and endpoint.
    DailySpend,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendReport {
    /// Where it is from.
    pub source: Source,
    /// In order.
    pub rows: Vec<ReportRow>,
    /// There are more than were asked for.
    pub more: bool,
}

/// One sum. What the report is not by is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportRow {
    /// See [`Group::Kind`].
    pub kind: String,
    /// See [`Group::Entity`].
    pub entity: String,
    /// See [`Group::Date`].
    pub date: String,
    /// See [`Group::ApiKey`].
    pub api_key: String,
    /// See [`Group::Model`].
    pub model: String,
    /// See [`Group::Endpoint`].
    pub endpoint: String,
    /// Billionths of a US dollar.
    pub spend_nano_usd: i64,
    /// Tokens read.
    pub input_tokens: i64,
    /// Tokens written.
    pub output_tokens: i64,
    /// Answered requests.
    pub requests: i64,
    /// Requests that got no answer; only days know them.
    pub failed_requests: Option<i64>,
}

#[derive(QueryableByName)]
struct Read {
    #[diesel(sql_type = Text)]
    by_kind: String,
    #[diesel(sql_type = Text)]
    by_entity: String,
    #[diesel(sql_type = Text)]
    by_date: String,
    #[diesel(sql_type = Text)]
    by_api_key: String,
    #[diesel(sql_type = Text)]
    by_model: String,
    #[diesel(sql_type = Text)]
    by_endpoint: String,
    #[diesel(sql_type = Text)]
    sum_spend: String,
    #[diesel(sql_type = Text)]
    sum_input: String,
    #[diesel(sql_type = Text)]
    sum_output: String,
    #[diesel(sql_type = Text)]
    sum_requests: String,
    #[diesel(sql_type = Text)]
    sum_failed: String,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 6] = [
        Self::Kind,
        Self::Entity,
        Self::Date,
        Self::ApiKey,
        Self::Model,
        Self::Endpoint,
    ];

    /// As the column is called, and the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Entity => "entity",
            Self::Date => "date",
            Self::ApiKey => "api_key",
            Self::Model => "model",
            Self::Endpoint => "endpoint",
        }
    }
}

impl Measure {
    /// Every measure.
    pub const ALL: [Self; 5] = [
        Self::Spend,
        Self::Input,
        Self::Output,
        Self::Requests,
        Self::FailedRequests,
    ];

    /// As the column is called, and the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spend => "spend_nano_usd",
            Self::Input => "input_tokens",
            Self::Output => "output_tokens",
            Self::Requests => "requests",
            Self::FailedRequests => "failed_requests",
        }
    }
}

impl Store {
    /// What was spent.
    ///
    /// # Errors
    /// When the database cannot be read, or a sum is larger than a whole number can be.
    pub async fn spend_report(&self, query: &SpendQuery) -> Result<SpendReport, Error> {
        let source = query.source();
        let read = reading!(self, |conn| ask(conn, query, source))?;
        let limit = query.limit.min(MAX_REPORT_ROWS) as usize;
        let more = read.len() > limit;
        let rows = read.into_iter().take(limit).map(ReportRow::try_from);
        Ok(SpendReport {
            source,
            rows: rows.collect::<Result<_, _>>()?,
            more,
        })
    }
}

async fn ask<C: Dialect>(
    connection: &mut C,
    query: &SpendQuery,
    source: Source,
) -> Result<Vec<Read>, Error>
where
    Read: QueryableByName<C::Backend>,
{
    let (statement, values) = query.statement(source, C::TEXT);
    connection.rows(&statement, &values).await
}

impl TryFrom<Read> for ReportRow {
    type Error = Error;

    fn try_from(read: Read) -> Result<Self, Error> {
        Ok(Self {
            kind: read.by_kind,
            entity: read.by_entity,
            date: read.by_date,
            api_key: read.by_api_key,
            model: read.by_model,
            endpoint: read.by_endpoint,
            spend_nano_usd: whole(&read.sum_spend)?,
            input_tokens: whole(&read.sum_input)?,
            output_tokens: whole(&read.sum_output)?,
            requests: whole(&read.sum_requests)?,
            failed_requests: match &*read.sum_failed {
                "" => None,
                sum => Some(whole(sum)?),
            },
        })
    }
}

fn whole(sum: &str) -> Result<i64, Error> {
    sum.parse().map_err(|_| {
        let text = format!("the sum {sum} is larger than a report can hold");
        Diesel::DeserializationError(text.into()).into()
    })
}
