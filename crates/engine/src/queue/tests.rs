//! Tests of the queue: single rules here, and any sequence of steps against a model.

mod disk;
mod loads;
mod model;
mod property;
mod rules;
mod storage;
mod support;
mod turns;
