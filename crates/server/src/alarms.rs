//! Decides when the memory or the disk alarm is on. Pure: the readings come in, what changed goes
//! out; the server's timer looks and tells the node.

use crate::config::{Config, MemoryWatermark};
use crate::resources::Readings;
use std::sync::Arc;

/// Where the alarms stand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Bytes of memory beyond which the memory alarm is on; 0 is always.
    pub memory: u64,
    /// Free bytes of disk below which the disk alarm is on.
    pub disk: u64,
}

impl Thresholds {
    /// The thresholds of a configuration where there are `memory_total` bytes of memory.
    #[must_use]
    pub fn new(config: &Config, memory_total: Option<u64>) -> Self {
        let resources = &config.resources;
        let total = match resources.total_memory_available_override_value.0 {
            0 => memory_total,
            set => Some(set),
        };
        let memory = match (resources.vm_memory_high_watermark, total) {
            (MemoryWatermark::Bytes(bytes), _) => bytes,
            (share, Some(total)) => share.bytes(total),
            // A share of nobody knows what: no alarm rather than one for ever.
            (MemoryWatermark::Share(_), None) => u64::MAX,
        };
        Self { memory, disk: resources.disk_free_limit.0 }
    }
}

/// Which alarms are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    /// Memory is beyond its watermark.
    pub memory: bool,
    /// Free disk space is below its limit.
    pub disk: bool,
}

impl Alarms {
    /// What the readings say.
    // rabbitmq: vm_memory_high_watermark, disk_free_limit
    #[must_use]
    pub fn of(readings: &Readings, thresholds: Thresholds) -> Self {
        Self {
            memory: readings.memory_used > thresholds.memory,
            disk: readings.disk_free.is_some_and(|free| free < thresholds.disk),
        }
    }

    /// What blocked clients are told; `None` when nobody is blocked.
    // rabbitmq: reason of connection.blocked
    #[must_use]
    pub fn reason(self) -> Option<Arc<str>> {
        let reason = match (self.memory, self.disk) {
            (false, false) => return None,
            (true, false) => "low on memory",
            (false, true) => "low on disk",
            (true, true) => "low on memory & low on disk",
        };
        Some(reason.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(memory_used: u64, disk_free: Option<u64>, config: &Config) -> Alarms {
        let readings = Readings { memory_used, disk_free, descriptors_used: 0 };
        Alarms::of(&readings, Thresholds::new(config, Some(1000)))
    }

    #[test]
    fn memory_alarm_stands_at_the_share_of_the_total() {
        let mut config = Config::default();
        assert_eq!(of(600, None, &config), Alarms { memory: false, disk: false });
        assert_eq!(of(601, None, &config), Alarms { memory: true, disk: false });
        config.resources.vm_memory_high_watermark = MemoryWatermark::Bytes(50);
        assert!(of(51, None, &config).memory);
        config.resources.vm_memory_high_watermark = MemoryWatermark::Share(0.0);
        assert!(of(1, None, &config).memory, "0 holds publishers back always");
        config.resources.vm_memory_high_watermark = MemoryWatermark::Share(0.5);
        config.resources.total_memory_available_override_value.0 = 100;
        assert!(of(51, None, &config).memory);
    }

    #[test]
    fn disk_alarm_stands_below_the_limit() {
        let config = Config::default();
        assert!(of(0, Some(49_999_999), &config).disk);
        assert!(!of(0, Some(50_000_000), &config).disk);
    }

    #[test]
    fn clients_are_told_what_is_low() {
        let reason = |memory, disk| Alarms { memory, disk }.reason();
        assert_eq!(reason(false, false), None);
        assert_eq!(reason(true, false).as_deref(), Some("low on memory"));
        assert_eq!(reason(true, true).as_deref(), Some("low on memory & low on disk"));
    }

    #[test]
    fn unknown_memory_is_no_alarm() {
        let thresholds = Thresholds::new(&Config::default(), None);
        assert_eq!(thresholds.memory, u64::MAX);
    }
}
