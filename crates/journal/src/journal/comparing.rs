//! What differs between two runs.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use super::Journal;
use crate::Result;
use crate::records::StepRecord;

/// A step in which two runs differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The step's address.
    pub path: String,
    /// What differs: `input`, `output`, `status`, `effect`; nothing when one run lacks the step.
    pub fields: Vec<&'static str>,
    /// The step in the first run.
    pub a: Option<StepRecord>,
    /// The step in the second run.
    pub b: Option<StepRecord>,
}

impl Journal {
    /// The steps in which two runs differ, by address: in the order of the first run, then those that
    /// only the second one has. Times, attempts and attributes do not count.
    pub async fn diff(&self, a: &str, b: &str) -> Result<Vec<Difference>> {
        let a = self.steps(&self.run(a).await?.id).await?;
        let b = self.steps(&self.run(b).await?.id).await?;
        let order: Vec<String> = b.iter().map(|step| step.path.clone()).collect();
        let mut of_b: HashMap<String, StepRecord> = b
            .into_iter()
            .map(|step| (step.path.clone(), step))
            .collect();
        let mut differences = Vec::new();
        for step in a {
            let other = of_b.remove(&step.path);
            let fields = match &other {
                Some(other) => differing(&step, other),
                None => Vec::new(),
            };
            if other.is_none() || !fields.is_empty() {
                differences.push(Difference {
                    path: step.path.clone(),
                    fields,
                    a: Some(step),
                    b: other,
                });
            }
        }
        let only_b = order.into_iter().filter_map(|path| {
            let step = of_b.remove(&path)?;
            Some(Difference {
                path,
                fields: Vec::new(),
                a: None,
                b: Some(step),
            })
        });
        differences.extend(only_b);
        Ok(differences)
    }
}

fn differing(a: &StepRecord, b: &StepRecord) -> Vec<&'static str> {
    let pairs: [(&'static str, [Value; 2]); 4] = [
        ("effect", [a.effect, b.effect].map(|effect| json(&effect))),
        ("status", [a.status, b.status].map(|status| json(&status))),
        ("input", [a.input.clone(), b.input.clone()]),
        (
            "output",
            [json(&(&a.output, &a.error)), json(&(&b.output, &b.error))],
        ),
    ];
    let differ = pairs.into_iter().filter(|(_, [a, b])| a != b);
    differ.map(|(name, _)| name).collect()
}

fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
