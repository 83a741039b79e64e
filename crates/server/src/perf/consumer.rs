//! Hot path. One consumer: a connection, a channel, and a thread that reads as much as there is and
//! acknowledges with one write per read.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use bytes::BytesMut;
use leveret_codec::amqp::{AMQPClass, basic, connection};
use leveret_codec::{Frame, Method, put_ack, put_method};
use parking_lot::MutexGuard;

use super::client::{ANSWER_WAIT, Client, SOCKET_TICK, close_method, closed};
use super::error::PerfError;
use super::latency::{Clock, Latency, Stamp};
use super::order::Order;
use super::scan::{Deliveries, Scanner, Sink};
use super::shared::{ConsumerState, Event, GRACE, Run};
use super::wire::{self, ReadBuffer, timed_out};

const CHANNEL: u16 = 1;

/// Runs consumer `index` until the run stops it, it has its `--messages`, or the broker ends it.
pub(super) fn run(
    run: &Run,
    index: usize,
    events: &SyncSender<Event>,
    buffer: usize,
) -> Result<(), PerfError> {
    let queues = run.plan.queues_of_consumer(index);
    let name = format!("leveret perf consumer {index}");
    let mut client = Client::connect(&run.plan.uri, &name, 0, buffer)?;
    client.open_channel(CHANNEL)?;
    if run.plan.prefetch > 0 {
        client.set_prefetch(CHANNEL, run.plan.prefetch)?;
    }
    for (i, queue) in queues.iter().enumerate() {
        client.queue_method(CHANNEL, &consume(queue, i, run.plan.ack_every == 0));
    }
    client.flush()?;
    let frame_max = client.frame_max;
    let (stream, input) = client.into_parts();
    let mut consumer = Consumer {
        run,
        state: &run.consumers[index],
        stream,
        input,
        scanner: Scanner::new(frame_max),
        tally: Tally::new(run, &queues),
    };
    let result = consumer.wait_until_ready(queues.len()).and_then(|()| {
        let _ = events.send(Event::Ready);
        consumer.consume()
    });
    match result {
        Err(PerfError::Cancelled { queue: tag }) => {
            let queue = queues.into_iter().enumerate().find(|(i, _)| consumer_tag(*i) == tag);
            Err(PerfError::Cancelled { queue: queue.map_or(tag, |(_, queue)| queue) })
        }
        Err(error) => Err(error),
        Ok(()) => {
            consumer.close();
            Ok(())
        }
    }
}

/// The tag of a consumer's queue `i`; short, since it is repeated in every delivery.
fn consumer_tag(i: usize) -> String {
    format!("c{i}")
}

fn consume(queue: &str, i: usize, no_ack: bool) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Consume(basic::Consume {
        queue: queue.into(),
        consumer_tag: consumer_tag(i).as_str().into(),
        no_local: false,
        no_ack,
        exclusive: false,
        nowait: false,
        arguments: Default::default(),
    }))
}

struct Consumer<'r> {
    run: &'r Run,
    state: &'r ConsumerState,
    stream: TcpStream,
    input: ReadBuffer,
    scanner: Scanner,
    tally: Tally<'r>,
}

impl Consumer<'_> {
    /// Reads until the broker has answered every basic.consume. Deliveries may come in between.
    fn wait_until_ready(&mut self, queues: usize) -> Result<(), PerfError> {
        let deadline = Instant::now() + ANSWER_WAIT;
        self.scan()?;
        while self.tally.ready < queues {
            if Instant::now() > deadline {
                return Err(PerfError::NoAnswer {
                    what: "basic.consume",
                    seconds: ANSWER_WAIT.as_secs(),
                });
            }
            self.read()?;
        }
        Ok(())
    }

    fn consume(&mut self) -> Result<(), PerfError> {
        let enough = match self.run.plan.messages {
            Some(n) if self.run.plan.producers == 0 => n,
            _ => u64::MAX,
        };
        while !self.run.consuming_stopped() && self.tally.received < enough {
            self.read()?;
        }
        Ok(())
    }

    /// One read and what follows from it. A timeout sends the acks that are not a full
    /// `--ack-every` yet.
    fn read(&mut self) -> Result<(), PerfError> {
        match self.input.fill(&mut self.stream) {
            Ok(0) => return Err(PerfError::Eof),
            Ok(_) => self.scan()?,
            Err(error) if timed_out(&error) => self.tally.ack_rest(),
            Err(error) => return Err(error.into()),
        }
        self.flush()
    }

    fn scan(&mut self) -> Result<(), PerfError> {
        self.tally.begin(self.run, self.state);
        let result = self.scanner.scan(self.input.unread(), &mut self.tally);
        self.tally.end(self.state);
        self.input.consume(result?);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), PerfError> {
        if !self.tally.acks.is_empty() {
            self.stream.write_all(&self.tally.acks)?;
            self.tally.acks.clear();
        }
        Ok(())
    }

    /// Says goodbye, so that the broker gets the last acks. The run is over: what goes wrong now
    /// changes nothing.
    fn close(&mut self) {
        self.tally.ack_rest();
        put_method(&mut self.tally.acks, 0, &close_method());
        let deadline = Instant::now() + GRACE.min(10 * SOCKET_TICK);
        let mut result = self.flush();
        while result.is_ok() && !self.tally.closed && Instant::now() < deadline {
            result = self.read();
        }
    }
}

/// Counts what the scanner finds and collects the acks for it.
struct Tally<'r> {
    clock: Clock,
    run_id: u16,
    stamped: bool,
    ack_every: u64,
    received: u64,
    /// Deliveries since the last ack.
    unacked: u64,
    last_tag: u64,
    acks: BytesMut,
    /// basic.consume-ok seen.
    ready: usize,
    /// connection.close-ok seen.
    closed: bool,
    order: Option<Order>,
    /// Of this read: when it was, from when on messages are measured, and where latency goes.
    now_ns: u64,
    measure_from_ns: u64,
    latency: Option<MutexGuard<'r, Latency>>,
}

impl<'r> Tally<'r> {
    fn new(run: &Run, queues: &[String]) -> Self {
        Self {
            clock: run.clock,
            run_id: run.id,
            stamped: run.plan.stamped(),
            ack_every: run.plan.ack_every.into(),
            received: 0,
            unacked: 0,
            last_tag: 0,
            acks: BytesMut::new(),
            ready: 0,
            closed: false,
            // Several queues have no order between them.
            order: (queues.len() == 1).then(Order::default),
            now_ns: 0,
            measure_from_ns: 0,
            latency: None,
        }
    }

    /// Before the frames of one read.
    fn begin(&mut self, run: &Run, state: &'r ConsumerState) {
        if self.stamped {
            self.now_ns = self.clock.now_ns();
            self.measure_from_ns = run.measure_from_ns.load(Relaxed);
            self.latency = Some(state.latency.lock());
        }
    }

    /// After the frames of one read.
    fn end(&mut self, state: &ConsumerState) {
        self.latency = None;
        state.received.store(self.received, Relaxed);
        if let Some(order) = &self.order {
            state.out_of_order.store(order.violations(), Relaxed);
        }
    }

    #[inline]
    fn body(&mut self, redelivered: bool, body: &[u8]) {
        if let Some(stamp) = Stamp::read(body) {
            self.timed(redelivered, stamp);
        }
    }

    fn timed(&mut self, redelivered: bool, stamp: Stamp) {
        if let Some(latency) = &mut self.latency
            && stamp.due_ns >= self.measure_from_ns
        {
            latency.record(stamp.due_ns, self.now_ns, 1);
        }
        if let Some(order) = &mut self.order
            && stamp.run == self.run_id
            && !redelivered
        {
            order.see(stamp.producer, stamp.sequence);
        }
    }

    /// Acknowledges every full `ack_every` among `n` deliveries whose tags `tag` gives.
    #[inline]
    fn ack(&mut self, n: usize, tag: impl Fn(usize) -> u64) {
        if self.ack_every == 0 || n == 0 {
            return;
        }
        let mut done = 0;
        while n as u64 - done >= self.ack_every - self.unacked {
            done += self.ack_every - self.unacked;
            put_ack(&mut self.acks, CHANNEL, tag(done as usize - 1), self.ack_every > 1);
            self.unacked = 0;
        }
        self.unacked += n as u64 - done;
        self.last_tag = tag(n - 1);
    }

    /// Acknowledges what is left.
    fn ack_rest(&mut self) {
        if self.unacked > 0 {
            put_ack(&mut self.acks, CHANNEL, self.last_tag, true);
            self.unacked = 0;
        }
    }
}

impl Sink for Tally<'_> {
    fn run(&mut self, deliveries: Deliveries<'_>) {
        self.received += deliveries.len() as u64;
        if self.stamped {
            for (redelivered, body) in deliveries.bodies() {
                self.body(redelivered, body);
            }
        }
        self.ack(deliveries.len(), |i| deliveries.tag(i));
    }

    fn one(&mut self, tag: u64, redelivered: bool, head: &[u8]) {
        self.received += 1;
        if self.stamped {
            self.body(redelivered, head);
        }
        self.ack(1, |_| tag);
    }

    fn method(&mut self, frame: Frame<'_>) -> Result<(), PerfError> {
        let Method::Other(class) = wire::method(&frame)? else { return Ok(()) };
        match class {
            AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(_)) => self.ready += 1,
            AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)) => {
                return Err(PerfError::Cancelled { queue: cancel.consumer_tag.to_string() });
            }
            AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)) => self.closed = true,
            other => return closed(&other).map_or(Ok(()), Err),
        }
        Ok(())
    }
}
