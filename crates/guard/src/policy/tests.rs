//! Policies: what they say, and what is wrong with their files.

use std::collections::BTreeMap;

use journal::Effect;
use serde_json::{Value, json};

use super::{DEFAULT, Policy, Verdict, lint};
use crate::{Call, Label, Labels};

/// A call that says nothing of itself.
struct Wish {
    tool: &'static str,
    arguments: Value,
    effect: Effect,
    sends_out: bool,
    labels: Labels,
}

fn wish(tool: &'static str, effect: Effect) -> Wish {
    Wish {
        tool,
        arguments: json!({}),
        effect,
        sends_out: false,
        labels: Label::User.into(),
    }
}

fn said(policy: &Policy, wish: &Wish) -> String {
    let budget = BTreeMap::from([("tokens".to_owned(), 900)]);
    let Verdict {
        decision,
        rules,
        why,
    } = policy.decide(&Call {
        agent: "support",
        tool: wish.tool,
        arguments: &wish.arguments,
        effect: wish.effect,
        sends_out: wish.sends_out,
        labels: &wish.labels,
        budget: &budget,
    });
    format!("{} by {}; {why}", decision.as_str(), rules.join(", "))
}

#[test]
fn the_default_policy() {
    assert!(lint::read("default.cedar", DEFAULT).is_ok());
    let policy = Policy::default();
    assert_eq!(policy.rules().len(), 5);
    let mut lines = Vec::new();
    for effect in [
        Effect::Pure,
        Effect::Read,
        Effect::Idempotent,
        Effect::Irreversible,
    ] {
        for label in [Label::Document, Label::Web] {
            for sends_out in [false, true] {
                let said = said(
                    &policy,
                    &Wish {
                        sends_out,
                        labels: Labels::from_iter([Label::User, label]),
                        ..wish("a", effect)
                    },
                );
                let said = said.split(';').next().unwrap_or_default().to_owned();
                let out = if sends_out { "out" } else { "in" };
                lines.push(format!(
                    "{} {} {out}: {said}",
                    effect.as_str(),
                    label.as_str()
                ));
            }
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_file_replaces_rules_by_name_and_adds_others() {
    let text = r#"
@id("irreversible")
@ask("it is a lot of money")
permit (principal, action, resource)
when { context.effect == "irreversible" && !(resource == Tool::"orders.refund" && context.arguments.amount < 50) };

@id("small refunds")
permit (principal == Agent::"support", action, resource == Tool::"orders.refund")
when { context.arguments.amount < 50 };

@id("no mail") @reason("this agent writes no mail")
forbid (principal, action, resource in Group::"mail");

@id("poor") @ask("there are few tokens left")
permit (principal, action, resource) when { context.budget has tokens && context.budget.tokens < 1000 };
"#;
    let policy = Policy::read("support.cedar", text).map_err(|error| error.to_string());
    let Ok(policy) = policy else {
        assert_eq!(policy.err(), None);
        return;
    };
    assert!(policy.uses_budget());
    assert!(!Policy::default().uses_budget());
    let names: Vec<String> = policy.rules().into_iter().map(|rule| rule.name).collect();
    assert_eq!(
        names.join(", "),
        "irreversible, no mail, poor, reads, small refunds, untrusted-outgoing, untrusted-write, writes"
    );
    let refund = |amount: Value| Wish {
        arguments: json!({"amount": amount}),
        ..wish("orders.refund", Effect::Irreversible)
    };
    let lines = [
        said(&policy, &refund(json!(20))),
        said(&policy, &refund(json!(49.5))),
        said(&policy, &refund(json!(80))),
        said(&policy, &refund(json!("20"))),
        said(&policy, &refund(json!(null))),
        said(&policy, &wish("mail.send", Effect::Irreversible)),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn arguments_are_data_and_never_what_cedar_reads() {
    let text = r#"forbid (principal, action, resource) when { context.arguments.user == Agent::"support" };"#;
    let Ok(policy) = Policy::read("a.cedar", text) else {
        unreachable!("it is right");
    };
    let arguments = json!({"user": {"__entity": {"type": "Agent", "id": "support"}}, "deep": [[1, null, {"a": 2.5}]]});
    let said = said(
        &policy,
        &Wish {
            arguments,
            ..wish("a", Effect::Read)
        },
    );
    assert_eq!(said, "allow by reads; ");
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let lines: Vec<String> = [
        "permit (principal, action, resource)",
        "permit (principal, action, resource) wen { true };",
        "permit (principal, action, resource)\nwhen { context.efect == \"read\" };",
        "permit (principal, action, resource)\nwhen {\n  context.effect == \"reads\" };",
        "permit (principal, action, resource == Tools::\"a\");",
        "permit (principal, action, resource)\nwhen { context.labels.contains(\"internet\") };",
        "@aks(\"why\")\npermit (principal, action, resource);",
        "@ask(\"why\")\nforbid (principal, action, resource);",
        "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") permit (principal, action, resource);",
        "permit (principal == ?principal, action, resource);",
    ]
    .iter()
    .map(|text| match Policy::read("a.cedar", text) {
        Ok(_) => "nothing".to_owned(),
        Err(error) => error.to_string(),
    })
    .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
