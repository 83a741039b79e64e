//! basic.publish decoded twice over, by nom and by a plain cursor, with the same answers.

use leveret_codec::Publish;
use nom::bytes::complete::{tag, take};
use nom::combinator::{all_consuming, consumed};
use nom::multi::length_data;
use nom::number::complete::be_u8;
use nom::{IResult, Parser};

type Failure<'a> = nom::error::Error<&'a [u8]>;

fn short(input: &[u8]) -> IResult<&[u8], &[u8], Failure<'_>> {
    length_data(be_u8).parse(input)
}

/// The payload of a basic.publish, by nom.
pub(crate) fn publish(payload: &[u8]) -> Option<Publish<'_>> {
    let ids = tag(&b"\x00\x3C\x00\x28"[..]);
    let ticket = take::<_, _, Failure<'_>>(2_usize);
    let (_, (_, _, (address, (exchange, routing_key)), bits)) =
        all_consuming((ids, ticket, consumed((short, short)), be_u8)).parse(payload).ok()?;
    let (mandatory, immediate) = (bits & 1 != 0, bits & 2 != 0);
    Some(Publish { exchange, routing_key, address, mandatory, immediate })
}

/// The same by slices alone, which is what `decode_method` comes to.
pub(crate) fn cursor(payload: &[u8]) -> Option<Publish<'_>> {
    let [0, 60, 0, 40, _, _, names @ ..] = payload else { return None };
    let (exchange_len, rest) = names.split_first()?;
    let (exchange, rest) = rest.split_at_checked(usize::from(*exchange_len))?;
    let (key_len, rest) = rest.split_first()?;
    let (routing_key, rest) = rest.split_at_checked(usize::from(*key_len))?;
    let &[bits] = rest else { return None };
    let address = names.get(..exchange.len() + routing_key.len() + 2)?;
    let (mandatory, immediate) = (bits & 1 != 0, bits & 2 != 0);
    Some(Publish { exchange, routing_key, address, mandatory, immediate })
}
