//! Words that must not get into the tree: places of one machine, hosts that a build or a user must
//! not depend on by name, and notes to oneself.

use anyhow::Result;
use regex::Regex;

use super::Source;

/// A word, and why it must not be there.
struct Rule {
    word: Regex,
    reason: &'static str,
    /// Only in files with this extension; everywhere if there is none.
    extension: Option<&'static str>,
}

// The words are put together from parts, else this file would break its own rules.
fn rules() -> Result<Vec<Rule>> {
    let host = [
        "pypi",
        r"\.org|pythonhosted",
        r"\.org|\bcrates",
        r"\.io|registry\.npmjs",
        r"\.org|proxy\.golang",
        r"\.org",
    ]
    .concat();
    let home = [
        "(^|[^A-Za-z0-9._~])(/ro",
        "ot/|/ho",
        "me/[a-z]|/Us",
        "ers/[A-Za-z])",
    ]
    .concat();
    let note = [r"\bTO", r"DO\b|\bFIX", r"ME\b"].concat();
    let macros = [r"\bto", r"do!|\bdb", r"g!|\bunimpl", "emented!"].concat();
    let ignored = ["#\\[ig", "nore"].concat();
    let rule = |pattern: String, reason, extension| -> Result<Rule> {
        Ok(Rule {
            word: Regex::new(&pattern)?,
            reason,
            extension,
        })
    };
    Ok(vec![
        rule(
            host,
            "names the host of a package registry; its ordinary client knows it",
            None,
        )?,
        rule(
            home,
            "is a path of one machine; write it relative or with ~",
            None,
        )?,
        rule(note, "is a note to oneself; do it, or write an issue", None)?,
        rule(macros, "is unfinished code", Some("rs"))?,
        rule(
            ignored,
            "is a test that nobody runs; repair or delete it",
            Some("rs"),
        )?,
    ])
}

/// Files that other tools write, not committed or naming registries by nature.
fn is_exempt(source: &Source) -> bool {
    if source.name() == ".cargo/processor.toml" {
        return true;
    }
    source
        .path
        .file_name()
        .is_some_and(|name| name == "Cargo.lock")
        || source.is("log")
}

/// Checks all text files.
pub(super) fn check(sources: &[Source]) -> Result<Vec<String>> {
    let rules = rules()?;
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|source| !is_exempt(source)) {
        for rule in rules
            .iter()
            .filter(|rule| rule.extension.is_none_or(|extension| source.is(extension)))
        {
            // Most files have none of them.
            if !rule.word.is_match(&source.text) {
                continue;
            }
            for (index, line) in source.text.lines().enumerate() {
                if let Some(found) = rule.word.find(line) {
                    let word = found.as_str().trim();
                    wrong.push(format!(
                        "{}:{}: `{word}` {}",
                        source.name(),
                        index + 1,
                        rule.reason
                    ));
                }
            }
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(path: &str, text: &str) -> usize {
        let source = Source {
            path: path.into(),
            text: text.to_owned(),
        };
        check(&[source]).map_or(usize::MAX, |wrong| wrong.len())
    }

    #[test]
    fn places_of_one_machine_and_notes_are_found() {
        let home = ["see /ho", "me/jane/x"].concat();
        let host = ["https://py", "pi.org/simple"].concat();
        let note = ["// TO", "DO: later"].concat();
        for text in [&home, &host, &note] {
            assert_eq!(wrong("docs/a.md", text), 1, "{text}");
            assert_eq!(wrong("Cargo.lock", text), 0, "{text}");
        }
        let unfinished = ["to", "do!()"].concat();
        assert_eq!(wrong("a.rs", &unfinished), 1);
        assert_eq!(wrong("a.md", &unfinished), 0);
    }

    #[test]
    fn ordinary_words_pass() {
        for text in [
            "~/.cache/plumb",
            "the todo list",
            "target/home/x",
            "https://docs.rs/serde",
            "a/root/b",
        ] {
            assert_eq!(wrong("docs/a.md", text), 0, "{text}");
        }
    }
}
