//! Methods: decode, encode, decode; and amq-protocol's opinion.

use amq_protocol::protocol::{AMQPClass, basic, parse_class};

use super::{encoded, only_payload};
use crate::{
    DecodeError, Deliver, Method, Publish, decode_deliver, decode_method, put_ack, put_deliver,
    put_method, put_nack, put_publish,
};

pub(super) fn check(payload: &[u8]) {
    deliver(payload);
    match decode_method(payload) {
        Ok(Method::Publish(publish)) => check_publish(payload, &publish),
        Ok(Method::Other(class)) => check_other(payload, &class),
        Ok(settlement) => check_settlement(payload, &settlement),
        // Beyond these two amq-protocol reads on, and would recurse without a limit.
        Err(DecodeError::TableTooDeep | DecodeError::BadTableType(b'U')) => {}
        Err(error) => {
            let accepted = matches!(parse_class(payload), Ok(([], _)));
            assert!(!accepted, "refused with {error:?} what amq-protocol accepts");
        }
    }
}

/// What amq-protocol makes of a payload that it must accept.
fn oracle(payload: &[u8]) -> AMQPClass {
    match parse_class(payload) {
        Ok(([], class)) => class,
        other => panic!("accepted what amq-protocol refuses: {other:?}"),
    }
}

fn check_publish(payload: &[u8], publish: &Publish<'_>) {
    let Publish { exchange, routing_key, address, mandatory, immediate } = *publish;
    let out = encoded(|out| put_publish(out, 7, address, mandatory));
    let again = decode_method(only_payload(&out));
    assert_eq!(again, Ok(Method::Publish(Publish { immediate: false, ..*publish })));
    let (Ok(exchange), Ok(routing_key)) = (str::from_utf8(exchange), str::from_utf8(routing_key))
    else {
        return;
    };
    let expected = basic::Publish {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        mandatory,
        immediate,
    };
    assert_eq!(oracle(payload), AMQPClass::Basic(basic::AMQPMethod::Publish(expected)));
}

fn check_settlement(payload: &[u8], settlement: &Method<'_>) {
    let (expected, out) = match *settlement {
        Method::Ack { delivery_tag, multiple } => (
            basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple }),
            encoded(|out| put_ack(out, 1, delivery_tag, multiple)),
        ),
        Method::Nack { delivery_tag, multiple, requeue } => (
            basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple, requeue }),
            encoded(|out| put_nack(out, 1, delivery_tag, multiple, requeue)),
        ),
        Method::Reject { delivery_tag, requeue } => {
            let reject = basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue });
            let out = encoded(|out| put_method(out, 1, &AMQPClass::Basic(reject.clone())));
            (reject, out)
        }
        _ => return,
    };
    assert_eq!(oracle(payload), AMQPClass::Basic(expected));
    assert_eq!(decode_method(only_payload(&out)).as_ref(), Ok(settlement));
}

/// Compared as bytes: a table may hold a NaN, which is not equal to itself.
fn check_other(payload: &[u8], class: &AMQPClass) {
    let accepted = oracle(payload);
    assert_eq!(accepted.get_amqp_class_id(), class.get_amqp_class_id());
    assert_eq!(accepted.get_amqp_method_id(), class.get_amqp_method_id());
    let out = encoded(|out| put_method(out, 9, class));
    let Ok(Method::Other(again)) = decode_method(only_payload(&out)) else {
        panic!("cannot read what was written: {class:?}");
    };
    assert_eq!(out, encoded(|out| put_method(out, 9, &again)));
}

fn deliver(payload: &[u8]) {
    let Ok(deliver) = decode_deliver(payload) else { return };
    let Deliver { consumer_tag, delivery_tag, redelivered, address } = deliver;
    let out = encoded(|out| put_deliver(out, 3, consumer_tag, delivery_tag, redelivered, address));
    assert_eq!(decode_deliver(only_payload(&out)), Ok(deliver));
    if let Ok(([], AMQPClass::Basic(basic::AMQPMethod::Deliver(oracle)))) = parse_class(payload) {
        assert_eq!(oracle.consumer_tag.as_str().as_bytes(), consumer_tag);
        assert_eq!((oracle.delivery_tag, oracle.redelivered), (delivery_tag, redelivered));
        let (exchange, key) = (oracle.exchange.as_str(), oracle.routing_key.as_str());
        let expected = [&[exchange.len() as u8], exchange.as_bytes(), &[key.len() as u8]].concat();
        assert_eq!(address, [&expected, key.as_bytes()].concat());
    }
}
