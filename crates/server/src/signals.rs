//! The signals of the process: SIGTERM and Ctrl-C ask for a graceful end, a second one for an
//! end at once, SIGHUP for nothing yet.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// What the process ends with when it was told twice: as a shell reports an interrupted command.
pub const INTERRUPTED: u8 = 130;

/// The signals that are listened to. From its making on, none of them ends the process by itself.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Starts listening. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a request to end, and returns its name.
    pub async fn end_requested(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {
                    info!("SIGHUP is ignored: the configuration is read at the start only");
                }
            }
        }
    }

    /// Waits for a second request to end while the first is being carried out.
    pub async fn end_demanded(&mut self) {
        let name = self.end_requested().await;
        warn!("{name} again: ending at once");
    }
}
