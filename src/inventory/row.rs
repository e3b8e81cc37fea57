//! A server that was added, as a row of the database, and back.
//!
//! A row that says something this version does not understand (written by an operator in SQL, by a newer
//! version) is left out: a server is not used other than it was meant to be.

use serde::{Deserialize, Serialize};

use super::change::Added;
use super::hold;
use super::spec::spec;
use crate::config::{Endpoint, Kind, Slots, endpoint_faults};
use crate::fleet::Drain;
use crate::store::EndpointRow;

/// What stands in `settings`; what is not said is as in a configuration.
#[derive(Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    slots: Slots,
    weight: f64,
    priority: i32,
    cloud: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self::of(&Endpoint::default())
    }
}

impl Settings {
    fn of(endpoint: &Endpoint) -> Self {
        Self {
            slots: endpoint.slots,
            weight: endpoint.weight,
            priority: endpoint.priority,
            cloud: endpoint.cloud,
            models: endpoint.models.clone(),
            labels: endpoint.labels.clone(),
        }
    }
}

/// The row of a server.
pub(super) fn of(added: &Added) -> EndpointRow {
    let endpoint = &added.endpoint;
    EndpointRow {
        name: endpoint.name.clone(),
        url: endpoint.url.to_string(),
        address: endpoint.address(),
        kind: endpoint.kind.as_str().to_owned(),
        api_key: endpoint.api_key.clone(),
        // Lists of text and numbers can always be written.
        settings: serde_json::to_string(&Settings::of(endpoint)).unwrap_or_default(),
        draining: serde_json::to_string(&hold::written(&added.drain)).unwrap_or_default(),
        created_at: added.created_at,
        version: added.version,
    }
}

/// The servers of these rows, less those that are not understood.
pub(super) fn read(rows: &[EndpointRow]) -> Vec<Added> {
    let understood = |row: &EndpointRow| {
        added(row)
            .inspect_err(|why| {
                tracing::error!(
                    endpoint = row.name,
                    why,
                    "added server is not understood, and not used"
                );
            })
            .ok()
    };
    rows.iter().filter_map(understood).collect()
}

fn added(row: &EndpointRow) -> Result<Added, String> {
    let url = row.url.parse().map_err(|error| format!("url {error}"))?;
    let settings: Settings =
        serde_json::from_str(&row.settings).map_err(|error| format!("settings: {error}"))?;
    let kind = Kind::parse(&row.kind).ok_or_else(|| format!("kind {}", row.kind))?;
    let endpoint = Endpoint {
        name: row.name.clone(),
        kind,
        api_key: row.api_key.clone(),
        slots: settings.slots,
        weight: settings.weight,
        priority: settings.priority,
        cloud: settings.cloud,
        models: settings.models,
        labels: settings.labels,
        ..Endpoint::at(url)
    };
    if let Some(fault) = endpoint_faults(&endpoint).into_iter().next() {
        return Err(fault);
    }
    let drain = drain(&row.draining)?;
    spec(&endpoint, Slots::Auto, drain.clone()).map_err(|error| error.to_string())?;
    Ok(Added {
        endpoint,
        drain,
        created_at: row.created_at,
        version: row.version,
    })
}

fn drain(written: &str) -> Result<Drain, String> {
    let names: Vec<String> =
        serde_json::from_str(written).map_err(|error| format!("draining: {error}"))?;
    hold::read(&names).map_err(|_| format!("draining: {written}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::ModelName;

    fn one() -> Added {
        let mut endpoint = Endpoint::at("http://gpu-7:11434".parse().unwrap());
        endpoint.weight = 2.5;
        endpoint.cloud = true;
        endpoint.labels = vec!["fast".to_owned()];
        endpoint.api_key = "hunter2".into();
        Added {
            endpoint,
            drain: Drain::Models([ModelName::parse("phi4").unwrap()].into()),
            created_at: 7,
            version: 3,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let models: Arc<[ModelName]> = one().drain.models().into();
        for drain in [
            Drain::Nothing,
            Drain::Everything([].into()),
            Drain::Everything(models),
            one().drain,
        ] {
            let added = Added { drain, ..one() };
            assert_eq!(read(&[of(&added)]), [added]);
        }
    }

    #[test]
    fn a_row_that_is_not_understood_is_left_out_alone() {
        let good = of(&one());
        let bad = |change: fn(&mut EndpointRow)| {
            let mut row = good.clone();
            change(&mut row);
            row
        };
        let rows = [
            bad(|row| row.settings = r#"{"memory":"24GiB"}"#.to_owned()),
            bad(|row| row.settings = r#"{"weight":-1.0}"#.to_owned()),
            bad(|row| row.kind = "abacus".to_owned()),
            bad(|row| row.url = "gpu-7".to_owned()),
            bad(|row| row.draining = "everything".to_owned()),
            bad(|row| row.name = "a,b".to_owned()),
            good.clone(),
        ];
        assert_eq!(read(&rows), [one()]);
    }
}
