//! A call as Cedar reads it.

use std::collections::{BTreeMap, HashMap, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};
use journal::Effect;
use serde_json::Value;

use crate::Labels;

/// A call of a tool that wants to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The agent's name.
    pub agent: &'a str,
    /// The tool's name.
    pub tool: &'a str,
    /// What it is called with.
    pub arguments: &'a Value,
    /// What it does to the world.
    pub effect: Effect,
    /// Whether it sends data out of this machine.
    pub sends_out: bool,
    /// From whom the texts come that the agent has read.
    pub labels: &'a Labels,
    /// What is left of the run's budget, where it has one: `steps`, `tokens`, `money_micros`, `time_ms`.
    pub budget: &'a BTreeMap<String, u64>,
}

type Made<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The request, and what there is to know of the agent and the tool.
pub(super) fn of(call: &Call<'_>) -> Made<(Request, Entities)> {
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let labels = call.labels.iter().map(|label| text(label.as_str()));
    let budget = call.budget.iter().map(|(name, left)| {
        let left = i64::try_from(*left).unwrap_or(i64::MAX);
        (name.clone(), RestrictedExpression::new_long(left))
    });
    let context = Context::from_pairs([
        ("arguments".to_owned(), record(call.arguments)?),
        ("effect".to_owned(), text(call.effect.as_str())),
        ("labels".to_owned(), RestrictedExpression::new_set(labels)),
        (
            "untrusted".to_owned(),
            RestrictedExpression::new_bool(call.labels.is_untrusted()),
        ),
        (
            "sends_out".to_owned(),
            RestrictedExpression::new_bool(call.sends_out),
        ),
        (
            "budget".to_owned(),
            RestrictedExpression::new_record(budget)?,
        ),
    ])?;
    let named = |of: &str, name: &str| Made::Ok((uid(of, name)?, named(name)));
    let (principal, about_agent) = named("Agent", call.agent)?;
    let (resource, about_tool) = named("Tool", call.tool)?;
    let groups = groups(call.tool)?;
    let mut entities = vec![
        Entity::new(principal.clone(), about_agent, HashSet::new())?,
        Entity::new(
            resource.clone(),
            about_tool,
            groups.iter().cloned().collect(),
        )?,
    ];
    let lone = groups.into_iter();
    entities.extend(lone.map(|group| Entity::new_no_attrs(group, HashSet::new())));
    let request = Request::new(principal, uid("Action", "call")?, resource, context, None)?;
    Ok((request, Entities::from_entities(entities, None)?))
}

fn named(name: &str) -> HashMap<String, RestrictedExpression> {
    let name = RestrictedExpression::new_string(name.to_owned());
    HashMap::from([("name".to_owned(), name)])
}

fn uid(of: &str, name: &str) -> Made<EntityUid> {
    let of: EntityTypeName = of.parse()?;
    Ok(EntityUid::from_type_name_and_id(of, EntityId::new(name)))
}

/// The groups that a tool is in by its name: `mail.drafts.send` is in `mail` and in `mail.drafts`.
fn groups(tool: &str) -> Made<Vec<EntityUid>> {
    let ends = tool.match_indices('.').map(|(end, _)| &tool[..end]);
    ends.map(|group| uid("Group", group)).collect()
}

/// JSON as Cedar has it. It has neither null nor fractions: what is null is left out, and a fraction is
/// rounded away from zero, so that no amount passes as a smaller one.
fn record(value: &Value) -> Made<RestrictedExpression> {
    let Value::Object(fields) = value else {
        return Ok(RestrictedExpression::new_record([])?);
    };
    let mut pairs = Vec::new();
    for (name, value) in fields {
        if let Some(value) = expression(value)? {
            pairs.push((name.clone(), value));
        }
    }
    Ok(RestrictedExpression::new_record(pairs)?)
}

fn expression(value: &Value) -> Made<Option<RestrictedExpression>> {
    Ok(match value {
        Value::Null => None,
        Value::Bool(truth) => Some(RestrictedExpression::new_bool(*truth)),
        Value::Number(number) => Some(RestrictedExpression::new_long(whole(number))),
        Value::String(text) => Some(RestrictedExpression::new_string(text.clone())),
        Value::Array(items) => {
            let mut members = Vec::new();
            for item in items {
                members.extend(expression(item)?);
            }
            Some(RestrictedExpression::new_set(members))
        }
        Value::Object(_) => Some(record(value)?),
    })
}

fn whole(number: &serde_json::Number) -> i64 {
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => whole,
        (None, Some(fraction)) => {
            let rounded = fraction.abs().ceil() * fraction.signum();
            // Saturates where it is too large for Cedar, which is not smaller than any limit.
            rounded as i64
        }
        (None, None) => i64::MAX,
    }
}
