//! `plumb runs export` and `plumb runs import`.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use journal::Journal;

use crate::project::write_whole;
use crate::view;

/// Writes a run into a file, or to standard output.
pub async fn export(journal: &Journal, id: &str, out: Option<&Path>) -> Result<()> {
    let mut text = Vec::new();
    journal.export(id, &mut text).await?;
    let Some(path) = out else {
        let mut out = std::io::stdout().lock();
        out.write_all(&text)?;
        return Ok(out.flush()?);
    };
    let text = String::from_utf8(text).context("an export is text")?;
    write_whole(path, &text)?;
    view::say(&format!("wrote {}", path.display()));
    Ok(())
}

/// Reads runs from a file, or from standard input.
pub async fn import(journal: &Journal, path: &Path) -> Result<()> {
    let imported = if path == Path::new("-") {
        journal.import(BufReader::new(std::io::stdin())).await
    } else {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        journal.import(BufReader::new(file)).await
    };
    let runs = imported.with_context(|| format!("cannot import {}", path.display()))?;
    for run in runs {
        view::print(&format!("{run}\n"))?;
    }
    Ok(())
}
