//! Conversations between clients and the protocol, one module for each topic.

mod script;

mod acks;
mod any_session;
mod blocked;
mod close;
mod confirm;
mod consume;
mod declare;
mod exchanges;
mod framing;
mod handshake;
mod heartbeat;
mod held;
mod permissions;
mod publish;
mod qos;
mod reply_to;
mod tx;
