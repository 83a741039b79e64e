//! What a broken, foolish or hostile client can send, and that nobody else notices it: during each test a
//! bystander publishes and consumes, and the broker's memory is watched. `docs/bad-input.md` has the table.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use leveret_tests::codec::{
    FRAME_END, FrameKind, PropertiesWriter, REFUSAL, TableWriter, put_content_header, put_method,
    put_publish,
};
use leveret_tests::{
    AMQPClass, Broker, Bystander, Call as _, Client, Login, Options, Outgoing, PATIENCE, Stopwatch,
    allow_descriptors, arguments, basic, channel, connection, eventually, queue, text,
};
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};

/// Runs `deed` against the broker while a bystander is served, and bounds the memory it costs.
fn harmless(broker: &Broker, what: &str, limit_mib: u64, deed: impl FnOnce(&Broker)) {
    let bystander = Bystander::start(broker);
    let memory = broker.memory();
    let time = Stopwatch::start();
    deed(broker);
    let took = time.elapsed();
    let served = bystander.finish();
    eprintln!(
        "measured: {what}: {took:?}, the bystander's slowest of {} messages took {:?}",
        served.messages, served.slowest
    );
    if let Some(memory) = memory {
        memory.check_peak(what, limit_mib);
    }
}

/// A frame, whole and well-formed whatever its payload is.
fn frame(kind: FrameKind, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame_head(kind, channel, payload.len() as u32).to_vec();
    bytes.extend_from_slice(payload);
    bytes.push(FRAME_END);
    bytes
}

fn frame_head(kind: FrameKind, channel: u16, size: u32) -> [u8; 7] {
    let [c0, c1] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = size.to_be_bytes();
    [kind.0, c0, c1, s0, s1, s2, s3]
}

/// The frames of a publish to the default exchange up to its header, which announces `size` bytes.
fn publish_head(channel: u16, routing_key: &str, size: u64) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    let mut address = vec![0, routing_key.len() as u8];
    address.extend_from_slice(routing_key.as_bytes());
    put_publish(&mut out, channel, &address, false);
    put_content_header(&mut out, channel, size, &[0, 0]);
    out.to_vec()
}

/// The bytes of a table of one field that holds a table of one field and so on, `depth` in all.
fn nested_table(depth: usize) -> Vec<u8> {
    let mut table = Vec::new();
    for _ in 1..depth {
        let mut outer = Vec::with_capacity(table.len() + 6);
        outer.extend_from_slice(&[0, b'F']);
        outer.extend_from_slice(&(table.len() as u32).to_be_bytes());
        outer.extend_from_slice(&table);
        table = outer;
    }
    table
}

fn socket(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Everything that the broker says until it closes the socket.
fn read_to_end(socket: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    match socket.read_to_end(&mut said) {
        Ok(_) => said,
        // It closed while bytes were under way to it.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => said,
        Err(error) => panic!("the broker does not close the socket: {error}; it said {said:?}"),
    }
}

/// Writes until the socket takes no more, at most all of it.
fn write_what_fits(socket: &mut TcpStream, mut bytes: &[u8]) {
    socket.set_nonblocking(true).unwrap();
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(_) => break,
        }
    }
    socket.set_nonblocking(false).unwrap();
}

fn megabyte_of_noise(seed: u64) -> Vec<u8> {
    let mut noise = vec![0; 1_000_000];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut noise);
    noise
}

#[test]
fn noise_instead_of_a_header_is_refused_on_1000_connections() {
    let broker = Broker::start();
    harmless(&broker, "1 MB of noise on each of 1,000 connections", 8, |broker| {
        let mut noise = megabyte_of_noise(1);
        // Not by chance the start of a header.
        noise[0] = b'Z';
        for _ in 0..1_000 {
            let mut socket = socket(broker.amqp());
            socket.write_all(&noise[..64]).unwrap();
            let mut answer = [0; 8];
            socket.read_exact(&mut answer).unwrap();
            let expected = if broker.is_own() { &REFUSAL } else { &REFUSAL[..4] };
            assert_eq!(&answer[..expected.len()], expected);
            write_what_fits(&mut socket, &noise[64..]);
            assert_eq!(read_to_end(&mut socket), b"");
        }
    });
}

#[test]
fn noise_after_the_header_ends_the_connection() {
    allow_descriptors();
    let broker = Broker::start();
    harmless(&broker, "a header and 1 MB of noise on each of 500 connections", 16, |broker| {
        let noise = megabyte_of_noise(2);
        let mut sockets: Vec<_> = (0..500)
            .map(|_| {
                let mut socket = socket(broker.amqp());
                socket.write_all(&REFUSAL).unwrap();
                write_what_fits(&mut socket, &noise);
                socket
            })
            .collect();
        for socket in &mut sockets {
            let said = read_to_end(socket);
            // connection.start, if it came before the reset, and not one word more.
            assert!(
                said.is_empty() || said.ends_with(&[FRAME_END]) && said[7..11] == [0, 10, 0, 10]
            );
        }
    });
}

#[test]
fn silence_in_the_handshake_is_closed_at_its_deadline() {
    let options = Options::default().set("LEVERET_AMQP_HANDSHAKE_TIMEOUT", "700");
    let broker = Broker::with(&options);
    let limit = Duration::from_secs(if broker.is_own() { 5 } else { 15 });
    harmless(&broker, "silence at each step of the handshake", 8, |broker| {
        let login = Login::default();
        let step = |n: usize| {
            let mut client = Client::mute(broker.amqp());
            match n {
                0 => {}
                1 => client.send_bytes(b"AMQ"),
                _ => drop(client.greet()),
            }
            if n == 3 {
                client.send_bytes(&frame_head(FrameKind::METHOD, 0, 400));
            }
            if n >= 4 {
                client.start_ok(&login, login.client_properties());
                let tune = client.tune().unwrap();
                if n == 5 {
                    client.tune_ok(&login, &tune);
                }
            }
            client
        };
        let mut clients: Vec<_> = (0..=5).map(step).collect();
        for client in &mut clients {
            client.expect_silent_end(limit);
        }
    });
}

#[test]
fn half_a_frame_then_silence_is_closed_by_the_heartbeat() {
    let broker = Broker::start();
    harmless(&broker, "half a frame, then silence", 8, |broker| {
        let login = Login { heartbeat: 1, ..Login::default() };
        let mut client = Client::login(broker.amqp(), &login);
        client.send_bytes(&frame_head(FrameKind::METHOD, 0, 100));
        client.send_bytes(&[0; 50]);
        client.expect_silent_end(Duration::from_secs(8));
        assert!(client.heartbeats() > 0, "the broker keeps its side of the bargain");
    });
}

#[test]
fn frame_of_4_gb_is_refused_at_its_head() {
    let broker = Broker::start();
    harmless(&broker, "a frame head that announces 4 GB", 8, |broker| {
        let head = frame_head(FrameKind::METHOD, 0, u32::MAX);
        let mut stranger = Client::mute(broker.amqp());
        stranger.greet();
        stranger.send_bytes(&head);
        stranger.expect_silent_end(Duration::from_secs(8));
        let mut client = Client::connect(broker);
        client.send_bytes(&head);
        let text = "FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,4294967295,131064}";
        client.expect_close(0, 501, text);
    });
}

#[test]
fn tables_nested_without_end_are_refused() {
    let broker = Broker::start();
    harmless(&broker, "tables nested 10,000 deep", 8, |broker| {
        // What a stranger may send before the login is at most one small frame.
        for depth in [1_300, 10_000] {
            let mut stranger = Client::mute(broker.amqp());
            stranger.greet();
            let table = nested_table(depth);
            let mut payload = vec![0, 10, 0, 11];
            payload.extend_from_slice(&(table.len() as u32).to_be_bytes());
            payload.extend_from_slice(&table);
            payload.extend_from_slice(b"\x05PLAIN\x00\x00\x00\x0c\0guest\0guest\x05en_US");
            stranger.send_bytes(&frame(FrameKind::METHOD, 0, &payload));
            if broker.is_own() || depth == 10_000 {
                stranger.expect_silent_end(Duration::from_secs(8));
            }
        }
        if broker.is_own() {
            nested_tables_of_a_client(broker);
        }
    });
}

/// RabbitMQ takes these; leveret's parsers have a bound.
fn nested_tables_of_a_client(broker: &Broker) {
    let table = nested_table(10_000);
    let mut client = Client::connect(broker);
    let queue = client.declare_own(1);
    let properties = PropertiesWriter { headers: Some(&table), ..PropertiesWriter::default() };
    client.publish(1, &Outgoing::new("", &queue, "deep").with(&properties));
    let closed = client.closed();
    assert_eq!((closed.channel, closed.code), (0, 501), "{closed:?}");

    let mut client = Client::connect(broker);
    let mut payload = b"\x00\x32\x00\x0a\x00\x00\x01q\x00".to_vec();
    payload.extend_from_slice(&(table.len() as u32).to_be_bytes());
    payload.extend_from_slice(&table);
    client.send_bytes(&frame(FrameKind::METHOD, 1, &payload));
    let closed = client.closed();
    assert_eq!((closed.channel, closed.code), (0, 501), "{closed:?}");
    assert!(closed.text.starts_with("FRAME_ERROR - cannot decode <<"), "{closed:?}");
}

#[test]
fn consumer_that_never_reads_holds_up_nobody() {
    const MESSAGES: u64 = 100_000;
    let broker = Broker::start();
    // Memory: the messages that the other consumer has not taken yet, more on a slow day, and what the
    // silent one was given before its socket was full.
    harmless(&broker, "a consumer that never reads while 100 MB go by", 128, |broker| {
        let mut publisher = Client::connect(broker);
        publisher.confirms(1);
        publisher.declare(1, "half-deaf");
        let mut deaf = Client::connect(broker);
        deaf.consume(1, "half-deaf", "deaf", true);
        let mut listener = Client::connect(broker);
        listener.consume(1, "half-deaf", "listener", true);
        let reader = std::thread::spawn(move || {
            let (mut last, mut count) = (0, 0);
            while let Some(message) = listener.message_within(1, PATIENCE) {
                let number = message.number();
                assert!(number > last, "{number} after {last}");
                (last, count) = (number, count + 1);
                if last == MESSAGES {
                    break;
                }
            }
            (last, count)
        });
        let mut body = vec![7; 1_000];
        let mut message = Outgoing::new("", "half-deaf", "");
        for number in 1..=MESSAGES {
            body[..8].copy_from_slice(&number.to_be_bytes());
            message.set_body(&body);
            publisher.publish_later(1, &message);
            if number % 1_000 == 0 {
                publisher.flush_publishes();
                publisher.all_confirmed(1, number - 999, 1_000);
            }
        }
        // Everything but what the silent one was given before its socket was full: some megabytes.
        let (last, count) = reader.join().unwrap();
        assert_eq!(last, MESSAGES);
        assert!(count > MESSAGES / 4 * 3, "{count}");
        drop(deaf);
        let mut client = Client::connect(broker);
        let gone = queue::Delete { queue: "half-deaf".into(), ..queue::Delete::default() };
        client.call(1, gone);
    });
}

#[test]
fn queue_of_a_consumer_that_never_reads_keeps_its_length_limit() {
    let broker = Broker::start();
    harmless(&broker, "100 MB to a limited queue whose consumer never reads", 32, |broker| {
        let mut client = Client::connect(broker);
        client.confirms(1);
        let limit = arguments([("x-max-length", 1_000.into())]);
        client.declare_with(1, "limited-deaf", limit);
        let mut deaf = Client::connect(broker);
        deaf.consume(1, "limited-deaf", "deaf", true);
        let message = Outgoing::new("", "limited-deaf", vec![7; 1_000]);
        for batch in 0..100 {
            for _ in 0..1_000 {
                client.publish_later(1, &message);
            }
            client.flush_publishes();
            client.all_confirmed(1, batch * 1_000 + 1, 1_000);
        }
        assert!(client.counts(1, "limited-deaf").0 <= 1_000);
        drop(deaf);
        let gone = queue::Delete { queue: "limited-deaf".into(), ..queue::Delete::default() };
        client.call(1, gone);
    });
}

#[test]
fn channels_end_at_channel_max() {
    let broker = Broker::start();
    harmless(&broker, "channels up to channel_max and one more", 16, |broker| {
        let mut client = Client::login(broker.amqp(), &Login::default());
        for number in 1..=2047 {
            client.open(number);
        }
        let one_more = client.refused(2048, channel::Open::default());
        let text = "NOT_ALLOWED - number of channels opened (2047) has reached the negotiated \
                    channel_max (2047)";
        assert_eq!((one_more.channel, one_more.code, one_more.text.as_str()), (0, 530, text));

        // The limit is on how many are open, not on their numbers.
        let login = Login { channel_max: 2, ..Login::default() };
        let mut client = Client::login(broker.amqp(), &login);
        client.open(60_000);
        client.open(9);
        client.close_channel(60_000);
        client.open(60_001);
        assert_eq!(client.refused(1, channel::Open::default()).code, 530);
    });
}

#[test]
fn unknown_methods_end_the_connection() {
    let broker = Broker::start();
    harmless(&broker, "methods that do not exist", 8, |broker| {
        for payload in
            [&[0, 60, 3, 231][..], &[3, 231, 0, 10], &[0, 60, 0, 11], &[0, 0, 0, 0, 1, 2]]
        {
            let mut client = Client::connect(broker);
            client.send_bytes(&frame(FrameKind::METHOD, 1, payload));
            if broker.is_own() {
                client.expect_close(0, 503, "COMMAND_INVALID - unimplemented method");
            } else {
                // RabbitMQ's reader crashes.
                client.expect_end();
            }
        }
    });
}

#[test]
fn clients_that_die_within_a_publish_leave_nothing() {
    let broker = Broker::start();
    harmless(&broker, "500 clients that die within a publish of 1 MB", 32, |broker| {
        let mut watcher = Client::connect(broker);
        watcher.declare(1, "cut-off");
        let mut whole = publish_head(1, "cut-off", 1_000_000);
        for piece in vec![5; 1_000_000].chunks(131_064) {
            whole.extend_from_slice(&frame(FrameKind::BODY, 1, piece));
        }
        let mut random = SmallRng::seed_from_u64(3);
        for _ in 0..500 {
            let mut client = Client::connect(broker);
            let cut = random.next_u64() as usize % whole.len();
            client.send_bytes(&whole[..cut]);
            // Dropped with its socket.
        }
        assert_eq!(watcher.counts(1, "cut-off").0, 0);
        let mut client = Client::connect(broker);
        client.send_bytes(&whole);
        eventually("the one whole message is there", PATIENCE, || {
            (watcher.counts(1, "cut-off").0 == 1).then_some(())
        });
    });
}

#[test]
fn bodies_unlike_their_announcement_end_the_connection() {
    let broker = Broker::start();
    harmless(&broker, "bodies longer than announced", 8, |broker| {
        let mut client = Client::connect(broker);
        client.send_bytes(&publish_head(1, "nowhere", 3));
        client.send_bytes(&frame(FrameKind::BODY, 1, b"four"));
        let text = "FRAME_ERROR - content body frame exceeds remaining content size";
        client.expect_close(0, 501, text);

        let mut client = Client::connect(broker);
        client.send_bytes(&publish_head(1, "nowhere", 536_870_913));
        let text = "FRAME_ERROR - content body size 536870913 exceeds maximum allowed size \
                    536870912";
        client.expect_close(0, 501, text);

        if !broker.is_own() {
            return;
        }
        // Above the configured size the channel is closed at once; RabbitMQ takes the whole body first.
        let mut client = Client::connect(broker);
        client.open(2);
        client.send_bytes(&publish_head(2, "nowhere", 500_000_000));
        let closed = client.closed();
        assert_eq!((closed.channel, closed.code), (2, 406), "{closed:?}");
        client.declare(1, "still-there");
    });
}

#[test]
fn a_large_body_that_never_comes_costs_nothing() {
    let broker = Broker::start();
    harmless(&broker, "2,000 announcements of 10 MB without a body", 16, |broker| {
        let mut clients: Vec<_> = (0..2).map(|_| Client::connect(broker)).collect();
        for client in &mut clients {
            for number in 2..=1_000 {
                client.open(number);
                client.send_bytes(&publish_head(number, "nowhere", 10_000_000));
                client.send_bytes(&frame(FrameKind::BODY, number, &[1; 100]));
            }
            // Answered after all of it has been read.
            client.declare_own(1);
        }
    });
}

#[test]
fn empty_things_are_taken_or_named() {
    let broker = Broker::start();
    harmless(&broker, "everything of length zero", 8, |broker| {
        let mut client = Client::connect(broker);
        client.confirms(1);
        let queue = client.declare_own(1);
        client.publish_confirmed(1, &Outgoing::new("", &queue, ""));
        // A body frame of nothing before the body itself.
        client.send_bytes(&publish_head(1, &queue, 2));
        client.send_bytes(&frame(FrameKind::BODY, 1, b""));
        client.send_bytes(&frame(FrameKind::BODY, 1, b"ok"));
        assert_eq!(client.next_confirm(1), (2, false, true));
        assert_eq!(client.get(1, &queue, true).unwrap().body, b"");
        assert_eq!(client.get(1, "", true).unwrap().body, b"ok");
        client.publish_confirmed(1, &Outgoing::new("", "", ""));

        let mut client = Client::connect(broker);
        let nameless = queue::Bind { exchange: "amq.topic".into(), ..queue::Bind::default() };
        let refused = client.refused(1, nameless);
        assert_eq!(refused.text, "NOT_FOUND - no previously declared queue");
        client.open(1);
        let typeless = leveret_tests::exchange::Declare {
            exchange: "typeless".into(),
            ..leveret_tests::exchange::Declare::default()
        };
        let refused = client.refused(1, typeless);
        assert_eq!(refused.text, "PRECONDITION_FAILED - invalid exchange type ''");

        for (kind, text) in [
            (FrameKind::METHOD, "FRAME_ERROR - type 1, all octets = <<>>: unknown_frame"),
            (FrameKind::HEADER, "FRAME_ERROR - type 2, all octets = <<>>: unknown_frame"),
        ] {
            let mut client = Client::connect(broker);
            client.send_bytes(&frame(kind, 1, b""));
            client.expect_close(0, 501, text);
        }
    });
}

#[test]
fn publishes_to_no_exchange_close_the_channel_once() {
    const MESSAGES: u64 = 200_000;
    let broker = Broker::start();
    harmless(&broker, "200,000 publishes to an exchange that does not exist", 8, |broker| {
        let mut client = Client::connect(broker);
        client.open(2);
        let message = Outgoing::new("no-such-exchange", "key", vec![0; 100]);
        for _ in 0..MESSAGES {
            client.publish_later(1, &message);
        }
        client.flush_publishes();
        client.expect_close(1, 404, "NOT_FOUND - no exchange 'no-such-exchange' in vhost '/'");
        // Everything after the first was dropped in silence, and the number can be used again.
        client.open(1);
        client.declare_own(1);
        client.declare_own(2);
    });
}

#[test]
fn flood_of_queues_goes_with_its_connection() {
    const QUEUES: u64 = 10_000;
    let broker = Broker::start();
    harmless(&broker, "10,000 exclusive queues declared without waiting", 32, |broker| {
        let mut client = Client::connect(broker);
        client.set_patience(Duration::from_secs(60));
        for number in 0..QUEUES {
            let declare = queue::Declare {
                queue: format!("flood-{number}").into(),
                exclusive: true,
                nowait: true,
                ..queue::Declare::default()
            };
            client.send(1, declare);
        }
        assert_eq!(client.counts(1, "flood-9999"), (0, 0));
        client.close();
        let mut client = Client::connect(broker);
        eventually("the queues are gone", Duration::from_secs(30), || {
            for number in [0, QUEUES / 2, QUEUES - 1] {
                let name = format!("flood-{number}");
                let passive =
                    queue::Declare { queue: name.into(), passive: true, ..Default::default() };
                let refused = client.refused(1, passive);
                client.open(1);
                if refused.code != 404 {
                    return None;
                }
            }
            Some(())
        });
    });
}

#[test]
fn flood_of_heartbeats_is_read_and_forgotten() {
    let broker = Broker::start();
    harmless(&broker, "1,000,000 heartbeats", 8, |broker| {
        let mut client = Client::connect(broker);
        let thousand = frame(FrameKind::HEARTBEAT, 0, b"").repeat(1_000);
        for _ in 0..1_000 {
            client.send_bytes(&thousand);
        }
        client.declare_own(1);
    });
}

#[test]
fn client_that_reads_no_answers_is_not_read_either() {
    const MEGABYTES: usize = 200;
    let broker = Broker::start();
    harmless(&broker, "calls without end from a client that reads no answer", 8, |broker| {
        let mut client = Client::connect(broker);
        client.declare(1, "unanswered");
        let passive =
            queue::Declare { queue: "unanswered".into(), passive: true, ..Default::default() };
        let mut call = bytes::BytesMut::new();
        put_method(&mut call, 1, &passive.method());
        let calls = call.repeat(1_000_000 / call.len());
        let mut deaf = socket(broker.amqp());
        deaf.write_all(&deaf_login()).unwrap();
        let written = write_until_unread(&mut deaf, &calls, MEGABYTES);
        eprintln!("measured: the broker stopped reading after {written} MB");
        assert!(written < MEGABYTES, "all of it was read");
        // The broker is not waiting for it either.
        client.call(1, queue::Delete { queue: "unanswered".into(), ..Default::default() });
    });
}

#[test]
fn publisher_that_reads_no_confirms_is_bounded() {
    let broker = Broker::start();
    harmless(&broker, "1,000,000 publishes whose confirms nobody reads", 16, |broker| {
        let mut deaf = socket(broker.amqp());
        let mut start = deaf_login();
        let mut out = bytes::BytesMut::new();
        put_method(&mut out, 1, &leveret_tests::confirm::Select::default().method());
        start.extend_from_slice(&out);
        deaf.write_all(&start).unwrap();
        let thousand = publish_head(1, "nobody", 0).repeat(1_000);
        // Confirmed at once since no queue matches; it may be read to its end or not.
        write_until_unread(&mut deaf, &thousand, 1_000);
    });
}

/// Writes the bytes so many times, or until they are not read for a second; answers with how often they were.
fn write_until_unread(socket: &mut TcpStream, bytes: &[u8], times: usize) -> usize {
    socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    for written in 0..times {
        match socket.write_all(bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return written,
            Err(error) => panic!("the broker has closed the socket: {error}"),
        }
    }
    times
}

/// The whole handshake as one piece, for a client that never looks at what is answered.
fn deaf_login() -> Vec<u8> {
    let login = Login::default();
    let mut out = bytes::BytesMut::new();
    out.extend_from_slice(&REFUSAL);
    let start_ok = connection::StartOk {
        client_properties: login.client_properties(),
        mechanism: login.mechanism.into(),
        response: login.response.into(),
        locale: "en_US".into(),
    };
    let tune_ok = connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 };
    let open = connection::Open { virtual_host: "/".into() };
    for method in [
        connection::AMQPMethod::StartOk(start_ok),
        connection::AMQPMethod::TuneOk(tune_ok),
        connection::AMQPMethod::Open(open),
    ] {
        put_method(&mut out, 0, &AMQPClass::Connection(method));
    }
    let open = channel::AMQPMethod::Open(channel::Open {});
    put_method(&mut out, 1, &AMQPClass::Channel(open));
    out.to_vec()
}

/// A name, what is sent on a connection whose channel 1 is open, and the answer.
type Violation = (&'static str, Vec<u8>, u16, &'static str);

#[test]
fn violations_are_answered_as_rabbitmq_does() {
    let broker = Broker::start();
    harmless(&broker, "one connection for each violation of the protocol", 8, |broker| {
        let mut wrong = Vec::new();
        for (name, bytes, code, text) in violations() {
            let mut client = Client::connect(broker);
            client.send_bytes(&bytes);
            let closed = client.closed();
            if (closed.channel, closed.code, closed.text.as_str()) != (0, code, text) {
                wrong.push(format!("{name}: {closed:?}, not {code} {text}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

fn violations() -> Vec<Violation> {
    let mut list = violations_of_frames();
    list.extend(violations_of_content());
    list.extend(violations_of_methods());
    list
}

fn violations_of_frames() -> Vec<Violation> {
    let mut bad_end = frame(FrameKind::METHOD, 1, &[0, 20, 0, 10, 0]);
    *bad_end.last_mut().unwrap() = 0;
    vec![
        (
            "a wrong octet at a frame's end",
            bad_end,
            501,
            "FRAME_ERROR - type 1, all octets = <<0,20,0,10,0>>: {invalid_frame_end_marker,0}",
        ),
        (
            "a frame of no known type",
            frame(FrameKind(7), 1, &[1, 2]),
            501,
            "FRAME_ERROR - type 7, all octets = <<1,2>>: unknown_frame",
        ),
        (
            "a long frame of no known type",
            frame(FrameKind(0), 1, &[1; 20]),
            501,
            "FRAME_ERROR - type 0, first 16 octets = <<1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1>>: \
             unknown_frame",
        ),
        (
            "a heartbeat with something in it",
            frame(FrameKind::HEARTBEAT, 0, &[1]),
            501,
            "FRAME_ERROR - type 8, all octets = <<1>>: unknown_frame",
        ),
        (
            "a heartbeat on a channel",
            frame(FrameKind::HEARTBEAT, 1, b""),
            505,
            "UNEXPECTED_FRAME - type 8, all octets = <<>>",
        ),
        (
            "a body on channel 0",
            frame(FrameKind::BODY, 0, b"x"),
            505,
            "UNEXPECTED_FRAME - type 3, all octets = <<\"x\">>",
        ),
    ]
}

fn violations_of_content() -> Vec<Violation> {
    let publish = publish_head(1, "nowhere", 3);
    let method = &publish[..publish.len() - 22];
    let header = &publish[publish.len() - 22..];
    let after_method = |more: &[u8]| [method, more].concat();
    let open = frame(FrameKind::METHOD, 1, &[0, 20, 0, 10, 0]);
    let mut other_class = header.to_vec();
    other_class[8] = 50;
    let mut weight = header.to_vec();
    weight[10] = 1;
    let no_method = "UNEXPECTED_FRAME - expected method frame, got non method frame instead";
    let no_header = "UNEXPECTED_FRAME - expected content header for class 60, got non content \
                     header frame instead";
    let no_body = "UNEXPECTED_FRAME - expected content body, got non content body frame instead";
    let class = "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 \
                 instead";
    vec![
        ("a header without a method", header.to_vec(), 505, no_method),
        ("a body without a method", frame(FrameKind::BODY, 1, b"x"), 505, no_method),
        ("a method instead of a header", after_method(&open), 505, no_header),
        (
            "a body instead of a header",
            after_method(&frame(FrameKind::BODY, 1, b"x")),
            505,
            no_header,
        ),
        ("a header of another class", after_method(&other_class), 505, class),
        ("a header with a weight", after_method(&weight), 505, no_header),
        ("a header instead of a body", [&publish, header].concat(), 505, no_body),
        ("a method instead of a body", [&publish[..], &open].concat(), 505, no_body),
    ]
}

fn violations_of_methods() -> Vec<Violation> {
    let method = |payload: &[u8]| frame(FrameKind::METHOD, 1, payload);
    let on = |channel: u16, payload: &[u8]| frame(FrameKind::METHOD, channel, payload);
    vec![
        (
            "a method on a channel that is not open",
            on(2, &[0, 90, 0, 10]),
            504,
            "CHANNEL_ERROR - expected 'channel.open'",
        ),
        (
            "channel.open twice",
            method(&[0, 20, 0, 10, 0]),
            504,
            "CHANNEL_ERROR - second 'channel.open' seen",
        ),
        (
            "connection.tune-ok when all is settled",
            on(0, &[0, 10, 0, 31, 0, 0, 0, 0, 0, 0, 0, 0]),
            504,
            "CHANNEL_ERROR - unexpected method in connection state running",
        ),
        (
            "arguments that end too early",
            method(&[0, 50, 0, 10, 0, 0, 9, b'q']),
            501,
            "FRAME_ERROR - cannot decode <<0,0,9,113>>",
        ),
        (
            "a queue's name that is no text",
            method(b"\x00\x32\x00\x0a\x00\x00\x02\xff\xfe\x00\x00\x00\x00\x00"),
            501,
            "FRAME_ERROR - Malformed UTF-8 in shortstr",
        ),
        (
            "basic.publish with immediate",
            method(&[0, 60, 0, 40, 0, 0, 0, 0, 2])
                .into_iter()
                .chain(frame(FrameKind::HEADER, 1, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
                .collect(),
            540,
            "NOT_IMPLEMENTED - immediate=true",
        ),
        (
            "channel.flow that stops",
            method(&[0, 20, 0, 20, 0]),
            540,
            "NOT_IMPLEMENTED - active=false",
        ),
    ]
}

#[test]
fn damaged_headers_are_refused_or_forwarded_whole() {
    let broker = Broker::start();
    harmless(&broker, "headers with an unknown type and with a wrong length", 8, |broker| {
        let mut fine = Vec::new();
        TableWriter::new(&mut fine).string("k", "v");
        let unknown_type = [&b"\x01kZ"[..], &fine].concat();
        let too_long = [&fine[..2], &[0, 0, 0, 200, b'v']].concat();
        for table in [unknown_type, too_long] {
            let mut client = Client::connect(broker);
            let queue = client.declare_own(1);
            let properties =
                PropertiesWriter { headers: Some(&table), ..PropertiesWriter::default() };
            client.publish(1, &Outgoing::new("", &queue, "damaged").with(&properties));
            let closed = client.closed();
            assert_eq!(closed.channel, 0, "{closed:?}");
        }
    });
}

#[test]
fn names_and_arguments_of_any_length_are_answered() {
    let broker = Broker::start();
    harmless(&broker, "long names and a table of 120 kB", 8, |broker| {
        let mut client = Client::connect(broker);
        let long = "n".repeat(255);
        let declare = queue::Declare {
            queue: long.as_str().into(),
            exclusive: true,
            arguments: arguments([("x-long", text(&"y".repeat(120_000)))]),
            ..queue::Declare::default()
        };
        assert_eq!(client.call(1, declare).queue.as_str(), long);
        let missing = format!("{}x", &long[1..]);
        let passive =
            queue::Declare { queue: missing.as_str().into(), passive: true, ..Default::default() };
        let refused = client.refused(1, passive);
        assert_eq!((refused.code, refused.text.len()), (404, 255), "{refused:?}");
        assert!(refused.text.ends_with("..."), "{refused:?}");
        client.open(1);
        let unknown = basic::Cancel { consumer_tag: long.as_str().into(), nowait: false };
        assert_eq!(client.call(1, unknown).consumer_tag.as_str(), long);
    });
}
