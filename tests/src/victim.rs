//! A client in a process of its own, for tests that kill or stop it. What it does is in
//! `bin/victim.rs`; this is the handle that the test has.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::broker::Broker;

/// The process, ended with this value.
#[derive(Debug)]
pub struct Victim {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Victim {
    /// Starts `program` (the test's `CARGO_BIN_EXE_leveret-tests-victim`) with what it shall do, and waits
    /// until it says that it is doing it.
    ///
    /// # Panics
    /// When it cannot.
    #[track_caller]
    #[must_use]
    pub fn start(program: impl AsRef<Path>, broker: &Broker, deeds: &[&str]) -> Self {
        let mut command = Command::new(program.as_ref());
        command.arg(broker.amqp().to_string()).args(deeds);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start a client: {error}"));
        let Some(stdout) = child.stdout.take() else { panic!("no pipe to the client") };
        let mut victim = Self { child, said: BufReader::new(stdout) };
        let line = victim.line();
        assert_eq!(line, "ready", "the client {deeds:?} is not ready");
        victim
    }

    /// The next line that it says; empty at its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        // An unreadable pipe is an end as well.
        let _ = self.said.read_line(&mut line);
        line.trim().to_owned()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal)
            .unwrap_or_else(|error| panic!("the client takes no signal: {error}"));
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Both fail only when it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.end();
    }
}
