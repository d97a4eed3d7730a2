//! Every agent in `examples/` with a real local model, each result checked: `cargo xtask examples`.
//!
//! What is asked and what has to come of it stands in each folder's `checks.json`. One input of each is that of the
//! README; on the others nobody has tuned. Not part of the tests, which have no time for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::workspace;

const HELP: &str = "\
Usage: cargo xtask examples [--binary FILE] [--model NAME] [EXAMPLE...]

Runs the agents in examples/ on the inputs of their checks.json and checks what they answer.

  --binary FILE   the plumb to test [default: the one in the target directory]
  --model NAME    the model that answers [default: the agent's own]
";

/// One input, and what has to come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    name: String,
    /// Whether it is the input of the README; the others are held out.
    #[serde(default)]
    shown: bool,
    /// What the same project's agent is told before, each in a run of its own.
    #[serde(default)]
    before: Vec<String>,
    #[serde(default)]
    input: Option<String>,
    /// A file of the example's folder, in place of the input.
    #[serde(default)]
    file: Option<String>,
    /// What a person answers when the agent asks, in this order.
    #[serde(default)]
    answers: Vec<String>,
    /// What stands where in the answer.
    expect: Map<String, Value>,
}

/// What is tried, and with what.
struct Trial<'a> {
    binary: &'a Path,
    model: Option<&'a str>,
    folder: &'a Path,
    name: &'a str,
}

/// Runs the examples; fails when one of those that are shown in a README does not come out right.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let mut binary = workspace::metadata(root)?
        .target_directory
        .join("debug/plumb");
    let (mut model, mut only) = (None, Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{argument} wants a value"))
        };
        match argument.as_str() {
            "--binary" => binary = PathBuf::from(value()?),
            "--model" => model = Some(value()?.clone()),
            flag if flag.starts_with('-') => {
                print!("{HELP}");
                return Ok(());
            }
            name => only.push(name.to_owned()),
        }
    }
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root.join("examples"))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|folder| folder.join("checks.json").is_file())
        .collect();
    folders.sort();
    let (mut shown, mut held_out) = ((0, 0), (0, 0));
    println!("| example | input | right | seconds |\n|---|---|---|---|");
    for folder in &folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if !only.is_empty() && !only.iter().any(|wanted| *wanted == name) {
            continue;
        }
        let trial = Trial {
            binary: &binary,
            model: model.as_deref(),
            folder,
            name: &name,
        };
        let checks = std::fs::read_to_string(folder.join("checks.json"))?;
        let checks: Vec<Check> =
            serde_json::from_str(&checks).with_context(|| format!("{name}/checks.json"))?;
        for check in &checks {
            let right = trial.right(check)?;
            let (all, good) = if check.shown {
                &mut shown
            } else {
                &mut held_out
            };
            *all += 1;
            *good += u32::from(right);
        }
    }
    println!(
        "\n{} of {} inputs of the READMEs right, {} of {} held out",
        shown.1, shown.0, held_out.1, held_out.0
    );
    if shown.1 < shown.0 {
        bail!("an example does not do what its README shows");
    }
    Ok(())
}

impl Trial<'_> {
    /// Tries one input, and prints a line of the table.
    fn right(&self, check: &Check) -> Result<bool> {
        let begun = Instant::now();
        let project = std::env::temp_dir().join(format!("plumb-examples-{}", std::process::id()));
        std::fs::create_dir_all(&project)?;
        let answer = self.answer(check, &project);
        std::fs::remove_dir_all(&project)?;
        let seconds = begun.elapsed().as_secs();
        let wrong: Vec<String> = match &answer {
            Ok(answer) => {
                let places = check.expect.iter();
                let wrong =
                    places.filter(|(place, expected)| !fits(answer.pointer(place), expected));
                wrong
                    .map(|(place, expected)| {
                        let found = answer.pointer(place).unwrap_or(&Value::Null);
                        format!("{place} is {found}, not {expected}")
                    })
                    .collect()
            }
            Err(error) => vec![format!("{error:#}")],
        };
        let name = match check.shown {
            true => format!("{} (README)", check.name),
            false => check.name.clone(),
        };
        let right = if wrong.is_empty() { "yes" } else { "no" };
        println!("| {} | {name} | {right} | {seconds} |", self.name);
        for wrong in &wrong {
            eprintln!("  {}: {wrong}", self.name);
        }
        Ok(wrong.is_empty())
    }

    /// What the agent answers; a question that it asks is answered as a person would, in another process.
    fn answer(&self, check: &Check, project: &Path) -> Result<Value> {
        for before in &check.before {
            self.json(self.run(project).arg(before))?;
        }
        let mut run = self.run(project);
        match (&check.input, &check.file) {
            (Some(input), None) => run.arg(input),
            (None, Some(file)) => run.arg("--input").arg(self.folder.join(file)),
            _ => bail!("{}: an input or a file", check.name),
        };
        let mut output = run.output()?;
        for said in &check.answers {
            if output.status.success() {
                break;
            }
            let questions = self.json(self.plumb(project).args(["questions", "--json"]))?;
            let question = &questions[0];
            let (Some(id), Some(step)) = (question["run"].as_str(), question["path"].as_str())
            else {
                bail!(
                    "it asks nothing: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
            };
            eprintln!("  {} asks: {}", self.name, question["text"]);
            let answered = self
                .plumb(project)
                .args(["answer", id, step, said])
                .output()?;
            if !answered.status.success() {
                bail!("{}", String::from_utf8_lossy(&answered.stderr));
            }
            output = self
                .plumb(project)
                .args(["resume", id, "--json"])
                .output()?;
        }
        json(&output)
    }

    fn run(&self, project: &Path) -> Command {
        let agent = self.folder.join(format!("{}.md", self.name));
        let mut run = self.plumb(project);
        run.args(["run", "--json"]).arg(agent);
        if let Some(model) = self.model {
            run.args(["--model", model]);
        }
        run
    }

    fn plumb(&self, project: &Path) -> Command {
        let mut plumb = Command::new(self.binary);
        plumb
            .arg("--project")
            .arg(project)
            .env("PLUMB_OFFLINE", "1");
        plumb.env_remove("PLUMB_MODEL");
        plumb
    }

    fn json(&self, command: &mut Command) -> Result<Value> {
        json(&command.output()?)
    }
}

fn json(output: &Output) -> Result<Value> {
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Whether a value is as expected: the same, or with `any`, `contains`, `contains_any` or `contains_all`.
fn fits(found: Option<&Value>, expected: &Value) -> bool {
    let Some(found) = found else { return false };
    let text = match found {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let has = |word: &Value| word.as_str().is_some_and(|word| text.contains(word));
    let words = |key: &str| expected.get(key).and_then(Value::as_array);
    if let Some(word) = expected.get("contains") {
        return has(word);
    }
    if let Some(any) = words("any") {
        return any.contains(found);
    }
    match (words("contains_any"), words("contains_all")) {
        (Some(any), _) => any.iter().any(has),
        (_, Some(all)) => all.iter().all(has),
        (None, None) => found == expected,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_held_against_what_is_expected() {
        let found = json!("It takes 30 days.");
        for (expected, right) in [
            (json!("It takes 30 days."), true),
            (json!("30"), false),
            (json!({"contains": "30 days"}), true),
            (json!({"contains_all": ["30", "weeks"]}), false),
            (json!({"contains_any": ["30", "weeks"]}), true),
            (json!({"any": ["30", "It takes 30 days."]}), true),
        ] {
            assert_eq!(fits(Some(&found), &expected), right, "{expected}");
        }
        assert!(fits(Some(&json!(3)), &json!(3)) && !fits(None, &json!(null)));
    }
}
