//! A message that arrives in several frames: what has come so far and what must come next.

use bytes::{Bytes, BytesMut};
use leveret_codec::{BASIC_CLASS, ContentHeader, Frame, FrameKind, Publish, decode_content_header};

use crate::error::{ChannelError, ConnectionError, Fault};
use crate::limits::BODY_BYTES_CEILING;

/// What is due on the channel.
#[derive(Debug, Default)]
pub(crate) enum Content {
    /// A method.
    #[default]
    Method,
    /// The content header of this publish.
    Header(Pieces),
    /// This many more bytes of its body.
    Body(Pieces, u64),
}

/// The parts of a publish that have come, owned.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// Exchange and routing key with their length bytes.
    pub(crate) address: Vec<u8>,
    pub(crate) mandatory: bool,
    pub(crate) immediate: bool,
    pub(crate) properties: Vec<u8>,
    pub(crate) body: BytesMut,
}

impl Pieces {
    pub(crate) fn new(publish: &Publish<'_>) -> Self {
        Self {
            address: publish.address.to_vec(),
            mandatory: publish.mandatory,
            immediate: publish.immediate,
            ..Self::default()
        }
    }
}

/// The header that a publish needs, or what is wrong with the frame.
// spec: 4.2.6 content framing; rabbitmq: framing errors
pub(crate) fn expect_header<'a>(
    frame: &Frame<'a>,
    body_max: u64,
) -> Result<ContentHeader<'a>, Fault> {
    if frame.kind != FrameKind::HEADER {
        return Err(ConnectionError::ExpectedHeader.into());
    }
    let header = decode_content_header(frame.payload)
        .map_err(|error| ConnectionError::decode(error, frame.payload))?;
    if header.class_id != BASIC_CLASS {
        return Err(ConnectionError::HeaderOfClass(header.class_id).into());
    }
    if header.weight != 0 {
        return Err(ConnectionError::ExpectedHeader.into());
    }
    if header.body_size > BODY_BYTES_CEILING {
        return Err(ConnectionError::BodyOverCeiling(header.body_size).into());
    }
    if header.body_size > body_max {
        let (size, max) = (header.body_size, body_max);
        return Err(ChannelError::MessageTooLarge { size, max }.into());
    }
    Ok(header)
}

impl Pieces {
    /// Notes the header; the body follows.
    pub(crate) fn add_header(&mut self, header: &ContentHeader<'_>) {
        // Room for the body is made as it comes: an announcement alone must cost nothing.
        self.properties = header.properties.to_vec();
    }

    /// Adds a piece of the body; returns how much is still to come.
    pub(crate) fn add_body(&mut self, frame: &Frame<'_>, missing: u64) -> Result<u64, Fault> {
        if frame.kind != FrameKind::BODY {
            return Err(ConnectionError::ExpectedBody.into());
        }
        let Some(missing) = missing.checked_sub(frame.payload.len() as u64) else {
            return Err(ConnectionError::BodyTooLong.into());
        };
        self.body.extend_from_slice(frame.payload);
        Ok(missing)
    }

    /// The whole body.
    pub(crate) fn take_body(&mut self) -> Bytes {
        std::mem::take(&mut self.body).freeze()
    }
}
