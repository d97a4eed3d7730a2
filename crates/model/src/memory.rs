//! How much memory there is for a model: what the machine has, and what the process may use of it.
//!
//! A process in a container or a service has its own limit, which is set on one of the control groups
//! that it is in; the narrowest counts. Both generations of control groups are read.

use std::path::Path;

/// Memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All that this process may use.
    pub total: u64,
    /// What of it is free, files that are kept in memory counted as free.
    pub free: u64,
}

/// What this process may use; `None` on a system that does not say.
pub(crate) fn memory() -> Option<Memory> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    let machine = Memory {
        total: system.total_memory(),
        free: system.available_memory(),
    };
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(narrowed(machine, &groups, Path::new("/sys/fs/cgroup")))
}

/// What is left of `machine` under the limits of the process's control groups, as `/proc/self/cgroup`
/// lists them and `root` has them.
fn narrowed(machine: Memory, groups: &str, root: &Path) -> Memory {
    let mut least = machine;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (folder, names) = match controllers {
            "" => (root.to_owned(), Names::UNIFIED),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), Names::FIRST)
            }
            _ => continue,
        };
        // In a container its own group may be the root. What is not there does not limit.
        for up in Path::new(path.trim_start_matches('/')).ancestors() {
            if let Some(limit) = names.read(&folder.join(up)) {
                least.total = least.total.min(limit.total);
                least.free = least.free.min(limit.free);
            }
        }
    }
    least
}

/// How the two generations call their files and fields.
struct Names {
    limit: &'static str,
    used: &'static str,
    /// Files in memory, and of these the ones that are nothing but memory.
    files: &'static str,
    shared: &'static str,
}

impl Names {
    const FIRST: Names = Names {
        limit: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
        files: "total_cache",
        shared: "total_shmem",
    };
    const UNIFIED: Names = Names {
        limit: "memory.max",
        used: "memory.current",
        files: "file",
        shared: "shmem",
    };

    /// The limit of one group, if it has one.
    fn read(&self, folder: &Path) -> Option<Memory> {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let number = |name: &str| text(name)?.trim().parse::<u64>().ok();
        let total = number(self.limit)?;
        let stat = text("memory.stat").unwrap_or_default();
        let field = |name: &str| {
            let pairs = stat.lines().filter_map(|line| line.split_once(' '));
            let found = pairs.into_iter().find(|(field, _)| *field == name);
            found
                .and_then(|(_, value)| value.trim().parse::<u64>().ok())
                .unwrap_or(0)
        };
        let kept = field(self.files).saturating_sub(field(self.shared));
        let used = number(self.used).unwrap_or(0).saturating_sub(kept);
        Some(Memory {
            total,
            free: total.saturating_sub(used),
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    const MACHINE: Memory = Memory {
        total: 1000,
        free: 800,
    };

    fn group(root: &Path, path: &str, files: &[(&str, &str)]) {
        let folder = root.join(path);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn the_narrowest_control_group_counts_and_files_in_memory_are_free() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(narrowed(MACHINE, "0::/a/b\n", root), MACHINE);
        let stat = "anon 100\nfile 250\nshmem 50\n";
        group(
            root,
            "a",
            &[
                ("memory.max", "500\n"),
                ("memory.current", "400\n"),
                ("memory.stat", stat),
            ],
        );
        group(
            root,
            "a/b",
            &[("memory.max", "max\n"), ("memory.current", "1\n")],
        );
        let narrow = Memory {
            total: 500,
            free: 300,
        };
        assert_eq!(narrowed(MACHINE, "0::/a/b\n", root), narrow);
        assert_eq!(narrowed(MACHINE, "0::/c\n", root), MACHINE);
    }

    #[test]
    fn the_first_generation_is_read_in_a_container_too() {
        let folder = tempfile::tempdir().unwrap();
        let limit = [
            ("memory.limit_in_bytes", "300"),
            ("memory.usage_in_bytes", "280"),
            ("memory.stat", "cache 1\ntotal_cache 90\ntotal_shmem 0\n"),
        ];
        group(folder.path(), "memory", &limit);
        let groups = "5:devices:/x\n4:cpu,memory:/of/the/host\n0::/\n";
        let narrow = Memory {
            total: 300,
            free: 110,
        };
        assert_eq!(narrowed(MACHINE, groups, folder.path()), narrow);
        assert_eq!(narrowed(MACHINE, "nonsense\n", folder.path()), MACHINE);
    }

    #[test]
    fn this_machine_says_what_it_has() {
        let memory = memory().unwrap();
        assert!(memory.total >= memory.free && memory.free > 0);
    }
}
