//! The log: what a person needs, on standard error. One line when a client connects and one when
//! it goes; nothing per message; never a password.

use crate::config::{Log, LogFormat};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts logging for the process. Must be called once.
///
/// # Errors
/// When the level is not one, or logging was started before.
pub fn start(log: &Log) -> Result<(), LogError> {
    let filter = filter(&log.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Plain => {
            builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| LogError(error.to_string()))
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[error("log.level: {0}")]
pub struct LogError(String);

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let wrong = || {
        LogError(format!(
            "`{level}` is not a level: write error, warn, info, debug or trace, or a filter such \
             as info,leveret_server=debug"
        ))
    };
    // A word without `=` is a level; the filter's own parser would take a misspelt one for the
    // name of a module and log nothing.
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    for part in level.split(',').map(str::trim) {
        if !part.contains('=') && !LEVELS.contains(&part.to_ascii_lowercase().as_str()) {
            return Err(wrong());
        }
    }
    // Its elections and log positions are for those who look for them; what ends it, and nodes that are not reached, are
    // told by us.
    let quiet = if level.contains("openraft") { "" } else { ",openraft=off" };
    EnvFilter::try_new(format!("{level}{quiet}")).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_read() {
        for good in ["info", "WARN", "off", "info,leveret_server=debug"] {
            assert!(filter(good).unwrap().to_string().contains("openraft=off"), "{good}");
        }
        assert!(filter("info,openraft=debug").unwrap().to_string().contains("openraft=debug"));
        for bad in ["loud", "", "leveret=loud", "inf,leveret_server=debug"] {
            assert!(filter(bad).unwrap_err().to_string().contains("is not a level"), "{bad}");
        }
    }
}
