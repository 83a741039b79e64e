//! What a publisher is told, and in which frames.

use super::*;
use leveret_codec::{Method, Splitter, decode_method};
use leveret_engine::ChannelKey;

fn settled(first_tag: u64, n: u32, outcome: Outcome) -> Settled {
    Settled { channel: ChannelKey::default(), first_tag, n, outcome }
}

/// The frames of a flush: `a5*` is an ack of 5 with multiple, `n7` a nack of 7.
fn flush(confirms: &mut Confirms) -> String {
    let mut out = Output::new();
    confirms.flush(1, &mut out);
    let bytes = out.buf().split();
    let (mut rest, mut words) = (&bytes[..], Vec::new());
    while let Some((frame, len)) = Splitter::new(0).split(rest).unwrap() {
        words.push(match decode_method(frame.payload).unwrap() {
            Method::Ack { delivery_tag, multiple } => {
                format!("a{delivery_tag}{}", if multiple { "*" } else { "" })
            }
            Method::Nack { delivery_tag, multiple: false, .. } => format!("n{delivery_tag}"),
            other => format!("{other:?}"),
        });
        rest = &rest[len..];
    }
    words.join(" ")
}

fn published(targets: &[usize]) -> Confirms {
    let mut confirms = Confirms::default();
    for (at, n) in targets.iter().enumerate() {
        assert_eq!(confirms.publish(*n), at as u64 + 1);
    }
    confirms
}

#[test]
fn what_is_confirmed_together_is_one_ack() {
    let mut confirms = published(&[1; 1000]);
    assert_eq!(confirms.settled(&settled(1, 1000, Outcome::Accepted)), 1000);
    assert_eq!(flush(&mut confirms), "a1000*");
    assert_eq!(confirms.outstanding(), 0);
}

#[test]
fn a_single_confirm_is_not_multiple() {
    let mut confirms = published(&[1]);
    confirms.settled(&settled(1, 1, Outcome::Accepted));
    assert_eq!(flush(&mut confirms), "a1");
}

#[test]
fn unroutable_messages_are_confirmed_at_once() {
    let mut confirms = published(&[0, 0]);
    assert_eq!(flush(&mut confirms), "a2*");
}

#[test]
fn multiple_never_covers_an_outstanding_tag() {
    let mut confirms = published(&[1; 5]);
    confirms.settled(&settled(1, 1, Outcome::Accepted));
    confirms.settled(&settled(3, 1, Outcome::Accepted));
    confirms.settled(&settled(5, 1, Outcome::Accepted));
    assert_eq!(flush(&mut confirms), "a1 a3 a5");
    confirms.settled(&settled(2, 3, Outcome::Accepted));
    assert_eq!(flush(&mut confirms), "a4*");
}

#[test]
fn acks_go_before_nacks_and_do_not_cover_them() {
    let mut confirms = published(&[1; 5]);
    confirms.settled(&settled(3, 1, Outcome::Rejected));
    confirms.settled(&settled(4, 2, Outcome::Accepted));
    confirms.settled(&settled(1, 2, Outcome::Accepted));
    assert_eq!(flush(&mut confirms), "a2* a4 a5 n3");
}

#[test]
fn several_queues_must_all_answer() {
    let mut confirms = published(&[1, 2, 2, 1]);
    confirms.settled(&settled(1, 4, Outcome::Accepted));
    assert_eq!(confirms.outstanding(), 2);
    assert_eq!(flush(&mut confirms), "a1 a4");
    confirms.settled(&settled(2, 2, Outcome::Accepted));
    assert_eq!(flush(&mut confirms), "a3*");
}

#[test]
fn one_queue_that_refuses_is_enough_for_a_nack() {
    let mut confirms = published(&[3, 1]);
    confirms.settled(&settled(1, 1, Outcome::Accepted));
    confirms.settled(&settled(1, 1, Outcome::Rejected));
    assert_eq!(flush(&mut confirms), "n1");
    confirms.settled(&settled(1, 1, Outcome::Accepted));
    assert_eq!(flush(&mut confirms), "");
    confirms.settled(&settled(2, 1, Outcome::Accepted));
    assert_eq!(flush(&mut confirms), "a2");
}
