//! The evaluation of `plumb research` and `plumb search` on questions over real documentation.
//!
//! Runs the built binary for each question, as a user would, and counts: facts in the answer,
//! citations whose words stand in their files, unanswerable questions recognised, the right file
//! among the first hits, seconds, and tokens. `evals/research/README.md` describes the set.

pub(crate) mod corpora;
mod options;
mod questions;
mod score;
mod summary;
mod text;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::workspace;
use options::Options;
use questions::{Kind, Question};
use score::{Hit, Outcome, Report};
use text::Texts;

/// Runs the evaluation that the arguments ask for.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let Some(options) = Options::parse(arguments)? else {
        print!("{}", options::HELP);
        return Ok(());
    };
    let questions: Vec<Question> = questions::read(root)?
        .into_iter()
        .filter(|question| options.selects(question))
        .collect();
    if questions.is_empty() {
        bail!("no question is selected");
    }
    corpora::ensure(
        root,
        &questions
            .iter()
            .flat_map(|question| question.paths.clone())
            .collect(),
    )?;
    // Canonical, because reports name files relative to the working directory.
    let corpora = corpora::folder()?.canonicalize()?;
    if options.check {
        return questions::check(&questions, &corpora);
    }
    let program = Program::new(root, &options, corpora)?;
    program.index(&questions)?;
    let mut texts = Texts::default();
    let mut outcomes = Vec::new();
    println!("{}", summary::HEAD);
    for question in &questions {
        let outcome = program.ask(question, &options, &mut texts)?;
        println!("{}", summary::line(&outcome));
        outcomes.push(outcome);
        // After each question, so that an interrupted evaluation is not lost.
        std::fs::write(&options.out, serde_json::to_string_pretty(&outcomes)?)
            .with_context(|| format!("cannot write {}", options.out.display()))?;
    }
    print!("{}", summary::totals(&outcomes));
    println!("written to {}", options.out.display());
    Ok(())
}

/// The program under test and where it works.
struct Program {
    binary: PathBuf,
    project: PathBuf,
    corpora: PathBuf,
}

impl Program {
    fn new(root: &Path, options: &Options, corpora: PathBuf) -> Result<Program> {
        let binary = match &options.binary {
            Some(binary) => binary
                .canonicalize()
                .with_context(|| format!("cannot find {}", binary.display()))?,
            None => {
                workspace::output(
                    Command::new("cargo")
                        .args(["build", "--package", "plumb"])
                        .current_dir(root),
                )?;
                workspace::metadata(root)?
                    .target_directory
                    .join("debug")
                    .join("plumb")
            }
        };
        let project = options.project.clone();
        std::fs::create_dir_all(&project)?;
        Ok(Program {
            binary,
            project,
            corpora,
        })
    }

    /// The program with a command, in the folder of the corpora.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("--project")
            .arg(&self.project)
            .arg(name)
            .current_dir(&self.corpora);
        command
    }

    /// Reads all documents beforehand, so that the first question of a corpus does not pay for it.
    fn index(&self, questions: &[Question]) -> Result<()> {
        let paths: std::collections::BTreeSet<&String> = questions
            .iter()
            .flat_map(|question| &question.paths)
            .collect();
        let begin = Instant::now();
        workspace::output(self.command("index").arg("--no-vectors").args(&paths))?;
        println!(
            "read {} corpora in {:.1} s",
            paths.len(),
            begin.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Asks one question; a failure of the program is an outcome, not the end.
    fn ask(&self, question: &Question, options: &Options, texts: &mut Texts) -> Result<Outcome> {
        let begin = Instant::now();
        let hits = self.search(question);
        let mut outcome = Outcome {
            id: question.id.clone(),
            kind: question.kind.name(),
            split: question.split.name(),
            wording: question.wording.name(),
            facts: question.facts.len(),
            file_rank: None,
            search_seconds: begin.elapsed().as_secs_f64(),
            answer: None,
            error: None,
        };
        match hits {
            Ok(hits) => outcome.file_rank = score::rank(question, &hits),
            Err(error) => outcome.error = Some(format!("{error:#}")),
        }
        if options.retrieval_only {
            return Ok(outcome);
        }
        let begin = Instant::now();
        let report = self.research(question, options);
        let seconds = begin.elapsed().as_secs_f64();
        match report {
            Ok(report) => {
                outcome.answer = Some(score::judge(
                    question,
                    &report,
                    seconds,
                    &self.corpora,
                    texts,
                )?);
            }
            Err(error) => outcome.error = Some(format!("{error:#}")),
        }
        Ok(outcome)
    }

    fn search(&self, question: &Question) -> Result<Vec<Hit>> {
        if question.kind == Kind::Unanswerable {
            return Ok(Vec::new());
        }
        let mut command = self.command("search");
        command
            .args(["--json", "--limit", "10", "--"])
            .arg(&question.question)
            .args(&question.paths);
        let text = workspace::output(&mut command)?;
        serde_json::from_str(&text).context("plumb search --json printed something else")
    }

    fn research(&self, question: &Question, options: &Options) -> Result<Report> {
        let mut command = self.command("research");
        command.arg("--json").args(&options.passed_on);
        if let Some(model) = &options.model {
            command.args(["--model", model]);
        }
        command
            .arg("--")
            .arg(&question.question)
            .args(&question.paths);
        let text = workspace::output(&mut command)?;
        serde_json::from_str(&text).context("plumb research --json printed something else")
    }
}
