//! Splitting: limits, end octet, and every prefix of a frame.

use super::*;

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(channel.to_be_bytes());
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend(payload);
    bytes.push(FRAME_END);
    bytes
}

#[test]
fn every_prefix_of_a_frame_asks_for_more() {
    let bytes = frame(3, 7, b"hello");
    let splitter = Splitter::new(4096);
    for len in 0..bytes.len() {
        assert_eq!(splitter.split(&bytes[..len]), Ok(None));
    }
    let (found, used) = splitter.split(&bytes).unwrap().unwrap();
    assert_eq!(found, Frame { kind: FrameKind::BODY, channel: 7, payload: b"hello" });
    assert_eq!(used, bytes.len());
}

#[test]
fn bytes_behind_a_frame_are_left_alone() {
    let mut bytes = frame(8, 0, b"");
    bytes.extend(b"\x01");
    let (found, used) = Splitter::new(4096).split(&bytes).unwrap().unwrap();
    assert_eq!((found.kind, found.payload, used), (FrameKind::HEARTBEAT, &b""[..], 8));
}

// rabbitmq: a payload of frame_max is taken, one more byte is not
#[test]
fn size_is_refused_as_soon_as_the_head_is_there() {
    let splitter = Splitter::new(8192);
    let head = |size: u32| [&[3, 0, 1][..], &size.to_be_bytes()].concat();
    assert_eq!(splitter.split(&head(8192)), Ok(None));
    let refused = DecodeError::FrameTooLarge { size: 8193, max: 8184 };
    assert_eq!(splitter.split(&head(8193)), Err(refused));
}

#[test]
fn no_frame_max_leaves_the_cap() {
    let splitter = Splitter::new(0);
    let head = |size: u32| [&[3, 0, 1][..], &size.to_be_bytes()].concat();
    assert_eq!(splitter.split(&head(FRAME_PAYLOAD_CAP)), Ok(None));
    let size = FRAME_PAYLOAD_CAP + 1;
    let refused = DecodeError::FrameTooLarge { size, max: FRAME_PAYLOAD_CAP };
    assert_eq!(splitter.split(&head(size)), Err(refused));
    assert_eq!(Splitter::new(u32::MAX).split(&head(size)), Err(refused));
}

#[test]
fn a_smaller_frame_max_holds_for_the_next_frame() {
    let mut splitter = Splitter::new(131_072);
    splitter.set_frame_max(4096);
    assert_eq!(splitter.frame_max(), 4096);
    let large = frame(3, 1, &[0; 5000]);
    let refused = DecodeError::FrameTooLarge { size: 5000, max: 4088 };
    assert_eq!(splitter.split(&large), Err(refused));
}

#[test]
fn a_wrong_end_octet_is_named() {
    let mut bytes = frame(8, 0, b"");
    bytes[7] = 0xCF;
    assert_eq!(Splitter::new(4096).split(&bytes), Err(DecodeError::BadFrameEnd(0xCF)));
}
