//! One frame: kind, channel, payload. Splitting a stream into frames is `splitter`'s.

/// The octet that ends every frame.
pub const FRAME_END: u8 = 0xCE;
/// Bytes around a payload: seven in front, one behind.
pub const FRAME_OVERHEAD: usize = 8;

/// The kind of a frame; a value that AMQP does not define is kept as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameKind(pub u8);

impl FrameKind {
    /// A method with its arguments.
    pub const METHOD: Self = Self(1);
    /// A content header.
    pub const HEADER: Self = Self(2);
    /// A piece of a content body.
    pub const BODY: Self = Self(3);
    /// A heartbeat; its payload must be empty and its channel 0, which the receiver checks.
    pub const HEARTBEAT: Self = Self(8);
}

/// A whole frame, borrowed from the read buffer.
// spec: 4.2.3 general frame format
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: FrameKind,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// The bytes between head and end octet.
    pub payload: &'a [u8],
}
