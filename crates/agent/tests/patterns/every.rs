//! An agent of each pattern, with one model for all that it needs one for.

use std::sync::Arc;

use model::Model;
use plumb_agent::act::{Acting, Guarding};
use plumb_agent::code::{Interpreter, Limits};
use plumb_agent::plan::Plans;
use plumb_agent::reflect::{ModelCritic, Person};
use plumb_agent::team::{Member, Way as TeamWay};
use plumb_agent::{Agent, Way};
use tool::Tool;

/// The patterns, by name.
pub(crate) const PATTERNS: &[&str] = &[
    "act",
    "reflect",
    "person",
    "plan",
    "code",
    "members",
    "supervisor",
    "sequence",
    "hand_off",
    "mixture",
    "best_of",
    "workflow",
    "watcher",
];

/// An agent of a pattern, where the pattern is one of agents. Who has members has the tools by them.
pub(crate) fn agent(
    pattern: &str,
    model: &dyn Fn() -> Arc<dyn Model>,
    tools: &[Arc<dyn Tool>],
) -> Agent {
    let plain = || {
        let mut agent = Agent::new(model());
        agent.acting.guard = Guarding::open();
        agent
    };
    let with_tools = || {
        let tools = tools.iter().cloned();
        tools.fold(plain(), |agent, tool| agent.tool(tool).unwrap())
    };
    let critic = || {
        Arc::new(ModelCritic {
            acting: Acting::new(model()),
            criteria: "short".to_owned(),
        })
    };
    let of = |way: Way, mut agent: Agent| {
        agent.way = way;
        agent
    };
    let member = |name: &str, agent: Agent| {
        let mut agent = agent;
        agent.instructions = format!("You are {name}.");
        Member::new(name, "Does things.", agent)
    };
    let team = |way: TeamWay, agent: Agent| {
        let agent = agent.member(member("helper", with_tools())).unwrap();
        of(
            Way::Team(way),
            agent.member(member("second", with_tools())).unwrap(),
        )
    };
    match pattern {
        "act" => with_tools(),
        "reflect" => of(Way::Reflect(critic(), 2), with_tools()),
        "person" => of(Way::Reflect(Arc::new(Person), 2), with_tools()),
        "plan" => of(Way::Plan(Plans::default()), with_tools()),
        "code" => of(
            Way::Code(Interpreter::Here, Limits::default()),
            with_tools(),
        ),
        "members" => plain().member(member("helper", with_tools())).unwrap(),
        "supervisor" => team(TeamWay::Supervisor(4), plain()),
        "sequence" => team(TeamWay::Sequence, plain()),
        "hand_off" => team(TeamWay::HandOff(2), plain()),
        "mixture" => team(TeamWay::Mixture, plain()),
        "best_of" => of(Way::Team(TeamWay::BestOf(3, critic())), with_tools()),
        other => panic!("{other}"),
    }
}
