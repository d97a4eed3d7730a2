//! What a person sees on standard error while something works, and how errors are shown.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use agent::research::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Prints an error and what to do about it; the exit status of a failure.
pub fn failed(error: &anyhow::Error) -> ExitCode {
    let broken_pipe = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe);
    if broken_pipe {
        return ExitCode::SUCCESS;
    }
    let mut text = String::from("error: ");
    let mut shown = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // An error of a library often repeats its cause's words.
        if shown.contains(&cause) {
            continue;
        }
        if !shown.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
        shown.push_str(&cause);
    }
    say(&text);
    ExitCode::from(1)
}

/// A line on standard error.
pub fn say(line: &str) {
    // Nothing can be done when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Text on standard output.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// JSON on standard output, indented.
pub fn print_json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

/// A number of things, in words: `1 step`, `2 steps`.
pub fn count(number: impl TryInto<u64>, name: &str) -> String {
    match number.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {name}"),
        number => format!("{number} {name}s"),
    }
}

/// The time now, milliseconds since 1970 (UTC).
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A time that is to come, for a person: how long from now.
pub fn time(at_ms: i64) -> String {
    let minutes = at_ms.saturating_sub(now_ms()) / 60_000;
    match minutes {
        ..=0 => "in less than a minute".to_owned(),
        1..=119 => format!("in {minutes} minutes"),
        120..=2879 => format!("in {} hours", minutes / 60),
        _ => format!("in {} days", minutes / 1440),
    }
}

/// A time that was, for a person: `2026-11-27 22:06:31 UTC`.
pub fn moment(at_ms: i64) -> String {
    let seconds = at_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 1970 as a date of the Gregorian calendar, counted in eras of 400 years from 1 March 0000.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year + era * 400 + next;
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02} UTC",
        second % 60
    )
}

/// A bar for bytes or items; invisible where standard error is no terminal.
pub fn bar(total: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━━─"));
    }
    bar
}

/// The live view of a research run: a line with the elapsed time, and a line for each branch.
pub struct ResearchView {
    bars: MultiProgress,
    head: ProgressBar,
    branches: Mutex<Vec<ProgressBar>>,
    terminal: bool,
}

impl ResearchView {
    /// Begins to show; on no terminal only the plan is said, a line at a time.
    pub fn new() -> ResearchView {
        let bars = MultiProgress::new();
        let head = bars.add(bar(0, "{spinner} {elapsed:>4} {msg}"));
        head.enable_steady_tick(Duration::from_millis(120));
        let terminal = std::io::stderr().is_terminal();
        ResearchView {
            bars,
            head,
            branches: Mutex::new(Vec::new()),
            terminal,
        }
    }

    /// Shows what goes on.
    pub fn show(&self, progress: Progress) {
        match progress {
            Progress::Indexing { done, total } => {
                self.head(format!("reading files {done}/{total}"))
            }
            Progress::Planned(questions) => self.planned(&questions),
            Progress::Searching { branch, query } => {
                self.branch(branch, format!("searching: {query}"))
            }
            Progress::Ranking { branch, passages } => {
                self.branch(branch, format!("choosing among {passages} more passages"))
            }
            Progress::Reading { branch, places } => {
                self.branch(branch, format!("reading: {}", places.join("; ")))
            }
            Progress::Noted { branch, notes: 1 } => self.branch(branch, "1 note".to_owned()),
            Progress::Noted { branch, notes } => self.branch(branch, format!("{notes} notes")),
            Progress::Writing(1) => self.head("writing".to_owned()),
            Progress::Writing(draft) => self.head(format!("writing draft {draft}")),
            Progress::Criticising(_) => self.head("checking the draft".to_owned()),
        }
    }

    /// Takes everything from the terminal.
    pub fn close(&self) {
        let _ = self.bars.clear();
    }

    fn head(&self, message: String) {
        self.head.set_message(message);
    }

    fn planned(&self, questions: &[String]) {
        self.head("researching".to_owned());
        let mut branches = self
            .branches
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        for question in questions {
            if !self.terminal {
                say(&format!("plan: {question}"));
            }
            let line = self
                .bars
                .add(bar(0, "       {prefix}\n         {wide_msg:.dim}"));
            line.set_prefix(format!("• {question}"));
            line.tick();
            branches.push(line);
        }
    }

    fn branch(&self, index: usize, message: String) {
        let branches = self
            .branches
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(line) = branches.get(index) {
            line.set_message(message);
            line.tick();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn a_moment_is_a_date_and_a_time() {
        for (at_ms, shown) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (1_795_817_191_999, "2026-11-27 22:06:31 UTC"),
        ] {
            assert_eq!(moment(at_ms), shown);
        }
    }
}
