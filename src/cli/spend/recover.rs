//! `herdsman spend recover DIR`: the journal of a router that never comes back.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::{Failure, Output};
use crate::config::Config;
use crate::spend::recover;

/// A journal is a gigabyte at most, and a database that does not take it in this time takes it at the
/// next try.
const RECOVER_TIMEOUT: Duration = Duration::from_secs(10 * 60);

pub(super) async fn run(dir: &Path, config: &Config, output: Output) -> Result<(), Failure> {
    let store = super::database(config).await?;
    store
        .migrate()
        .await
        .map_err(Failure::to("migrate the database"))?;
    let recovered = recover(dir, store, RECOVER_TIMEOUT)
        .await
        .map_err(Failure::to("recover the journal"))?;
    let (found, committed) = (recovered.found, recovered.committed);
    let dead = recovered.dead_lettered;
    let told = json!({ "found": found, "committed": committed, "dead_lettered": dead });
    output.tell(&told, || {
        Ok(format!(
            "{found} records found, {committed} in the database, {dead} dead-lettered"
        ))
    })
}
