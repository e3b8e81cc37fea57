//! How much an account may use.

use std::collections::BTreeMap;

use super::Period;

/// Money for a period.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Budget {
    /// The most, in nano-USD; `None` is without limit.
    pub limit: Option<i64>,
    /// From here on a warning is logged and nothing else happens, in nano-USD.
    pub soft: Option<i64>,
    /// When it begins anew.
    pub period: Period,
}

/// How fast, and how many at once; `None` is without limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// Requests in a minute.
    pub rpm: Option<i64>,
    /// Tokens, read and written, in a minute.
    pub tpm: Option<i64>,
    /// Requests at once.
    pub parallel: Option<i64>,
}

/// Everything one account may use.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Allowance {
    /// Money.
    pub budget: Budget,
    /// Speed, over all models together.
    pub limits: Limits,
    /// Speed with single models, by their canonical names, besides.
    pub by_model: BTreeMap<String, Limits>,
}

impl Limits {
    /// These, and where they say nothing, `plan`'s.
    #[must_use]
    pub fn or(self, plan: Self) -> Self {
        Self {
            rpm: self.rpm.or(plan.rpm),
            tpm: self.tpm.or(plan.tpm),
            parallel: self.parallel.or(plan.parallel),
        }
    }
}

impl Allowance {
    /// What an account says itself, and where it says nothing, what its plan says. A budget is
    /// taken whole, with its period: half of each would be nobody's.
    #[must_use]
    pub fn or(&self, plan: &Self) -> Self {
        let limits = |budget: &Budget| budget.limit.is_some() || budget.soft.is_some();
        // A period without a limit only says how spending is booked.
        let periodic = self.budget.period != Period::Never;
        let own = limits(&self.budget) || (periodic && !limits(&plan.budget));
        let mut by_model = plan.by_model.clone();
        for (model, limits) in &self.by_model {
            let planned = by_model.get(model).copied().unwrap_or_default();
            by_model.insert(model.clone(), limits.or(planned));
        }
        Self {
            budget: if own { self.budget } else { plan.budget },
            limits: self.limits.or(plan.limits),
            by_model,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_fills_in_what_an_account_does_not_say() {
        let plan = Allowance {
            budget: Budget {
                limit: Some(5),
                soft: Some(4),
                period: Period::Month,
            },
            limits: Limits {
                rpm: Some(60),
                tpm: None,
                parallel: Some(2),
            },
            by_model: BTreeMap::from([(
                "a:latest".to_owned(),
                Limits {
                    rpm: Some(1),
                    ..Limits::default()
                },
            )]),
        };
        let own = Allowance {
            budget: Budget {
                limit: Some(9),
                ..Budget::default()
            },
            limits: Limits {
                rpm: Some(10),
                ..Limits::default()
            },
            by_model: BTreeMap::from([(
                "a:latest".to_owned(),
                Limits {
                    parallel: Some(3),
                    ..Limits::default()
                },
            )]),
        };
        let both = own.or(&plan);
        assert_eq!(both.budget, own.budget, "never half a budget");
        assert_eq!(both.limits.rpm, Some(10));
        assert_eq!(both.limits.parallel, Some(2));
        let model = both.by_model["a:latest"];
        assert_eq!((model.rpm, model.parallel), (Some(1), Some(3)));
        assert_eq!(Allowance::default().or(&plan), plan);
        let mut daily = Allowance::default();
        daily.budget.period = Period::Every(86_400);
        assert_eq!(daily.or(&plan), plan, "a period alone lifts no limit");
        assert_eq!(daily.or(&Allowance::default()), daily);
    }
}
