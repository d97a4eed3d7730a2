//! Budgets: what a run and its descendants may use up, and the ledger of what they have used.
//!
//! The ledger is kept by the store in the transaction that writes the event, so it is exact after any
//! crash: what stands as reserved belongs to steps that were begun and have no end.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dimension {
    /// Money, in millionths of a US dollar.
    Money,
    /// Tokens of language models, or whatever else the code counts as such.
    Tokens,
    /// Time in which the run, or a descendant, was being worked on, in milliseconds. Runs that are
    /// worked on at the same time add up.
    Time,
    /// Steps with work of their own.
    Steps,
}

impl Dimension {
    /// All of them, in the order of their numbers in the database.
    pub const ALL: [Dimension; 4] = [
        Dimension::Money,
        Dimension::Tokens,
        Dimension::Time,
        Dimension::Steps,
    ];

    /// The name in addresses, JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Dimension::Money => "money",
            Dimension::Tokens => "tokens",
            Dimension::Time => "time",
            Dimension::Steps => "steps",
        }
    }

    /// What the amounts are counted in.
    pub fn unit(self) -> &'static str {
        match self {
            Dimension::Money => "millionths of a dollar",
            Dimension::Tokens => "tokens",
            Dimension::Time => "ms",
            Dimension::Steps => "steps",
        }
    }
}

impl std::fmt::Display for Dimension {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// The limits of a run and all its descendants together; none where there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// Millionths of a US dollar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money_micros: Option<u64>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Milliseconds of work, see [`Dimension::Time`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// Steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
}

impl Budget {
    /// The limit of one dimension.
    pub fn most(&self, dimension: Dimension) -> Option<u64> {
        match dimension {
            Dimension::Money => self.money_micros,
            Dimension::Tokens => self.tokens,
            Dimension::Time => self.time_ms,
            Dimension::Steps => self.steps,
        }
    }

    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Budget::default()
    }
}

/// What a step costs, or may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// Millionths of a US dollar.
    #[serde(skip_serializing_if = "is_zero")]
    pub money_micros: u64,
    /// Tokens.
    #[serde(skip_serializing_if = "is_zero")]
    pub tokens: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Cost {
    /// Whether it costs nothing.
    pub fn is_zero(&self) -> bool {
        *self == Cost::default()
    }

    /// Both together.
    pub fn plus(self, other: Cost) -> Cost {
        Cost {
            money_micros: self.money_micros.saturating_add(other.money_micros),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }

    pub(crate) fn note(self, field: &str, body: &mut Map<String, Value>) {
        if !self.is_zero() {
            let value = serde_json::to_value(self).unwrap_or_default();
            body.insert(field.to_string(), value);
        }
    }

    pub(crate) fn amounts(self) -> Amounts {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Amounts([whole(self.money_micros), whole(self.tokens), 0, 0])
    }
}

/// How one limit of a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// Which limit.
    pub dimension: Dimension,
    /// The limit, in [`Dimension::unit`].
    pub most: u64,
    /// Used by steps that have ended, of the run and its descendants.
    pub spent: u64,
    /// Set aside for steps that have begun and not ended.
    pub reserved: u64,
}

/// An amount of each dimension, by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts(pub(crate) [i64; 4]);

impl Amounts {
    pub(crate) fn with(mut self, dimension: Dimension, amount: i64) -> Amounts {
        for (known, place) in Dimension::ALL.iter().zip(&mut self.0) {
            if *known == dimension {
                *place = amount;
            }
        }
        self
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().all(|amount| *amount == 0)
    }

    /// Both together.
    pub(crate) fn plus(mut self, other: Amounts) -> Amounts {
        for (amount, more) in self.0.iter_mut().zip(other.0) {
            *amount = amount.saturating_add(more);
        }
        self
    }
}

/// What an event changes in the ledgers of its run and its ancestors.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    /// Set aside. Refused when it does not fit.
    pub(crate) reserve: Amounts,
    /// No more set aside.
    pub(crate) release: Amounts,
    /// Used. Never refused: what has happened has happened.
    pub(crate) spend: Amounts,
    /// Whether the event begins work, which no exhausted limit of time or steps allows.
    pub(crate) begins: bool,
}
