//! What the broker tells a producer: confirms, blocked and unblocked, and the end.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use leveret_codec::amqp::{AMQPClass, connection};
use leveret_codec::{FrameKind, Method, Splitter};

use crate::perf::client::closed;
use crate::perf::error::PerfError;
use crate::perf::latency::Latency;
use crate::perf::shared::{GRACE, ProducerState, Run};
use crate::perf::window::Window;
use crate::perf::wire::{self, ReadBuffer, timed_out};

/// The reading side of a producer's connection.
pub(super) struct Answers<'r> {
    stream: TcpStream,
    input: ReadBuffer,
    splitter: Splitter,
    run: &'r Run,
    state: &'r ProducerState,
}

impl<'r> Answers<'r> {
    pub(super) fn new(
        stream: TcpStream,
        input: ReadBuffer,
        frame_max: u32,
        run: &'r Run,
        state: &'r ProducerState,
    ) -> Self {
        Self { stream, input, splitter: Splitter::new(frame_max), run, state }
    }

    /// Reads until the broker answers our connection.close. It may take [`GRACE`] for that after it
    /// was sent.
    pub(super) fn read_to_the_end(&mut self) -> Result<(), PerfError> {
        let mut deadline = None;
        while !self.state.closed.load(Relaxed) {
            let got = self.read().inspect_err(|_| {
                // Wakes a writer that waits for the broker to take more. The socket may be down
                // already.
                let _ = self.stream.shutdown(Shutdown::Both);
            })?;
            if !got && self.state.said_goodbye.load(Relaxed) {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + GRACE);
                if Instant::now() > deadline {
                    return Err(PerfError::NoAnswer {
                        what: "connection.close",
                        seconds: GRACE.as_secs(),
                    });
                }
            }
        }
        Ok(())
    }

    /// One read and what follows from it; `false` when nothing came.
    pub(super) fn read(&mut self) -> Result<bool, PerfError> {
        match self.input.fill(&mut self.stream) {
            Ok(0) => return Err(PerfError::Eof),
            Ok(_) => {}
            Err(error) if timed_out(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        self.frames()?;
        Ok(true)
    }

    /// Everything that was read, under one lock.
    fn frames(&mut self) -> Result<(), PerfError> {
        let mut confirms = Confirms {
            now_ns: self.run.clock.now_ns(),
            measure_from_ns: self.run.measure_from_ns.load(Relaxed),
            window: &mut self.state.window.lock(),
            latency: &mut self.state.confirm_latency.lock(),
            settled: 0,
        };
        let mut nacked = 0;
        let state = self.state;
        while let Some(()) = self.input.take_frame(self.splitter, |frame| {
            if frame.kind != FrameKind::METHOD {
                return Ok(());
            }
            match wire::method(&frame)? {
                Method::Ack { delivery_tag, multiple } => {
                    confirms.confirm(delivery_tag, multiple);
                }
                Method::Nack { delivery_tag, multiple, .. } => {
                    nacked += confirms.confirm(delivery_tag, multiple);
                }
                Method::Other(class) => other(state, &class)?,
                _ => {}
            }
            Ok(())
        })? {}
        if confirms.settled > 0 {
            state.confirmed.fetch_add(confirms.settled - nacked, Relaxed);
            state.nacked.fetch_add(nacked, Relaxed);
            state.room.notify_one();
        }
        Ok(())
    }
}

struct Confirms<'a> {
    now_ns: u64,
    measure_from_ns: u64,
    window: &'a mut Window,
    latency: &'a mut Latency,
    settled: u64,
}

impl Confirms<'_> {
    fn confirm(&mut self, tag: u64, multiple: bool) -> u64 {
        let Self { now_ns, measure_from_ns, window, latency, settled } = self;
        let n = window.confirmed(tag, multiple, |due_ns, n| {
            if due_ns >= *measure_from_ns {
                latency.record(due_ns, *now_ns, n);
            }
        });
        *settled += n;
        n
    }
}

fn other(state: &ProducerState, class: &AMQPClass) -> Result<(), PerfError> {
    match class {
        AMQPClass::Connection(connection::AMQPMethod::Blocked(_)) => {
            state.blocked.store(true, Relaxed)
        }
        AMQPClass::Connection(connection::AMQPMethod::Unblocked(_)) => {
            state.blocked.store(false, Relaxed)
        }
        AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)) => {
            state.closed.store(true, Relaxed)
        }
        class => return closed(class).map_or(Ok(()), Err),
    }
    Ok(())
}
