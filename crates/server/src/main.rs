//! The `leveret` binary; everything is in the library beside it, so that tests can run a broker
//! inside their own process.

/// Blocks of messages are made on one thread and freed on another, which this allocator is good at.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    leveret_server::run()
}
