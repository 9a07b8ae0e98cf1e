//! The memory that models may take.

use std::fs;
use std::path::Path;

/// Of what is free when the server starts, this share is for models; the rest is for everything else.
const SHARE: f64 = 0.9;

/// Bytes for models, where the system tells what is free: of the machine, or of the control group that this process is
/// confined to, whichever is less.
pub(crate) fn room_bytes() -> Option<u64> {
    let free = [machine_free_bytes(), group_free_bytes(Path::new("/sys/fs/cgroup"))];
    let free = free.into_iter().flatten().min()?;
    Some((free as f64 * SHARE) as u64)
}

/// What can be had without swapping: pages of files count as free.
fn machine_free_bytes() -> Option<u64> {
    let told = fs::read_to_string("/proc/meminfo").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The least that this process's control group, and those around it, leave (version 2, or version 1 at its root).
fn group_free_bytes(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let own = root.join(own.trim_start_matches('/'));
    let around = own.ancestors().take_while(|folder| folder.starts_with(root));
    let second = around.filter_map(|folder| free_of(folder, "memory.max", "memory.current"));
    let first = free_of(&root.join("memory"), "memory.limit_in_bytes", "memory.usage_in_bytes");
    second.chain(first).min()
}

fn free_of(folder: &Path, limit: &str, used: &str) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    // "max" is no number, and no limit.
    let (limit, used) = (number(limit)?, number(used)?);
    // Pages of files are given back when they are needed.
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let files = ["inactive_file ", "active_file "]
        .iter()
        .filter_map(|key| stat.lines().find_map(|line| line.strip_prefix(key))?.trim().parse::<u64>().ok());
    Some(limit.saturating_sub(used.saturating_sub(files.sum())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_leaves_what_it_does_not_use() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        let free = || free_of(root.path(), "memory.max", "memory.current");
        assert_eq!(free(), None);
        write("memory.max", "max\n");
        write("memory.current", "700\n");
        assert_eq!(free(), None, "no limit");
        write("memory.max", "1000\n");
        assert_eq!(free(), Some(300));
        write("memory.stat", "anon 400\ninactive_file 200\nactive_file 100\n");
        assert_eq!(free(), Some(600), "pages of files can be had");
        write("memory.current", "5000\n");
        assert_eq!(free(), Some(0));
    }
}
