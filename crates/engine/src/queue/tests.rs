//! Tests of the queue: single rules here, and any sequence of steps against a model.

mod model;
mod property;
mod rules;
mod support;
mod turns;
