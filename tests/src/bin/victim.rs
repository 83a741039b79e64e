//! A client that does one thing until it is killed: `leveret-tests-victim ADDRESS DEED ARGUMENT...`.
//! It says `ready` when it is at it. Deeds:
//!
//! ```text
//! hold QUEUE COUNT HEARTBEAT   consume, and keep COUNT messages unacked
//! own QUEUE                    declare QUEUE exclusive and consume from it
//! publish QUEUE BYTES          publish numbered messages of that size in confirm mode, without end
//! commit QUEUE                 publish in a transaction that is never committed
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use leveret_tests::{Client, Login, Outgoing, pause, queue, tx};

/// Publishes that wait for their confirm at any time.
const WINDOW: u64 = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [address, "hold", queue, count, heartbeat] => {
            hold(connect(address, number(heartbeat) as u16), queue, number(count));
        }
        [address, "own", queue] => own(connect(address, 0), queue),
        [address, "publish", queue, bytes] => {
            publish(connect(address, 0), queue, number(bytes) as usize);
        }
        [address, "commit", queue] => uncommitted(connect(address, 0), queue),
        other => panic!("not a deed: {other:?}"),
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a number"))
}

fn connect(address: &str, heartbeat: u16) -> Client {
    let address: SocketAddr =
        address.parse().unwrap_or_else(|_| panic!("`{address}` is not an address"));
    let mut client = Client::login(address, &Login { heartbeat, ..Login::default() });
    client.open(1);
    client
}

#[expect(clippy::print_stdout, reason = "the pipe to the test")]
fn say(line: &str) {
    println!("{line}");
}

fn wait_for_the_end() -> ! {
    loop {
        pause(Duration::from_secs(1));
    }
}

fn hold(mut client: Client, queue: &str, count: u64) {
    client.consume(1, queue, "hold", false);
    for _ in 0..count {
        let _ = client.next_message(1);
    }
    say("ready");
    wait_for_the_end();
}

fn own(mut client: Client, queue: &str) {
    let declare =
        queue::Declare { queue: queue.into(), exclusive: true, ..queue::Declare::default() };
    client.call(1, declare);
    client.consume(1, queue, "own", false);
    say("ready");
    wait_for_the_end();
}

fn publish(mut client: Client, queue: &str, bytes: usize) {
    client.confirms(1);
    let mut body = vec![0; bytes];
    let mut message = Outgoing::new("", queue, body.clone());
    let mut confirmed = 0;
    for number in 1_u64.. {
        let digits = number.to_be_bytes();
        for (place, digit) in body.iter_mut().zip(digits.iter().cycle()) {
            *place = *digit;
        }
        message.set_body(&body);
        client.publish(1, &message);
        while number - confirmed > WINDOW {
            let (tag, multiple, ack) = client.next_confirm(1);
            assert!(ack && (multiple || tag == confirmed + 1), "confirms in order");
            confirmed = tag;
        }
        if number == WINDOW * 10 {
            say("ready");
        }
        if number > WINDOW * 10 && number % WINDOW == 0 {
            say(&confirmed.to_string());
        }
    }
}

fn uncommitted(mut client: Client, queue: &str) {
    client.call(1, tx::Select::default());
    for number in 0..100 {
        client.publish(1, &Outgoing::number(queue, number));
    }
    // Answered after the publishes have been taken.
    client.open(2);
    say("ready");
    wait_for_the_end();
}
