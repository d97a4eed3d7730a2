//! The pattern `plan`: a plan as data, its independent steps in parallel, a new plan where one fails.
//!
//! ```text
//! task ─► plan ─► (a person changes it) ─► steps, in parallel where they may ─► answer
//!           ▲                                   │
//!           └── what failed; what is done stays ┘
//! ```
//! A plan is checked before anything is done: names, what comes after what, no circles. The n-th plan and its
//! steps are in the scope `plan[n]`, its k-th step in `plan[n]/step[k]`.

use std::collections::BTreeSet;

use futures::future::join_all;
use guard::{Heard, Label};
use journal::{Question, Run};
use model::{Message, Output, ToolChoice};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tool::Toolbox;

use crate::Result;
use crate::act::{Acted, Acting, Conversation, act, think};

/// How often a person is asked again about a plan that cannot be carried out.
const MOST_REVIEWS: u32 = 5;

/// A plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What is to be done.
    pub steps: Vec<Step>,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// A short name of its own.
    pub name: String,
    /// What is to be done, so that somebody who knows nothing else can do it.
    pub task: String,
    /// Names of the steps whose results it needs; steps that need none of each other are done at once.
    pub after: Vec<String>,
    /// What its result must have, so that it counts as done; may be empty.
    #[serde(default)]
    pub expect: String,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The step's name.
    pub name: String,
    /// Its result.
    pub result: String,
}

/// What whoever did a step says of it afterwards. What they said before is its result.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Verdict {
    /// Whether it could be done.
    done: bool,
}

/// The most tokens of a verdict.
const VERDICT_TOKENS: u32 = 30;

/// What the pattern works with.
#[derive(Clone)]
pub struct Planning {
    /// What all of them are told first; may be empty.
    pub instructions: String,
    /// Who makes plans.
    pub planner: Acting,
    /// Who does a step, with its tools.
    pub worker: Acting,
    /// Who answers from the results.
    pub writer: Acting,
    /// Plans at most.
    pub plans: usize,
    /// Steps of a plan at most.
    pub steps: usize,
    /// Whether a person sees each plan before it is carried out, and may change it.
    pub asks: bool,
}

/// How an agent plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plans {
    /// Plans at most. 3.
    pub most: usize,
    /// Steps of a plan at most. 8.
    pub steps: usize,
    /// Whether a person sees each plan before it is carried out, and may change it.
    pub asks: bool,
}

impl Default for Plans {
    fn default() -> Plans {
        Plans {
            most: 3,
            steps: 8,
            asks: false,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// The answer.
    pub text: String,
    /// The steps that were done, in the order in which they were.
    pub done: Vec<Done>,
    /// Plans that were made.
    pub plans: usize,
    /// Why the last plan could not be carried out; none: all of it was.
    pub trouble: Option<String>,
    /// Sentences of the answer that say something was done which no call did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unkept: Vec<String>,
}

impl Planning {
    /// One for all: plans, works with its tools, and writes. Three plans of eight steps, without asking a
    /// person.
    pub fn new(acting: Acting) -> Planning {
        let without_tools = Acting {
            tools: Toolbox::new(),
            team: Vec::new(),
            ..acting.clone()
        };
        let plans = Plans::default();
        Planning {
            instructions: String::new(),
            planner: without_tools.clone(),
            writer: without_tools,
            worker: acting,
            plans: plans.most,
            steps: plans.steps,
            asks: plans.asks,
        }
    }

    fn told_first(&self, role: &str) -> String {
        format!("{}\n\n{role}", self.instructions).trim().to_owned()
    }
}

/// Makes a plan for `task`, carries it out, and answers. Where plans fail to the last, it answers from what is
/// done.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # let journal = journal::Journal::in_memory()?;
/// # let run = journal.start(journal::NewRun::new("example", ().into())).await?;
/// # let model = Arc::new(model::Scripted::new("scripted:doc", |request| Ok(match &request.output {
/// #     model::Output::Text => "A bridge.".to_owned(),
/// #     model::Output::Json(schema) if schema["properties"]["steps"].is_null() => r#"{"done": true}"#.to_owned(),
/// #     _ => r#"{"steps": [{"name": "look", "task": "Look at the river.", "after": [], "expect": ""}]}"#.to_owned(),
/// # })));
/// use plumb_agent::act::Acting;
/// use plumb_agent::plan::{Planning, plan};
///
/// let planned = plan(&run, &Planning::new(Acting::new(model)), "How do we cross the river?").await?;
/// assert_eq!((planned.text.as_str(), planned.done.len()), ("A bridge.", 1));
/// assert_eq!(journal.steps(run.id()).await?[1].path, "plan[0]/step[0]/model[0]");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`act`], for who plans, works and writes.
pub async fn plan(run: &Run, with: &Planning, task: &str) -> Result<Planned> {
    let mut heard = Heard::default();
    heard.text(task, &Label::User.into());
    plan_knowing(run, with, task, &mut heard).await
}

/// The same where the task is known to be heard. Whoever works on a part has heard it, and what came of the parts
/// before; what they hear is added.
pub(crate) async fn plan_knowing(
    run: &Run,
    with: &Planning,
    task: &str,
    heard: &mut Heard,
) -> Result<Planned> {
    let mut done = Vec::new();
    let mut trouble = None;
    let mut plans = 0;
    while plans < with.plans {
        let scope = run.scope("plan", plans);
        plans += 1;
        let made = make(&scope, with, task, &done, trouble.as_deref(), heard).await?;
        let made = match with.asks {
            true => reviewed(&scope, with, made, &done).await?,
            false => made,
        };
        if with.asks {
            // A person has read it, and said what it says.
            heard.text(&serde_json::json!(made).to_string(), &Label::User.into());
        }
        trouble = match check(&made, with.steps, &done) {
            Ok(()) => carry_out(&scope, with, &made, &mut done, heard).await?,
            Err(wrong) => Some(format!("The plan was wrong: {wrong}.")),
        };
        if trouble.is_none() {
            break;
        }
    }
    let written = write(run, with, task, &done, trouble.as_deref(), heard).await?;
    let guard = &with.worker.guard;
    Ok(Planned {
        unkept: guard.unkept(&written.text, heard, &with.worker.tools),
        text: written.text,
        done,
        plans,
        trouble,
    })
}

/// Asks for a plan.
async fn make(
    run: &Run,
    with: &Planning,
    task: &str,
    done: &[Done],
    trouble: Option<&str>,
    heard: &Heard,
) -> Result<Plan> {
    let instructions = with.told_first(&format!(
        "You make plans: at most {} steps, each of which can be done by itself. Do not plan what is done already.",
        with.steps
    ));
    let mut said = format!("The task:\n{task}\n{}", told(done));
    if let Some(trouble) = trouble {
        said.push_str(&format!(
            "\nThe last plan failed. {trouble}\nMake another plan for the rest."
        ));
    }
    let planner = Acting {
        output: Output::Json(form(with.steps)),
        ..with.planner.clone()
    };
    let mut conversation = begun(run, &instructions, said, heard)?;
    act(run, &planner, &mut conversation).await?.json()
}

/// The form of a plan. Small models plan nothing, or far too much, where that is let through.
fn form(most: usize) -> Value {
    let Output::Json(mut schema) = Output::of::<Plan>() else {
        return Value::Null;
    };
    if let Some(steps) = schema.pointer_mut("/properties/steps") {
        steps["minItems"] = 1.into();
        steps["maxItems"] = most.into();
    }
    schema
}

/// A plan as a person wants it. One that cannot be carried out comes back to them with what is wrong.
async fn reviewed(run: &Run, with: &Planning, mut plan: Plan, done: &[Done]) -> Result<Plan> {
    let schema = form(with.steps);
    for _ in 0..MOST_REVIEWS {
        let wrong = match check(&plan, with.steps, done) {
            Ok(()) => String::new(),
            Err(wrong) => format!(" As it is, it cannot: {wrong}."),
        };
        let shown = serde_json::json!(plan);
        let text = format!(
            "May this be done?{wrong} Answer with the plan, changed where it should be.\n{shown:#}"
        );
        plan = run
            .ask("person", &Question::new(&text, schema.clone()))
            .await?;
        if check(&plan, with.steps, done).is_ok() {
            break;
        }
    }
    Ok(plan)
}

/// Whether a plan can be carried out, given what is done.
fn check(plan: &Plan, most: usize, done: &[Done]) -> std::result::Result<(), String> {
    if plan.steps.is_empty() || plan.steps.len() > most {
        return Err(format!(
            "it has {} steps; 1 to {most} are right",
            plan.steps.len()
        ));
    }
    let mut known: BTreeSet<&str> = done.iter().map(|done| done.name.as_str()).collect();
    let mut open: Vec<&Step> = plan.steps.iter().collect();
    for step in &open {
        let namesakes = plan.steps.iter().filter(|other| other.name == step.name);
        if namesakes.count() > 1 || known.contains(step.name.as_str()) {
            return Err(format!("there are two steps `{}`", step.name));
        }
    }
    while !open.is_empty() {
        let ready = |step: &&Step| step.after.iter().all(|name| known.contains(name.as_str()));
        let (now, later): (Vec<&Step>, Vec<&Step>) = open.into_iter().partition(ready);
        let Some(first) = now.first().or(later.first()) else {
            return Ok(());
        };
        if now.is_empty() {
            return Err(format!(
                "`{}` comes after a step that is not there, or after itself",
                first.name
            ));
        }
        known.extend(now.iter().map(|step| step.name.as_str()));
        open = later;
    }
    Ok(())
}

/// Does the steps of a plan, those at once that need nothing of each other. Gives what went wrong.
async fn carry_out(
    run: &Run,
    with: &Planning,
    plan: &Plan,
    done: &mut Vec<Done>,
    heard: &mut Heard,
) -> Result<Option<String>> {
    let mut open: Vec<(usize, &Step)> = plan.steps.iter().enumerate().collect();
    while !open.is_empty() {
        let is_done = |name: &String| done.iter().any(|done| done.name == *name);
        let (now, later): (Vec<_>, Vec<_>) = open
            .into_iter()
            .partition(|(_, step)| step.after.iter().all(is_done));
        let (known, before) = (&*done, &*heard);
        let working = now.iter().map(|(place, step)| {
            let run = run.scope("step", *place);
            async move { work(&run, with, step, known, before).await }
        });
        // None is dropped because another one failed: what it writes would be in doubt then.
        let worked: Vec<Worked> = join_all(working).await.into_iter().collect::<Result<_>>()?;
        let mut failed = Vec::new();
        for ((_, step), worked) in now.iter().zip(worked) {
            heard.join(&worked.heard);
            let (name, result) = (step.name.clone(), worked.result);
            match worked.is_done {
                true => done.push(Done { name, result }),
                false => failed.push(format!("The step {name} could not be done: {result}")),
            }
        }
        if !failed.is_empty() {
            return Ok(Some(failed.join(" ")));
        }
        open = later;
    }
    Ok(None)
}

/// What came of the work on a step.
struct Worked {
    result: String,
    is_done: bool,
    heard: Heard,
}

/// Does one step, with the results that it needs. The result is in the worker's own words: to give them again in a
/// form is where small models lose them.
async fn work(
    run: &Run,
    with: &Planning,
    step: &Step,
    done: &[Done],
    heard: &Heard,
) -> Result<Worked> {
    let needed = done.iter().filter(|done| step.after.contains(&done.name));
    let expected = match step.expect.trim() {
        "" => String::new(),
        expected => format!("\nIt is done when its result has this: {expected}"),
    };
    let said = format!("{}{expected}\n{}", step.task, told(needed));
    let instructions = with.told_first("You do one step of a plan, and say what came of it.");
    let worker = Acting {
        output: Output::Text,
        ..with.worker.clone()
    };
    let mut conversation = begun(run, &instructions, said, heard)?;
    let acted = act(run, &worker, &mut conversation).await?;
    let is_done = verdict(run, &worker, &expected, &mut conversation).await?;
    Ok(Worked {
        result: acted.text,
        is_done,
        heard: conversation.heard().clone(),
    })
}

/// Whether whoever did a step says that it is done.
async fn verdict(
    run: &Run,
    worker: &Acting,
    expected: &str,
    conversation: &mut Conversation,
) -> Result<bool> {
    let wish = format!("Is this step done?{expected}\nSay false where it could not be done.");
    conversation.made(Message::user(wish))?;
    let judge = Acting {
        tools: Toolbox::new(),
        team: Vec::new(),
        max_tokens: VERDICT_TOKENS,
        ..worker.clone()
    };
    let form = Output::of::<Verdict>();
    let said = think(run, &judge, conversation, ToolChoice::None, form).await?;
    let verdict = serde_json::from_str::<Verdict>(&said.response.text);
    Ok(verdict.is_ok_and(|verdict| verdict.done))
}

async fn write(
    run: &Run,
    with: &Planning,
    task: &str,
    done: &[Done],
    trouble: Option<&str>,
    heard: &Heard,
) -> Result<Acted> {
    let instructions = "You answer from the results of the steps, and say what is missing.";
    let mut said = format!("The task:\n{task}\n{}", told(done));
    if let Some(trouble) = trouble {
        said.push_str(&format!("\nNot everything could be done. {trouble}"));
    }
    if done.is_empty() {
        said.push_str("\nNothing is known. Say so, and do not answer from memory.");
    }
    let mut conversation = begun(run, &with.told_first(instructions), said, heard)?;
    act(run, &with.writer, &mut conversation).await
}

/// A conversation of its own about a part of the task.
fn begun(run: &Run, instructions: &str, said: String, heard: &Heard) -> Result<Conversation> {
    let mut conversation = Conversation::knowing(run, heard.clone());
    conversation.push(Message::system(instructions))?;
    // The task has been heard; the rest of it is what models made.
    conversation.made(Message::user(said))?;
    Ok(conversation)
}

/// What is done, for a model.
fn told<'a>(done: impl IntoIterator<Item = &'a Done>) -> String {
    let lines = done
        .into_iter()
        .map(|done| format!("\nDone, {}: {}", done.name, done.result));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_checked_before_anything_is_done() {
        let plan = |steps: &[(&str, &[&str])]| Plan {
            steps: steps
                .iter()
                .map(|(name, after)| Step {
                    name: (*name).to_owned(),
                    task: String::new(),
                    after: after.iter().map(|name| (*name).to_owned()).collect(),
                    expect: String::new(),
                })
                .collect(),
        };
        let done = [Done {
            name: "z".to_owned(),
            result: String::new(),
        }];
        for (steps, wrong) in [
            (&[("a", &["z"][..]), ("b", &["a"])][..], None),
            (&[], Some("it has 0 steps; 1 to 3 are right")),
            (&[("a", &[]), ("a", &[])], Some("there are two steps `a`")),
            (&[("z", &[])], Some("there are two steps `z`")),
            (
                &[("a", &["b"]), ("b", &["a"])],
                Some("`a` comes after a step that is not there, or after itself"),
            ),
            (
                &[("a", &["q"])],
                Some("`a` comes after a step that is not there, or after itself"),
            ),
        ] {
            let checked = check(&plan(steps), 3, &done);
            assert_eq!(checked.err().as_deref(), wrong, "{steps:?}");
        }
    }
}
