//! Requests to the management API, played against a broker and compared with what RabbitMQ answered to
//! the same requests. They stand, with the recorded answers, in text files under `tests/http`.
//! Nothing here knows a rule of the API: what is right is what was recorded.

mod compare;
mod differences;
mod mask;
mod play;
mod table;

pub use play::{play_all, record_all};
