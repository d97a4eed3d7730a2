//! The settings of the patterns, as they are written in an agent's file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::front_matter::{FrontMatter, Pattern, Time};
use crate::code;
use crate::plan::Plans;

/// How an agent that reflects does it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reflection {
    /// Who judges: the file of an agent, relative to this one, whose instructions say what a good draft is like; or
    /// `person`, who is asked; or `schema`: the draft has to be JSON that fits the file of `output`.
    pub critic: String,
    /// Drafts at most.
    #[serde(default = "three")]
    pub drafts: u32,
}

/// How an agent that plans does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlanSettings {
    /// Whether a person sees each plan before it is carried out, and may change it.
    pub review: bool,
    /// Plans at most.
    pub plans: usize,
    /// Steps of a plan at most.
    pub steps: usize,
}

impl Default for PlanSettings {
    fn default() -> PlanSettings {
        let usual = Plans::default();
        PlanSettings {
            review: usual.asks,
            plans: usual.most,
            steps: usual.steps,
        }
    }
}

/// How an agent that writes programs does it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CodeSettings {
    /// What runs the programs: `monty`, or `cpython` in a sandbox by bwrap.
    pub python: Python,
    /// Programs at most.
    pub programs: u32,
    /// Programs one after the other that may fail.
    pub failures: u32,
    /// Calls in one program.
    pub calls: u32,
    /// How long a program may work, such as 10s.
    time: Time,
    /// How much memory it may take.
    pub memory_mb: u64,
}

/// What runs programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Python {
    /// An interpreter that can reach nothing but its functions.
    #[default]
    Monty,
    /// The whole of CPython in a sandbox.
    CPython,
}

impl Default for CodeSettings {
    fn default() -> CodeSettings {
        let usual = code::Limits::default();
        CodeSettings {
            python: Python::default(),
            programs: usual.programs,
            failures: usual.failures,
            calls: usual.calls,
            time: Time(u64::try_from(usual.time.as_millis()).unwrap_or(u64::MAX)),
            memory_mb: usual.memory_bytes / MEGABYTE,
        }
    }
}

const MEGABYTE: u64 = 1024 * 1024;

impl CodeSettings {
    /// As the pattern takes them.
    pub fn limits(&self) -> code::Limits {
        code::Limits {
            programs: self.programs,
            failures: self.failures,
            calls: self.calls,
            time: Duration::from_millis(self.time.0),
            memory_bytes: self.memory_mb.saturating_mul(MEGABYTE),
            ..code::Limits::default()
        }
    }
}

/// How an agent works with others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamSettings {
    /// How they work together.
    pub way: TeamWay,
    /// The files of the others, relative to this one. Each has a name, and a description for the one who calls it.
    #[serde(default)]
    pub members: Vec<String>,
    /// With supervisor: turns of members at most. With hand_off: how often the conversation may be handed over.
    #[serde(default = "eight")]
    pub turns: u32,
    /// With best_of: how many drafts.
    #[serde(default = "three")]
    pub drafts: u32,
    /// With best_of: who scores them, as with the pattern reflect.
    #[serde(default)]
    pub critic: Option<String>,
}

/// How agents work together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TeamWay {
    /// It calls the others as it calls its tools.
    Tools,
    /// It decides, one after the other, who works on what, and answers.
    Supervisor,
    /// They work one after the other, each on what the one before has made; it is not one of them.
    Sequence,
    /// The conversation goes from one to another, the first of them begins; it is not one of them.
    HandOff,
    /// Each of them proposes an answer, and it makes the best of them.
    Mixture,
    /// It writes several drafts, and the critic's best is taken.
    BestOf,
}

fn three() -> u32 {
    3
}

fn eight() -> u32 {
    8
}

/// What is wrong with a pattern and its settings: the key, what, and what to do.
pub(super) fn problem(settings: &FrontMatter) -> Option<(&'static str, String, &'static str)> {
    let wrong = |key, message: &str, hint| Some((key, message.to_owned(), hint));
    let own = [
        ("reflect:", Pattern::Reflect, settings.reflect.is_some()),
        ("plan:", Pattern::Plan, settings.plan.is_some()),
        ("code:", Pattern::Code, settings.code.is_some()),
        ("team:", Pattern::Team, settings.team.is_some()),
    ];
    for (key, pattern, is_there) in own {
        if is_there && pattern != settings.pattern {
            let name = key.trim_end_matches(':');
            let message = match pattern {
                Pattern::Reflect => "there is a critic, and the pattern is not reflect".to_owned(),
                _ => format!("there is `{name}`, and the pattern is not {name}"),
            };
            return Some((
                key,
                message,
                "write `pattern: ...` as these settings are for",
            ));
        }
    }
    match (settings.pattern, &settings.reflect, &settings.team) {
        (Pattern::Reflect, None, _) => wrong(
            "pattern:",
            "the pattern reflect wants a critic",
            "write `pattern: reflect` and `reflect: {critic: critic.md}`",
        ),
        (Pattern::Reflect, Some(reflect), _)
            if reflect.critic == "schema" && settings.output.is_none() =>
        {
            wrong(
                "reflect:",
                "the critic is a schema, and there is none",
                "write `output: FILE.json`",
            )
        }
        (Pattern::Team, _, None) => wrong(
            "pattern:",
            "the pattern team wants to know how they work",
            "write `team: {way: supervisor, members: [a.md, b.md]}`",
        ),
        (Pattern::Team, _, Some(team)) => match (team.way, &team.critic) {
            (TeamWay::BestOf, None) => wrong(
                "team:",
                "best_of wants a critic",
                "write `critic: critic.md`, or `critic: person`",
            ),
            (TeamWay::BestOf, Some(_)) if !team.members.is_empty() => wrong(
                "team:",
                "best_of has no members: the drafts are its own",
                "leave `members` out",
            ),
            (TeamWay::BestOf, Some(_)) => None,
            (_, Some(_)) => wrong(
                "team:",
                "there is a critic, and the way is not best_of",
                "leave `critic` out",
            ),
            (_, None) if team.members.is_empty() => wrong(
                "team:",
                "a team without members",
                "write `members: [a.md, b.md]`",
            ),
            (_, None) => None,
        },
        _ => None,
    }
}

/// The file of a critic that is an agent.
pub(super) fn critic_file(agent: &Path, critic: &str) -> Option<PathBuf> {
    let is_agent = critic != "person" && critic != "schema";
    is_agent.then(|| agent.parent().unwrap_or(Path::new("")).join(critic))
}
