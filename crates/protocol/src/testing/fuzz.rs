//! The fuzzer's way in: any bytes, before and after the login.

use leveret_codec::{DecodeError, Splitter, decode_method};

use super::World;

/// Feeds a connection: the first byte says whether it is logged in before, and how the rest is cut.
///
/// # Panics
/// Where an invariant does not hold: the output does not parse, or the connection takes more bytes
/// than there are.
pub fn fuzz_connection(data: &[u8]) {
    let [choice, input @ ..] = data else { return };
    let mut world = World::default();
    let id = world.connect();
    if choice & 1 != 0 {
        for part in super::login("/") {
            world.send(id, &part);
        }
    }
    let piece = usize::from(choice >> 1) + 1;
    for part in input.chunks(piece) {
        world.send(id, part);
        if choice & 2 != 0 {
            world.pass(100);
        }
    }
    world.pass(40_000);
    if let Some(client) = world.client(id) {
        check_output(&client.received);
    }
    world.drop_socket(id);
}

/// Everything a client receives is whole frames, and every method among them decodes.
pub(super) fn check_output(bytes: &[u8]) {
    let mut rest = bytes.strip_prefix(&leveret_codec::REFUSAL).unwrap_or(bytes);
    let splitter = Splitter::new(0);
    while let Ok(Some((frame, len))) = splitter.split(rest) {
        if frame.kind == leveret_codec::FrameKind::METHOD {
            let decoded = decode_method(frame.payload);
            // The keys of messages are any bytes; they come back in deliver, get-ok and return.
            let sound = decoded.is_ok() || decoded == Err(DecodeError::BadShortString);
            assert!(sound, "{decoded:?} of {:?}", frame.payload);
        }
        rest = rest.get(len..).unwrap_or_default();
    }
    assert!(rest.is_empty(), "{} bytes of output are no frame", rest.len());
}
