//! Frames of a channel that arrive while one of its calls is unanswered: copies, in order, within
//! the connection's limit.

use leveret_codec::{FRAME_OVERHEAD, Frame, FrameKind};

/// The frames of one channel, in one buffer.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
}

/// Kind octet and length before each payload.
const HEAD: usize = 5;

impl Held {
    /// Keeps a frame; returns the bytes it counts for.
    pub(crate) fn push(&mut self, frame: &Frame<'_>) -> usize {
        self.bytes.push(frame.kind.0);
        self.bytes.extend_from_slice(&(frame.payload.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(frame.payload);
        frame.payload.len() + FRAME_OVERHEAD
    }

    /// Takes all frames out, to be read by [`first_frame`].
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

/// The first frame of `bytes` that [`Held::take`] gave, and what follows it.
pub(crate) fn first_frame(bytes: &[u8], channel: u16) -> Option<(Frame<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let [kind, l0, l1, l2, l3] = *head;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let (payload, rest) = rest.split_at_checked(len)?;
    Some((Frame { kind: FrameKind(kind), channel, payload }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut held = Held::default();
        let frames = [(1, &b"abc"[..]), (3, b""), (2, b"xy")];
        for (kind, payload) in frames {
            held.push(&Frame { kind: FrameKind(kind), channel: 9, payload });
        }
        let bytes = held.take();
        assert!(held.take().is_empty());
        let mut rest = bytes.as_slice();
        for (kind, payload) in frames {
            let (frame, after) = first_frame(rest, 9).unwrap();
            assert_eq!(frame, Frame { kind: FrameKind(kind), channel: 9, payload });
            rest = after;
        }
        assert!(first_frame(rest, 9).is_none());
    }
}
