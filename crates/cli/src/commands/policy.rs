//! `plumb policy`: what a policy says, whether it is right, and whether it decides as it should.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use guard::cases::{self, Finding};
use guard::{Policy, Rule};
use serde_json::json;

use crate::arguments::{self, PolicyCommand};
use crate::view;

/// Carries out the command.
pub fn run(arguments: arguments::Policy) -> Result<ExitCode> {
    match arguments.command {
        PolicyCommand::Show { policy, json } => show(policy.as_deref(), json),
        PolicyCommand::Check { policies, json } => {
            let mut wrong = false;
            let mut findings = Vec::new();
            for file in &policies {
                match read(file) {
                    Ok(policy) if json => {
                        findings.push(json!({"file": file, "rules": policy.rules().len()}));
                    }
                    Ok(policy) => {
                        let (name, rules) = (file.display(), policy.rules().len());
                        view::print(&format!(
                            "{name}: {rules} rules with the default policy's\n"
                        ))?;
                    }
                    Err(error) => {
                        wrong = true;
                        match json {
                            true => {
                                findings.push(json!({"file": file, "error": format!("{error:#}")}))
                            }
                            false => drop(view::failed(&error)),
                        }
                    }
                }
            }
            if json {
                view::print_json(&findings)?;
            }
            Ok(ExitCode::from(u8::from(wrong)))
        }
        PolicyCommand::Test {
            policy,
            cases,
            json,
        } => test(&policy, &cases, json),
    }
}

fn read(file: &Path) -> Result<Policy> {
    let name = file.display().to_string();
    Ok(Policy::read(&name, &text_of(file)?)?)
}

/// The text of a file; where it is not there, the one that may be meant.
fn text_of(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|error| {
        let name = file.display();
        let hint = match agent::directory::nearest(file) {
            Some(near) => format!("did you mean {}?", near.display()),
            None => "plumb policy show prints the default policy, to begin one from".to_owned(),
        };
        anyhow::anyhow!("cannot read {name}: {error}\nhint: {hint}")
    })
}

fn show(file: Option<&Path>, json: bool) -> Result<ExitCode> {
    let rules = file.map_or_else(|| Ok(Policy::default()), read)?.rules();
    if json {
        view::print_json(&rules)?;
        return Ok(ExitCode::SUCCESS);
    }
    let texts = rules
        .iter()
        .map(|Rule { text, .. }| format!("{}\n", text.trim()));
    view::print(&texts.collect::<Vec<_>>().join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn test(policy: &Path, file: &Path, json: bool) -> Result<ExitCode> {
    let policy = match policy == Path::new("default") {
        true => Policy::default(),
        false => read(policy)?,
    };
    let name = file.display().to_string();
    let findings = cases::run(&policy, &cases::read(&name, &text_of(file)?)?);
    let wrong = findings.iter().filter(|finding| !finding.passed).count();
    if json {
        view::print_json(&findings)?;
    } else {
        let lines: String = findings
            .iter()
            .map(|finding| line(&name, finding))
            .collect();
        view::print(&lines)?;
        view::say(&format!(
            "{} of {} cases as expected",
            findings.len() - wrong,
            findings.len()
        ));
    }
    Ok(ExitCode::from(u8::from(wrong > 0)))
}

/// `ok` or what is not so, for a case.
fn line(file: &str, finding: &Finding) -> String {
    let said = finding.verdict.decision.as_str();
    let rules = match finding.verdict.rules.as_slice() {
        [] => "no rule allows it".to_owned(),
        rules => rules.join(", "),
    };
    let (name, expected) = (&finding.name, finding.expected.as_str());
    match finding.passed {
        true => format!("ok     {name}: {said} ({rules})\n"),
        false => {
            let line = finding.line;
            format!("WRONG  {name}: {said} ({rules}), expected {expected}; {file}:{line}\n")
        }
    }
}
