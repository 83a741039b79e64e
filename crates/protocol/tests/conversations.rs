//! Conversations between clients and the protocol, one module for each topic.

mod script;

mod declare;
