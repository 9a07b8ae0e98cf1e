//! How much memory a piece of work touches at its peak, as Linux tells it; elsewhere nothing is measured.

use std::fs;

/// The resident memory before the work, in bytes.
pub(crate) struct Peak(Option<u64>);

impl Peak {
    /// Resets the kernel's high-water mark of this process.
    pub(crate) fn start() -> Self {
        let is_reset = fs::write("/proc/self/clear_refs", "5").is_ok();
        Self(if is_reset { status("VmRSS:") } else { None })
    }

    /// By how much the resident memory rose above the start; 0 where that cannot be told.
    pub(crate) fn grown(&self) -> u64 {
        let Some(before) = self.0 else { return 0 };
        status("VmHWM:").unwrap_or(0).saturating_sub(before)
    }
}

/// A line of `/proc/self/status`, which counts in KiB.
fn status(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10)
}
