//! Golden streams: what clients and RabbitMQ 4.3 really sent, as hex beside their decoded form.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

/// One direction of one connection.
pub(crate) struct Golden {
    /// The file name without its ending: client or suite, and the side that sent.
    pub(crate) name: String,
    /// The bytes, protocol header included.
    pub(crate) bytes: Vec<u8>,
}

/// Where the golden files are.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Every golden stream, by name.
pub(crate) fn load() -> Vec<Golden> {
    let mut all: Vec<_> = std::fs::read_dir(folder())
        .expect("the golden folder is beside the tests")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "hex"))
        .map(|path| Golden {
            name: path.file_stem().expect("a file name").to_string_lossy().into_owned(),
            bytes: unhex(&std::fs::read_to_string(&path).expect("a readable file")),
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!all.is_empty(), "no golden files");
    all
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).expect("a hex digit") as u8)
        .collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
