//! One address, one agent: whoever is there keeps it, under whatever name another comes.

use diesel::deserialize::QueryableByName;

use super::{InstanceKind, Joining};
use crate::store::dialect::{Dialect, Value};
use crate::store::error::Error;

/// So many are looked at; there is more than one only for a moment.
const MOST: usize = 100;

/// Another agent with the same address.
#[derive(QueryableByName)]
pub(super) struct Neighbour {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    left_ms: i64,
}

/// The agent of another name that holds this address, if one does. One whose lease is over has lost it: it is stopped, so
/// that no late heartbeat revives it beside its successor.
///
/// Two that come at once may both get in: then the one that was registered first counts, wherever that is read.
pub(super) async fn holder<C: Dialect>(
    connection: &mut C,
    joining: &Joining,
) -> Result<Option<String>, Error>
where
    Neighbour: QueryableByName<C::Backend>,
{
    if joining.key.kind != InstanceKind::Agent || is_renewal(connection, joining).await? {
        return Ok(None);
    }
    let now = C::NOW_MS;
    let others = "kind = ? AND url = ? AND name <> ? AND stopped = 0";
    // No lock is taken on rows that are others'.
    let ask = format!(
        "SELECT name, lease_until - {now} AS left_ms FROM model_instances WHERE {others} \
         ORDER BY registered_at, name LIMIT {MOST}"
    );
    let kind = Value::Text(InstanceKind::Agent.as_str());
    let own = [
        kind,
        Value::Text(&joining.url),
        Value::Text(&joining.key.name),
    ];
    let found: Vec<Neighbour> = connection.rows(&ask, &own).await?;
    if let Some(holder) = found.iter().find(|other| other.left_ms > 0) {
        return Ok(Some(holder.name.clone()));
    }
    let stop = format!(
        "UPDATE model_instances SET stopped = 1 \
         WHERE kind = ? AND name = ? AND host = '' AND port = 0 AND lease_until <= {now}"
    );
    for gone in &found {
        let values = [kind, Value::Text(&gone.name)];
        connection.run(&stop, &values).await?;
    }
    Ok(None)
}

/// Whether this run holds the lease already, for the same address.
async fn is_renewal<C: Dialect>(connection: &mut C, joining: &Joining) -> Result<bool, Error> {
    let ask = "SELECT COUNT(*) AS number FROM model_instances \
               WHERE kind = ? AND name = ? AND run = ? AND url = ? AND stopped = 0";
    let values = [
        Value::Text(joining.key.kind.as_str()),
        Value::Text(&joining.key.name),
        Value::Text(&joining.run),
        Value::Text(&joining.url),
    ];
    Ok(connection.numbers(ask, &values).await? != [0])
}
