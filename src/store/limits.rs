//! What every database keeps whole. Whatever exceeds it is poison, and known to be before a
//! statement is made of it. Pure.
//!
//! One set of limits for all three, although SQLite would take more: what can be moved from one to
//! another has to fit both. Nothing is cut, rounded or saturated here: a sum that is silently wrong
//! is worse than a record that an operator is shown.

use super::batch::{BatchRow, DailyRow, SealedBatch, SpendRow, SpendSums};
use super::error::Error;
use crate::domain::MAX_ENTITY_CHARS;

/// The largest number in a column. Two of them can be added without leaving SQL's integers, so
/// that a sum that is too large is seen by the table's own rule and not by the arithmetic.
pub(super) const LARGEST: i64 = (1 << 62) - 1;

const MAX_ENDPOINT: usize = 128;
const MAX_MODEL: usize = 600;
const MAX_KEY: usize = 128;
/// The first and last second of years with four digits.
const DATES: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

/// Whether every value of `batch` fits.
pub(super) fn check(batch: &SealedBatch) -> Result<(), Error> {
    let found = batch
        .rows
        .iter()
        .map(tokens)
        .chain(batch.spend.iter().map(spend))
        .chain(batch.daily.iter().map(daily))
        .find_map(Result::err);
    match found {
        Some(what) => Err(Error::Poison(format!("batch {}: {what}", batch.id))),
        None => number(batch.id.seq).map(drop).map_err(Error::Poison),
    }
}

/// SQL has no unsigned numbers.
pub(super) fn number(number: u64) -> Result<i64, String> {
    i64::try_from(number)
        .ok()
        .filter(|number| *number <= LARGEST)
        .ok_or_else(|| format!("{number} is too large a number"))
}

/// The sum of two numbers that fit, if it does.
pub(super) fn sum(one: i64, other: i64) -> Result<i64, Error> {
    one.checked_add(other)
        .filter(|sum| *sum <= LARGEST)
        .ok_or_else(|| Error::Poison(format!("{one} and {other} are too much together")))
}

fn tokens(row: &BatchRow) -> Result<(), String> {
    endpoint(&row.endpoint)?;
    model(&row.model)?;
    let (input, output) = (number(row.tokens.input)?, number(row.tokens.output)?);
    number(input.unsigned_abs() + output.unsigned_abs()).map(drop)
}

fn spend(row: &SpendRow) -> Result<(), String> {
    entity(&row.entity)?;
    sums(&row.spent)?;
    (0..=LARGEST)
        .contains(&row.period)
        .then_some(())
        .ok_or_else(|| format!("{} is no beginning of a period", row.period))
}

fn daily(row: &DailyRow) -> Result<(), String> {
    entity(&row.entity)?;
    ascii("a key", &row.api_key, MAX_KEY)?;
    model(&row.model)?;
    endpoint(&row.endpoint)?;
    sums(&row.spent)?;
    number(row.failed_requests)?;
    DATES
        .contains(&row.at)
        .then_some(())
        .ok_or_else(|| format!("{} is on no day", row.at))
}

fn sums(sums: &SpendSums) -> Result<(), String> {
    for value in [sums.nano_usd, sums.input, sums.output, sums.requests] {
        number(value)?;
    }
    Ok(())
}

fn endpoint(name: &str) -> Result<(), String> {
    text("an endpoint", name, MAX_ENDPOINT)
}

fn entity(name: &str) -> Result<(), String> {
    text("an entity", name, MAX_ENTITY_CHARS)
}

fn model(name: &str) -> Result<(), String> {
    ascii("a model", name, MAX_MODEL)
}

fn ascii(what: &str, text: &str, most: usize) -> Result<(), String> {
    if !text.is_ascii() {
        return Err(format!("{text:?} is not ASCII and no name of {what}"));
    }
    self::text(what, text, most)
}

/// PostgreSQL has no texts with a zero in them.
fn text(what: &str, text: &str, most: usize) -> Result<(), String> {
    if text.contains('\0') {
        Err(format!("{text:?} has a zero byte and is no name of {what}"))
    } else if text.len() > most && text.chars().count() > most {
        Err(format!(
            "the name of {what} has {} characters, and {most} at most are kept",
            text.chars().count()
        ))
    } else {
        Ok(())
    }
}
