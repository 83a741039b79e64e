//! leveret-store: what survives a restart.
//!
//! It will own the commit log, chunks and checkpoints behind one trait with a written contract, and see slots and opaque bytes
//! only. Nothing survives a restart yet: queues keep their messages in memory, and their ops (the bytes that this crate
//! will keep) are collected by nobody.
//!
//! *Invariant:* this crate does not know AMQP.
#![forbid(unsafe_code)]
