//! Crates depend on each other only along the arrows of the design: bricks do not know each other,
//! and nobody depends on who stands above.

use std::path::Path;

use anyhow::{Result, bail};

use crate::workspace::{Package, metadata};

/// Who may depend on whom. A crate that is not listed is an error, so that a new one gets its line
/// here and in ARCHITECTURE.md.
const ALLOWED: &[(&str, &[&str])] = &[
    ("plumb-journal", &[]),
    ("plumb-pdf", &[]),
    ("plumb-model", &["plumb-journal"]),
    ("plumb-tool-macros", &[]),
    ("plumb-tool", &["plumb-journal", "plumb-tool-macros"]),
    ("plumb-knowledge", &["plumb-journal", "plumb-pdf"]),
    ("plumb-guard", &["plumb-journal"]),
    (
        "plumb-agent",
        &[
            "plumb-guard",
            "plumb-journal",
            "plumb-knowledge",
            "plumb-model",
            "plumb-tool",
        ],
    ),
    ("plumb-server", &["plumb-model", "plumb-tool"]),
    (
        "plumb",
        &[
            "plumb-agent",
            "plumb-guard",
            "plumb-journal",
            "plumb-knowledge",
            "plumb-model",
            "plumb-pdf",
            "plumb-server",
            "plumb-tool",
        ],
    ),
    ("xtask", &[]),
];

/// Fails with every arrow that the design does not allow.
pub(crate) fn run(root: &Path) -> Result<()> {
    let packages = metadata(root)?.packages;
    let wrong = wrong_arrows(&packages);
    if !wrong.is_empty() {
        bail!(
            "{}\nhint: the arrows stand in ARCHITECTURE.md and in xtask/src/arrows.rs",
            wrong.join("\n")
        );
    }
    println!(
        "arrows: {} crates depend on each other as the design allows",
        packages.len()
    );
    Ok(())
}

fn wrong_arrows(packages: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
            wrong.push(format!(
                "{} is not in the list of crates and their arrows",
                package.name
            ));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some())
        {
            if !allowed.contains(&dependency.name.as_str()) {
                wrong.push(format!(
                    "{} must not depend on {}",
                    package.name, dependency.name
                ));
            }
        }
    }
    wrong.dedup();
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, dependencies: &[(&str, bool)]) -> Package {
        let dependency = |(name, ours): &(&str, bool)| Dependency {
            name: (*name).to_owned(),
            path: ours.then(|| name.into()),
        };
        Package {
            name: name.to_owned(),
            dependencies: dependencies.iter().map(dependency).collect(),
        }
    }

    #[test]
    fn only_listed_arrows_pass() {
        let good = [
            package("plumb-agent", &[("plumb-model", true), ("serde", false)]),
            package("plumb-pdf", &[]),
        ];
        assert!(wrong_arrows(&good).is_empty());
        let bad = [
            package("plumb-model", &[("plumb-knowledge", true)]),
            package("plumb-web", &[]),
        ];
        let expected = [
            "plumb-model must not depend on plumb-knowledge",
            "plumb-web is not in the list of crates and their arrows",
        ];
        assert_eq!(wrong_arrows(&bad), expected);
    }
}
