//! `plumb gc` and `plumb doctor`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::arguments::{Doctor, Gc};
use crate::project::Project;
use crate::view;

/// Deletes old runs that nothing points at.
pub async fn collect(project: &Project, arguments: Gc) -> Result<ExitCode> {
    let journal = project.journal()?;
    let age_ms = i64::try_from(arguments.older_than.as_millis()).context("too long ago")?;
    let collected = journal
        .collect(view::now_ms().saturating_sub(age_ms))
        .await?;
    if arguments.json {
        view::print_json(&collected)?;
    } else {
        view::print(&format!(
            "deleted {} runs and {} payloads ({:.1} MB); kept {} that forks, pins or other runs need\n",
            collected.runs,
            collected.payloads,
            collected.bytes as f64 / 1e6,
            collected.kept
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks the journal; exit status 1 when something is wrong with it.
pub async fn check(project: &Project, arguments: Doctor) -> Result<ExitCode> {
    let journal = project.journal()?;
    let bar = view::bar(0, "checking the journal {bar:30} {pos}/{len}");
    let shown = bar.clone();
    let checked = journal
        .check(move |done, total| {
            shown.set_length(total);
            shown.set_position(done);
        })
        .await;
    bar.finish_and_clear();
    let findings = checked?;
    let damaged = findings.iter().filter(|finding| !finding.harmless).count();
    if arguments.json {
        view::print_json(&findings)?;
    } else {
        let lines = findings.iter().map(|finding| {
            let run = finding
                .run
                .as_ref()
                .map_or(String::new(), |run| format!("run {run}, "));
            format!("{run}{}: {}\n", finding.place, finding.what)
        });
        let mut text: String = lines.collect();
        if damaged == 0 {
            text.push_str("the journal is sound\n");
        }
        view::print(&text)?;
        if damaged > 0 {
            view::say(&format!(
                "{}\nhint: runs that are not named are not affected; restore the others from a backup, or delete them",
                view::count(damaged, "finding")
            ));
        }
    }
    Ok(ExitCode::from(u8::from(damaged > 0)))
}
