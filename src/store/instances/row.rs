//! A row of `model_instances`, as it is read.

use diesel::deserialize::QueryableByName;

/// What a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceKind {
    /// A server, by its agent.
    Agent,
    /// A router.
    Router,
    /// A worker of DB-GPT.
    Worker,
}

/// Which row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceKey {
    /// What it is of.
    pub kind: InstanceKind,
    /// How it is called.
    pub name: String,
    /// Where it is, if several may have that name; else empty.
    pub host: String,
    /// See `host`; else 0.
    pub port: u16,
}

/// A row, with its times as they were when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRow {
    /// Which.
    pub key: InstanceKey,
    /// How it is reached.
    pub url: String,
    /// Who holds the lease.
    pub run: String,
    /// The how manieth holder.
    pub incarnation: i64,
    /// It ended by itself.
    pub stopped: bool,
    /// How long ago it was heard of.
    pub age_ms: i64,
    /// How long its lease holds; not above zero: not any more.
    pub left_ms: i64,
    /// Since when this holder has it, in Unix milliseconds of the database.
    pub registered_at: i64,
    /// When it was heard of, in Unix milliseconds of the database.
    pub seen_at: i64,
    /// What it says of itself.
    pub facts: String,
}

#[derive(QueryableByName)]
pub(super) struct Columns {
    #[diesel(sql_type = diesel::sql_types::Text)]
    kind: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    host: String,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    port: i64,
    #[diesel(sql_type = diesel::sql_types::Text)]
    url: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    run: String,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    incarnation: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    stopped: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    age_ms: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    left_ms: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    registered_at: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    seen_at: i64,
    #[diesel(sql_type = diesel::sql_types::Text)]
    facts: String,
}

impl InstanceRow {
    /// Its lease held when it was read.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.stopped && self.left_ms > 0
    }
}

impl InstanceKind {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Router => "router",
            Self::Worker => "worker",
        }
    }

    fn parse(written: &str) -> Option<Self> {
        [Self::Agent, Self::Router, Self::Worker]
            .into_iter()
            .find(|kind| kind.as_str() == written)
    }
}

/// One that this version does not understand is none.
pub(super) fn row(columns: Columns) -> Option<InstanceRow> {
    Some(InstanceRow {
        key: InstanceKey {
            kind: InstanceKind::parse(&columns.kind)?,
            name: columns.name,
            host: columns.host,
            port: u16::try_from(columns.port).ok()?,
        },
        url: columns.url,
        run: columns.run,
        incarnation: columns.incarnation,
        stopped: columns.stopped != 0,
        age_ms: columns.age_ms,
        left_ms: columns.left_ms,
        registered_at: columns.registered_at,
        seen_at: columns.seen_at,
        facts: columns.facts,
    })
}
