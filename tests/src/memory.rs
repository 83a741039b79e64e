//! The memory that a broker's process occupies, and how far it rose. Read from `/proc`.

use std::fs;

/// What one process occupies, from a point in time on.
#[derive(Debug)]
pub struct Memory {
    pid: u32,
    base_kib: u64,
}

impl Memory {
    /// Starts watching: the present size is the base, and the peak is forgotten.
    ///
    /// # Panics
    /// When there is no such process.
    #[must_use]
    pub fn watch(pid: u32) -> Self {
        // Resets the peak. A process of another user refuses; its peak then counts from its start.
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        Self { pid, base_kib: field(pid, "VmRSS:") }
    }

    /// The size when the watch began, in KiB.
    #[must_use]
    pub fn base_kib(&self) -> u64 {
        self.base_kib
    }

    /// What it occupies now without the program's own file, in KiB: a build for tests has more code in memory
    /// than what users run.
    ///
    /// # Panics
    /// When the broker is gone.
    #[must_use]
    pub fn own_kib(&self) -> u64 {
        field(self.pid, "RssAnon:")
    }

    /// The present size in KiB.
    #[must_use]
    pub fn now_kib(&self) -> u64 {
        field(self.pid, "VmRSS:")
    }

    /// How far the size has risen above the base at its highest, in KiB.
    #[must_use]
    pub fn peak_growth_kib(&self) -> u64 {
        field(self.pid, "VmHWM:").saturating_sub(self.base_kib)
    }

    /// Writes how far the size rose, for `docs/bad-input.md`, and compares.
    ///
    /// # Panics
    /// When it was more than `limit_mib`.
    #[track_caller]
    pub fn check_peak(&self, what: &str, limit_mib: u64) {
        let kib = self.peak_growth_kib();
        eprintln!(
            "measured: {what}: memory rose by {:.1} MiB at most from {:.1} MiB (limit {limit_mib} MiB)",
            kib as f64 / 1024.0,
            self.base_kib as f64 / 1024.0
        );
        assert!(kib <= limit_mib * 1024, "{what}: memory rose by {kib} KiB, limit {limit_mib} MiB");
    }
}

fn field(pid: u32, name: &str) -> u64 {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("the broker's process {pid} is gone ({path}: {error})"));
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|n| n.parse().ok());
    kib.unwrap_or_else(|| panic!("{path} has no {name}"))
}
