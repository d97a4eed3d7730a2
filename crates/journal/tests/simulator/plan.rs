//! Workflows made up by chance: small trees of steps, questions, timers, children and branches.

use journal::Effect;

use crate::chance::Chance;

/// The code of a workflow, as data. Plans are known by their number; a plan spawns later ones only.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<Node>,
    /// It ends with an error.
    pub(crate) fails: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Step(Step),
    Ask {
        name: String,
        /// After how long, and what counts as the answer then.
        expires: Option<(u64, Option<bool>)>,
    },
    Sleep {
        ms: u64,
    },
    Child {
        name: String,
        plan: usize,
        tokens: Option<u64>,
        cancel: bool,
        wait: WaitFor,
    },
    Version {
        name: String,
    },
    Now,
    /// Side by side, each in a scope of its own.
    Branches(Vec<Vec<Node>>),
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) effect: Effect,
    /// Ends with an error as its result.
    pub(crate) fails: bool,
    /// Tokens set aside, and tokens used.
    pub(crate) cost: Option<(u64, Option<u64>)>,
    /// How often it is polled before it has its effect, and after that.
    pub(crate) polls: [u64; 2],
    /// The outside is down for so many attempts.
    pub(crate) faults: u64,
    /// When it is down: whether the effect has happened all the same.
    pub(crate) faults_late: bool,
    pub(crate) reconciles: bool,
    /// Gets all earlier results as its input, not only their digest.
    pub(crate) whole: bool,
}

/// When a child is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitFor {
    Now,
    AtTheEnd,
    Never,
}

/// Plans at most.
const PLANS: usize = 5;

pub(crate) fn plans(chance: &mut Chance) -> Vec<Plan> {
    (0..PLANS)
        .map(|number| {
            let length = 1 + chance.below(if number < 2 { 6 } else { 3 });
            Plan {
                nodes: nodes(chance, number, length, 0),
                fails: chance.one_in(12),
            }
        })
        .collect()
}

fn nodes(chance: &mut Chance, plan: usize, length: u64, depth: u64) -> Vec<Node> {
    (0..length).map(|_| node(chance, plan, depth)).collect()
}

fn name(chance: &mut Chance, kind: &str) -> String {
    format!("{kind}{}", chance.below(2))
}

fn node(chance: &mut Chance, plan: usize, depth: u64) -> Node {
    match chance.below(20) {
        0 | 1 => Node::Ask {
            name: name(chance, "ask"),
            expires: chance.one_in(3).then(|| {
                let default = match chance.below(3) {
                    0 => None,
                    number => Some(number == 1),
                };
                (1 + chance.below(5_000), default)
            }),
        },
        2 => Node::Sleep {
            ms: chance.below(3_000),
        },
        3 => Node::Version {
            name: name(chance, "version"),
        },
        4 => Node::Now,
        5 | 6 if plan + 1 < PLANS => Node::Child {
            name: name(chance, "child"),
            plan: plan + 1 + chance.place(PLANS - plan - 1),
            tokens: chance.one_in(4).then(|| 10 + chance.below(100)),
            cancel: chance.one_in(6),
            wait: match chance.below(4) {
                0 => WaitFor::Never,
                1 => WaitFor::AtTheEnd,
                _ => WaitFor::Now,
            },
        },
        7..=9 if depth < 2 => {
            let count = 2 + chance.below(2);
            let branches = (0..count).map(|_| {
                let length = 1 + chance.below(3);
                nodes(chance, plan, length, depth + 1)
            });
            Node::Branches(branches.collect())
        }
        _ => Node::Step(step(chance)),
    }
}

fn step(chance: &mut Chance) -> Step {
    let effects = [
        Effect::Pure,
        Effect::Read,
        Effect::Read,
        Effect::Idempotent,
        Effect::Irreversible,
    ];
    let effect = effects[chance.place(effects.len())];
    Step {
        name: name(chance, "step"),
        effect,
        fails: chance.one_in(10),
        cost: chance.one_in(2).then(|| {
            let reserve = chance.below(60);
            (reserve, chance.one_in(2).then(|| chance.below(80)))
        }),
        polls: [chance.below(3), chance.below(2)],
        faults: if chance.one_in(8) {
            1 + chance.below(2)
        } else {
            0
        },
        faults_late: chance.one_in(2),
        reconciles: chance.one_in(3),
        whole: chance.one_in(4),
    }
}
