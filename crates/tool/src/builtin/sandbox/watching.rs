//! What all processes of a sandbox use together. The system's own limits are for each process, and one of them does
//! not hold where Plumb is run by root.

use std::collections::HashMap;
use std::time::Duration;

use super::SandboxLimits;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(20);

/// Waits until the processes below this one are too many, or use too much memory; says which.
pub(super) async fn too_much(pid: Option<u32>, limits: &SandboxLimits) -> String {
    let Some(pid) = pid else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(EVERY).await;
        let below = below(pid);
        // Bubblewrap itself is two of them.
        let most = limits.processes + 2;
        if u64::try_from(below.len()).unwrap_or(u64::MAX) > most {
            return format!("there were more than {} processes", limits.processes);
        }
        let used: u64 = below.iter().map(|pid| memory_kb(*pid)).sum();
        if used > limits.memory_mb << 10 {
            return format!("it used more than {} MB of memory", limits.memory_mb);
        }
    }
}

/// All processes below one.
pub(super) fn below(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        let next = children.remove(&pid).unwrap_or_default();
        found.extend(next.iter().copied());
        open.extend(next);
    }
    found
}

/// The fourth field, after the name in parentheses, which may have any sign in it.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(1)?.parse().ok()
}

fn memory_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}
