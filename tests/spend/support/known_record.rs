//! Records of known cost, and the tables they must lead to.
//!
//! Each record has a tag of its own among its payers, so that the database itself says which of them
//! were counted, and how often. From those every other table is computed anew, and compared.

use std::collections::BTreeSet;

use herdsman::domain::{Charge, EntityKind, ModelName, Payer, TokenCounts, UsageRecord};

use super::tables::{Posting, Tables};

/// 2026-03-14, two minutes before midnight UTC: records lie on both sides of it.
const START: i64 = 1_773_532_680;

/// Record `n`.
pub fn record(n: u64) -> UsageRecord {
    let known = KnownRecord::of(n);
    UsageRecord {
        endpoint: known.endpoint.into(),
        model: ModelName::parse(&known.model).unwrap(),
        at: known.at,
        tokens: TokenCounts {
            input: known.input,
            output: known.output,
        },
        estimated: false,
        charge: Charge {
            nano_usd: i64::try_from(known.nano_usd).unwrap(),
            api_key: known.key.as_str().into(),
            payers: known
                .payers
                .into_iter()
                .map(|(kind, entity, period)| Payer {
                    kind,
                    entity: entity.into(),
                    period,
                })
                .collect(),
        },
        failed: known.failed,
    }
}

struct KnownRecord {
    endpoint: String,
    model: String,
    at: i64,
    input: u64,
    output: u64,
    nano_usd: u64,
    key: String,
    failed: bool,
    payers: Vec<(EntityKind, String, i64)>,
}

impl KnownRecord {
    fn of(n: u64) -> Self {
        let at = START + i64::try_from(n % 240).unwrap();
        let (input, output) = (10 + n % 97, 1 + n % 31);
        let key = format!("{:064x}", n % 40);
        // The budget of a team began anew in between.
        let period = if n % 240 < 120 { 1_000 } else { START + 120 };
        let payers = vec![
            (EntityKind::Key, key.clone(), 0),
            (EntityKind::User, format!("user-{}", n % 20), 0),
            (EntityKind::Team, format!("team-{}", n % 5), period),
            (EntityKind::Tag, format!("r{n}"), 0),
        ];
        Self {
            endpoint: format!("gpu-{}", n % 3),
            model: format!("model-{}:latest", n % 4),
            at,
            input,
            output,
            nano_usd: input * 50 + output * 200 + n % 7,
            key,
            failed: n % 50 == 49,
            payers,
        }
    }
}

impl Tables {
    /// What counting each of these once leads to.
    pub fn counting(numbers: &BTreeSet<u64>) -> Self {
        let mut tables = Self::default();
        for &n in numbers {
            let known = KnownRecord::of(n);
            let [money, input, output] =
                [known.nano_usd, known.input, known.output].map(|x| i64::try_from(x).unwrap());
            let date = if known.at < START + 120 {
                "2026-03-14"
            } else {
                "2026-03-15"
            };
            let payers = known.payers.into_iter();
            let failed = i64::from(known.failed);
            tables.post(Posting {
                payers: payers
                    .map(|(kind, entity, period)| (kind.to_string(), entity, period))
                    .collect(),
                api_key: known.key,
                model: known.model,
                endpoint: known.endpoint,
                date: date.to_owned(),
                minute: known.at / 60 * 60,
                sums: [money, input, output, 1 - failed, failed],
            });
        }
        tables
    }

    /// Which records were counted, and a check that each was counted once.
    pub fn counted(&self) -> BTreeSet<u64> {
        let tags = self.spend.iter().filter(|((kind, _), _)| kind == "tag");
        tags.map(|((_, entity), sums)| {
            let n: u64 = entity.strip_prefix('r').unwrap().parse().unwrap();
            let known = KnownRecord::of(n);
            assert_eq!(
                sums[0],
                i64::try_from(known.nano_usd).unwrap(),
                "record {n}: {sums:?}"
            );
            n
        })
        .collect()
    }

    /// Everything acknowledged is there, nothing is there twice, and every table says the same, to the
    /// token and the nano-USD.
    pub fn must_hold(&self, acknowledged: &BTreeSet<u64>) {
        let counted = self.counted();
        let lost: Vec<_> = acknowledged.difference(&counted).take(20).collect();
        assert!(lost.is_empty(), "acknowledged, and not counted: {lost:?}");
        self.must_equal(&Self::counting(&counted));
    }
}
