//! Files and functions stay small. Those that are not stand in `xtask/tidy.exceptions` with their
//! size, and the list may only shrink: an entry that is larger than its offender is an error too.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use super::Source;

/// The most lines of a file.
const FILE: usize = 800;
/// The most lines of a function, from `fn` to the closing brace.
const FUNCTION: usize = 70;

/// Checks all Rust files. A line of `exceptions` is `path lines` or `path::function lines`.
pub(super) fn check(sources: &[Source], exceptions: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut allowed = parse(exceptions, &mut wrong);
    for source in sources.iter().filter(|source| source.is("rs")) {
        let name = source.name();
        let lines = source.text.lines().count();
        judge(
            &name,
            &format!("{name}:1"),
            lines,
            FILE,
            &mut allowed,
            &mut wrong,
        );
        match functions(&source.text) {
            Ok(functions) => {
                for Function {
                    name: function,
                    line,
                    lines,
                } in functions
                {
                    let (key, place) = (
                        format!("{name}::{function}"),
                        format!("{name}:{line}: {function}"),
                    );
                    judge(&key, &place, lines, FUNCTION, &mut allowed, &mut wrong);
                }
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    let stale =
        |key: &String| format!("xtask/tidy.exceptions: {key} is no longer needed; delete its line");
    wrong.extend(allowed.keys().map(stale));
    wrong
}

fn parse(exceptions: &str, wrong: &mut Vec<String>) -> BTreeMap<String, usize> {
    let mut allowed = BTreeMap::new();
    for line in exceptions
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        match line
            .rsplit_once(' ')
            .and_then(|(key, lines)| Some((key, lines.parse().ok()?)))
        {
            Some((key, lines)) => drop(allowed.insert(key.to_owned(), lines)),
            None => wrong.push(format!(
                "xtask/tidy.exceptions: `{line}` is not `path lines`"
            )),
        }
    }
    allowed
}

fn judge(
    key: &str,
    place: &str,
    lines: usize,
    most: usize,
    allowed: &mut BTreeMap<String, usize>,
    wrong: &mut Vec<String>,
) {
    if lines <= most {
        return;
    }
    match allowed.remove(key) {
        Some(exception) if lines == exception => {}
        Some(exception) if lines < exception => {
            wrong.push(format!(
                "xtask/tidy.exceptions: {key} has shrunk to {lines} lines; lower its number"
            ));
        }
        _ => wrong.push(format!("{place} has {lines} lines; the most is {most}")),
    }
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

fn functions(text: &str) -> syn::Result<Vec<Function>> {
    let mut finder = Finder { found: Vec::new() };
    finder.visit_file(&syn::parse_file(text)?);
    Ok(finder.found)
}

struct Finder {
    found: Vec<Function>,
}

impl Finder {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        self.found.push(Function {
            name: signature.ident.to_string(),
            line: first,
            lines: last - first + 1,
        });
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(name: &str, lines: usize) -> String {
        format!(
            "struct S;\nimpl S {{\n    fn {name}() {{\n{}    }}\n}}\n",
            "        // x\n".repeat(lines - 2)
        )
    }

    fn source(text: String) -> Vec<Source> {
        vec![Source {
            path: "a.rs".into(),
            text,
        }]
    }

    #[test]
    fn a_function_may_have_seventy_lines() {
        assert!(check(&source(long("f", 70)), "").is_empty());
        assert_eq!(
            check(&source(long("f", 71)), ""),
            ["a.rs:3: f has 71 lines; the most is 70"]
        );
    }

    #[test]
    fn a_file_may_have_eight_hundred_lines() {
        assert!(check(&source("// x\n".repeat(800)), "").is_empty());
        assert_eq!(
            check(&source("// x\n".repeat(801)), ""),
            ["a.rs:1 has 801 lines; the most is 800"]
        );
    }

    #[test]
    fn exceptions_may_only_shrink() {
        let offender = source(long("f", 75));
        assert!(check(&offender, "# why\na.rs::f 75\n").is_empty());
        assert_eq!(
            check(&offender, "a.rs::f 74"),
            ["a.rs:3: f has 75 lines; the most is 70"]
        );
        assert_eq!(
            check(&offender, "a.rs::f 76"),
            ["xtask/tidy.exceptions: a.rs::f has shrunk to 75 lines; lower its number"]
        );
        assert_eq!(
            check(&source(long("f", 9)), "a.rs::f 75"),
            ["xtask/tidy.exceptions: a.rs::f is no longer needed; delete its line"]
        );
    }
}
