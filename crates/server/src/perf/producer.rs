//! Hot path. One producer: a connection, a channel, and a thread that writes many messages at once.
//! Three ways of pacing: as fast as the broker takes it, a full window of unconfirmed messages, or
//! a fixed rate.

mod answers;

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Instant;

use bytes::BytesMut;
use leveret_codec::put_method;

use self::answers::Answers;
use super::client::{Client, SOCKET_TICK, close_method};
use super::error::PerfError;
use super::latency::Stamp;
use super::schedule::Schedule;
use super::shared::{Event, GRACE, ProducerState, Run};
use super::template::{Batch, Publish};
use super::wire::timed_out;

const CHANNEL: u16 = 1;
/// The stack of the thread that reads what the broker says.
const STACK: usize = 128 * 1024;

/// Runs producer `index` until the run stops it, its `--messages` are sent, or the broker ends it.
pub(super) fn run(
    run: &Run,
    index: usize,
    events: &SyncSender<Event>,
    buffer: usize,
) -> Result<(), PerfError> {
    let plan = &run.plan;
    let mut client = Client::connect(
        &plan.uri,
        &format!("leveret perf producer {index}"),
        0,
        buffer.min(64 * 1024),
    )?;
    client.open_channel(CHANNEL)?;
    if plan.confirms > 0 {
        client.select_confirms(CHANNEL)?;
    }
    let publish = Publish {
        channel: CHANNEL,
        exchange: &plan.exchange,
        routing_keys: &plan.keys_of_producer(index),
        size: plan.size,
        persistent: plan.persistent,
        frame_max: client.frame_max,
    };
    let batch = Batch::new(&publish, buffer)?;
    let frame_max = client.frame_max;
    let (stream, input) = client.into_parts();
    stream.set_write_timeout(Some(SOCKET_TICK))?;
    let state = &run.producers[index];
    let mut answers = Answers::new(stream.try_clone()?, input, frame_max, run, state);
    let mut producer = Producer { run, state, index, stream, batch, next: 0, sent: 0 };
    let _ = events.send(Event::Ready);
    let Some(started_ns) = run.wait_for_start() else { return producer.close(&mut answers) };
    if plan.confirms > 0 && plan.rate.is_none() {
        return producer.fill_window(&mut answers);
    }
    thread::scope(|scope| {
        let reader = thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, || answers.read_to_the_end())
            .map_err(|source| PerfError::Resources {
                what: "cannot start a thread".into(),
                source,
            })?;
        let wrote = match plan.rate {
            Some(rate) => {
                producer.keep_rate(&Schedule::new(rate, index, run.producers.len()), started_ns)
            }
            None => producer.flood(),
        };
        let wrote = wrote.and_then(|()| producer.say_goodbye());
        if wrote.is_err() {
            // Wakes the reader. The socket may be down already.
            let _ = producer.stream.shutdown(Shutdown::Both);
        }
        let read = reader.join().map_err(|_| PerfError::Thread)?;
        the_cause(wrote, read)
    })
}

/// Of a failed writer and a failed reader of one socket: what the broker said is the cause, a
/// broken pipe its effect.
fn the_cause(wrote: Result<(), PerfError>, read: Result<(), PerfError>) -> Result<(), PerfError> {
    match (wrote, read) {
        (Ok(()), read) => read,
        (
            Err(_),
            Err(said @ (PerfError::ConnectionClosed { .. } | PerfError::ChannelClosed { .. })),
        ) => Err(said),
        (Err(wrote), _) => Err(wrote),
    }
}

struct Producer<'r> {
    run: &'r Run,
    state: &'r ProducerState,
    index: usize,
    stream: TcpStream,
    batch: Batch,
    /// The message of the batch that is written next.
    next: usize,
    sent: u64,
}

impl Producer<'_> {
    /// As fast as the broker takes it. One message of every write is timed.
    fn flood(&mut self) -> Result<(), PerfError> {
        while !self.run.producing_stopped() {
            let n = self.at_most(self.left());
            if n == 0 {
                break;
            }
            self.write_timed_by_one(n)?;
        }
        Ok(())
    }

    /// Keeps `--confirms` messages unconfirmed. Writes and reads take turns on one thread: with a
    /// full window there is nothing to write before a confirm is read.
    fn fill_window(&mut self, answers: &mut Answers<'_>) -> Result<(), PerfError> {
        let result = self.take_turns(answers);
        let wrote = result.and_then(|()| self.say_goodbye());
        let read = answers.read_to_the_end();
        the_cause(wrote, read)
    }

    fn take_turns(&mut self, answers: &mut Answers<'_>) -> Result<(), PerfError> {
        while !self.run.producing_stopped() {
            let room = self.state.window.lock().room();
            let n = self.at_most(self.left().min(room));
            if n == 0 && self.left() == 0 {
                break;
            }
            if n == 0 {
                answers.read()?;
                continue;
            }
            let now_ns = self.run.clock.now_ns();
            self.state.window.lock().sent(n as u64, now_ns);
            self.write_timed_by_one(n)?;
        }
        let deadline = Instant::now() + GRACE;
        while !self.state.window.lock().is_empty() && Instant::now() < deadline {
            answers.read()?;
        }
        Ok(())
    }

    /// A fixed rate: every message carries the time it was due, however late it leaves.
    fn keep_rate(&mut self, schedule: &Schedule, started_ns: u64) -> Result<(), PerfError> {
        while !self.run.producing_stopped() && self.left() > 0 {
            self.run.sleep_until(started_ns + schedule.due_at_ns(self.sent));
            let now_ns = self.run.clock.now_ns();
            let due = schedule.due(now_ns - started_ns).saturating_sub(self.sent);
            let n = self.at_most(due.min(self.left()).min(self.wait_for_room()));
            if n == 0 {
                continue;
            }
            self.stamp_each(n, |sequence| started_ns + schedule.due_at_ns(sequence));
            self.write(n)?;
        }
        self.wait_for_confirms();
        Ok(())
    }

    /// Room in the window; without confirms there is always room. 0 after a while without any.
    fn wait_for_room(&self) -> u64 {
        if self.run.plan.confirms == 0 {
            return u64::MAX;
        }
        let mut window = self.state.window.lock();
        if window.room() == 0 {
            self.state.room.wait_for(&mut window, SOCKET_TICK);
        }
        window.room()
    }

    /// Stamps the next `n` messages, notes them in the window, and records how late they are.
    fn stamp_each(&mut self, n: usize, due_ns: impl Fn(u64) -> u64) {
        let now_ns = self.run.clock.now_ns();
        let confirms = self.run.plan.confirms > 0;
        let measured = self.run.measure_from_ns.load(Relaxed);
        let mut lag = self.state.send_lag.lock();
        let mut window = self.state.window.lock();
        for i in 0..n {
            let sequence = self.sent + i as u64;
            let due_ns = due_ns(sequence);
            self.batch.stamp(self.next + i, self.stamp(due_ns, sequence));
            if due_ns >= measured {
                lag.record(due_ns, now_ns, 1);
            }
            if confirms {
                window.sent(1, due_ns);
            }
        }
    }

    fn stamp(&self, due_ns: u64, sequence: u64) -> Stamp {
        Stamp { due_ns, run: self.run.id, producer: self.index as u16, sequence: sequence as u32 }
    }

    /// Messages that are still to be sent.
    fn left(&self) -> u64 {
        self.run.plan.messages.map_or(u64::MAX, |n| n - self.sent)
    }

    /// How many of `wanted` messages the batch has in one piece.
    fn at_most(&self, wanted: u64) -> usize {
        (self.batch.len() - self.next).min(usize::try_from(wanted).unwrap_or(usize::MAX))
    }

    /// Writes `n` messages of which the first carries the time of this write.
    fn write_timed_by_one(&mut self, n: usize) -> Result<(), PerfError> {
        let first = self.next;
        let now_ns = self.run.clock.now_ns();
        self.batch.stamp(first, self.stamp(now_ns, self.sent));
        let result = self.write(n);
        self.batch.clear_stamp(first);
        result
    }

    /// Writes the next `n` messages. When the run stops on the way, fewer, but whole ones.
    fn write(&mut self, n: usize) -> Result<(), PerfError> {
        let range = self.batch.range(self.next, n);
        let (mut at, mut end) = (range.start, range.end);
        let mut deadline = None;
        while at < end {
            match (&self.stream).write(&self.batch.bytes()[at..end]) {
                Ok(written) => at += written,
                Err(error) if timed_out(&error) => {
                    if self.run.producing_stopped() {
                        end = self.batch.whole_before(at).1;
                        let deadline = *deadline.get_or_insert_with(|| Instant::now() + GRACE);
                        if Instant::now() > deadline {
                            break;
                        }
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        let whole = self.batch.whole_before(at).0 - self.next;
        self.sent += whole as u64;
        self.state.sent.store(self.sent, Relaxed);
        self.next = (self.next + whole) % self.batch.len();
        if at < end {
            return Err(PerfError::NoAnswer { what: "our writes", seconds: GRACE.as_secs() });
        }
        Ok(())
    }

    fn wait_for_confirms(&self) {
        let deadline = Instant::now() + GRACE;
        let mut window = self.state.window.lock();
        while !window.is_empty() && !self.state.closed.load(Relaxed) && Instant::now() < deadline {
            self.state.room.wait_for(&mut window, SOCKET_TICK);
        }
    }

    /// connection.close: its answer says that the broker has taken all that was sent before.
    fn say_goodbye(&mut self) -> Result<(), PerfError> {
        let mut bytes = BytesMut::new();
        put_method(&mut bytes, 0, &close_method());
        let deadline = Instant::now() + GRACE;
        while !bytes.is_empty() {
            match (&self.stream).write(&bytes) {
                Ok(n) => drop(bytes.split_to(n)),
                Err(error) if timed_out(&error) && Instant::now() < deadline => {}
                Err(error) if timed_out(&error) => {
                    return Err(PerfError::NoAnswer {
                        what: "our writes",
                        seconds: GRACE.as_secs(),
                    });
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.state.said_goodbye.store(true, Relaxed);
        Ok(())
    }

    fn close(&mut self, answers: &mut Answers<'_>) -> Result<(), PerfError> {
        self.say_goodbye()?;
        answers.read_to_the_end()
    }
}
