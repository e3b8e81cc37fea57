//! `prices`: what operators set while routers run; the configuration's prices are not here.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::schema::prices;
use super::{PriceChange, Saved, Store, next_version};
use crate::domain::{ModelName, Price, Rate};
use crate::store::dialect::{Dialect, Value};
use crate::store::error::Error;
use crate::store::pool::{read, transaction};

type PriceRow = (String, i64, i64, i64, Option<i64>);

impl Store {
    /// The prices that are set, by model.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn prices(&self) -> Result<Vec<(ModelName, Price)>, Error> {
        let changes = self.price_changes(0).await?;
        let there = |change: PriceChange| {
            let (model, price) = change.says?;
            Some((model, price?))
        };
        Ok(changes.into_iter().filter_map(there).collect())
    }

    pub(super) async fn price_changes(&self, since: i64) -> Result<Vec<PriceChange>, Error> {
        let rows: Result<Vec<PriceRow>, Error> = read!(self, |conn| prices::table
            .select((
                prices::model,
                prices::input_nano_usd,
                prices::cached_input_nano_usd,
                prices::output_nano_usd,
                prices::deleted_at,
            ))
            .filter(prices::version.gt(since))
            .order(prices::model)
            .load(conn));
        Ok(rows?.into_iter().map(read_row).collect())
    }

    /// Sets a model's price, or takes it back. `now` is Unix seconds.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// When the transaction failed, or when it is not known whether it did.
    pub async fn save_price(
        &self,
        model: &ModelName,
        price: Option<Price>,
        now: i64,
    ) -> Result<Saved, Error> {
        transaction!(self, "COMMIT", |conn| save(conn, model, price, now))
    }
}

async fn save<C: Dialect>(
    connection: &mut C,
    model: &ModelName,
    price: Option<Price>,
    now: i64,
) -> Result<Saved, Error> {
    let version = next_version(connection).await?;
    let Some(price) = price else {
        let mark = "UPDATE prices SET deleted_at = ?, updated_at = ?, version = ? \
            WHERE model = ? AND deleted_at IS NULL";
        let values = [
            Value::Number(now),
            Value::Number(now),
            Value::Number(version),
            Value::Text(model.as_str()),
        ];
        return Ok(match connection.run(mark, &values).await? {
            0 => Saved::Stale,
            _ => Saved::As(version),
        });
    };
    let forget = "DELETE FROM prices WHERE model = ?";
    connection
        .run(forget, &[Value::Text(model.as_str())])
        .await?;
    let insert = "INSERT INTO prices (model, input_nano_usd, cached_input_nano_usd, \
        output_nano_usd, updated_at, version) VALUES (?, ?, ?, ?, ?, ?)";
    let rate = |rate: Rate| Value::Number(i64::try_from(rate.nano_usd_per_million()).unwrap_or(0));
    let values = [
        Value::Text(model.as_str()),
        rate(price.input),
        rate(price.cached_input),
        rate(price.output),
        Value::Number(now),
        Value::Number(version),
    ];
    connection.run(insert, &values).await?;
    Ok(Saved::As(version))
}

fn read_row((row, input, cached, output, deleted): PriceRow) -> PriceChange {
    let rate = |nano: i64| Rate::from_nano_usd_per_million(u64::try_from(nano).ok()?);
    let price = || {
        Some(Price {
            input: rate(input)?,
            cached_input: rate(cached)?,
            output: rate(output)?,
        })
    };
    let says = ModelName::parse_any(&row)
        .ok()
        .and_then(|model| match deleted {
            Some(_) => Some((model, None)),
            None => Some((model, Some(price()?))),
        });
    PriceChange { row, says }
}
