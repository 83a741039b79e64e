//! Connections that do nothing but keep their heartbeats going, to measure what a broker spends on
//! one. One thread serves all of them.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use leveret_codec::{FrameKind, Method, Splitter, put_heartbeat, put_method};

use super::client::{Client, close_method, closed};
use super::error::PerfError;
use super::shared::{Event, Run};
use super::wire::{self, timed_out};

/// The heartbeat interval that we ask for, in seconds: what RabbitMQ suggests.
const HEARTBEAT: u16 = 60;
/// Threads that open connections; a handshake is mostly waiting.
const OPENERS: usize = 8;
/// How often every connection is looked at.
const SWEEP: Duration = Duration::from_millis(500);
/// How long the broker may take at the end to answer every connection.close.
const GOODBYE: Duration = Duration::from_secs(1);

struct Idle {
    stream: TcpStream,
    heartbeat: Duration,
    last_sent: Instant,
}

/// Opens the connections and holds them until the run ends.
pub(super) fn run(run: &Run, events: &SyncSender<Event>) -> Result<(), PerfError> {
    let mut connections = open_all(run)?;
    let _ = events.send(Event::Ready);
    while !run.consuming_stopped() {
        let sweep = Instant::now() + SWEEP;
        for connection in &mut connections {
            connection.look()?;
        }
        while Instant::now() < sweep && !run.consuming_stopped() {
            thread::sleep(SWEEP / 10);
        }
    }
    close_all(connections);
    Ok(())
}

/// Says goodbye on every connection and gives the broker [`GOODBYE`] to answer: by then it has read
/// it, in all likelihood.
fn close_all(mut connections: Vec<Idle>) {
    let mut close = BytesMut::new();
    put_method(&mut close, 0, &close_method());
    connections.retain_mut(|connection| connection.stream.write_all(&close).is_ok());
    let deadline = Instant::now() + GOODBYE;
    while !connections.is_empty() && Instant::now() < deadline {
        // What comes is the answer, whatever it is; a heartbeat before it costs a clean end and
        // nothing else.
        connections.retain_mut(|connection| {
            matches!(connection.stream.read(&mut [0; 512]), Err(error) if timed_out(&error))
        });
        thread::sleep(GOODBYE / 100);
    }
}

fn open_all(run: &Run) -> Result<Vec<Idle>, PerfError> {
    let n = run.plan.idle_connections as usize;
    thread::scope(|scope| {
        let openers: Vec<_> = (0..OPENERS.min(n))
            .map(|opener| {
                scope.spawn(move || {
                    (opener..n)
                        .step_by(OPENERS)
                        .map(|i| open(run, i))
                        .collect::<Result<Vec<_>, _>>()
                })
            })
            .collect();
        let mut all = Vec::with_capacity(n);
        for opener in openers {
            all.append(&mut opener.join().map_err(|_| PerfError::Thread)??);
        }
        Ok(all)
    })
}

fn open(run: &Run, i: usize) -> Result<Idle, PerfError> {
    let name = format!("leveret perf idle {i}");
    let client = Client::connect(&run.plan.uri, &name, HEARTBEAT, 1024)?;
    let heartbeat = Duration::from_secs(client.heartbeat.into());
    let (stream, _) = client.into_parts();
    stream.set_nonblocking(true)?;
    Ok(Idle { stream, heartbeat, last_sent: Instant::now() })
}

impl Idle {
    /// Reads what is there and sends a heartbeat when half the interval is over.
    // spec: 4.2.7 heartbeats
    fn look(&mut self) -> Result<(), PerfError> {
        let mut bytes = [0; 512];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err(PerfError::Eof),
            Ok(n) => look_for_close(&bytes[..n])?,
            Err(error) if timed_out(&error) => {}
            Err(error) => return Err(error.into()),
        }
        if !self.heartbeat.is_zero() && self.last_sent.elapsed() >= self.heartbeat / 2 {
            let mut heartbeat = BytesMut::new();
            put_heartbeat(&mut heartbeat);
            match self.stream.write_all(&heartbeat) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
                _ => self.last_sent = Instant::now(),
            }
        }
        Ok(())
    }
}

/// An idle connection receives heartbeats, and at most a goodbye.
fn look_for_close(bytes: &[u8]) -> Result<(), PerfError> {
    let mut rest = bytes;
    while let Some((frame, len)) = Splitter::new(0).split(rest)? {
        if frame.kind == FrameKind::METHOD
            && let Method::Other(class) = wire::method(&frame)?
            && let Some(error) = closed(&class)
        {
            return Err(error);
        }
        rest = &rest[len..];
    }
    Ok(())
}
