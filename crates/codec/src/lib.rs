//! Bytes in, AMQP 0-9-1 values out, and back: frames, methods, content headers, tables, reply codes.
//!
//! Nothing here reads a socket, knows a queue or keeps state between frames. Input is hostile: every
//! decoder answers with a value or a [`DecodeError`], in time proportional to the bytes it was given.
//!
//! ```text
//! frame    | kind u8 | channel u16 | size u32 | payload (size bytes) | 0xCE |
//! method   | class u16 | method u16 | arguments |
//! header   | class u16 | weight u16 | body size u64 | property flags u16 | property values |
//! body     | bytes |
//! ```
//!
//! Start reading at [`Splitter`], then [`decode_method`], [`decode_content_header`] and [`Properties`].

#![forbid(unsafe_code)]

mod cursor;
mod encode;
mod error;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod header;
mod method;
mod properties;
mod protocol_header;
mod reply_code;
mod splitter;
mod string;
mod table;

pub use amq_protocol::protocol as amqp;
pub use amq_protocol::types as amqp_types;

pub use encode::{
    DeliveryFrames, body_frame_head, put_ack, put_body, put_content_header, put_deliver,
    put_delivery, put_get_ok, put_heartbeat, put_method, put_nack, put_publish, put_return,
};
pub use error::DecodeError;
pub use frame::{FRAME_END, FRAME_OVERHEAD, Frame, FrameKind};
pub use header::{BASIC_CLASS, ContentHeader, decode_content_header};
pub use method::{
    Deliver, Method, Publish, decode_deliver, decode_method, method_id, qos_prefetch_size,
};
pub use properties::rewrite::{Change, PropertyChanges, rewrite};
pub use properties::writer::PropertiesWriter;
pub use properties::{Properties, Summary};
pub use protocol_header::{ProtocolHeader, REFUSAL};
pub use reply_code::ReplyCode;
pub use splitter::{FRAME_PAYLOAD_CAP, Splitter};
pub use string::{SHORT_STRING_MAX, short_string};
pub use table::value::{Table, Value};
pub use table::view::{ArrayView, Field, TableView, ValueView};
pub use table::writer::{ArrayWriter, TableWriter};
pub use table::{TABLE_DEPTH_MAX, ValueKind};
