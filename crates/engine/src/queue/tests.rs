//! Tests of the queue: single rules here, and any sequence of steps against a model.

mod disk;
mod held;
mod loads;
mod model;
mod property;
mod rules;
mod seen;
mod storage;
mod stream;
mod support;
mod turns;
