//! A folder that outlives the brokers of a test and goes with the test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Broker, Options};

/// An empty folder of this test's own; brokers keep their data in `data` in it.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one. The name is for people who look.
    ///
    /// # Panics
    /// When the system refuses.
    #[must_use]
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("leveret-{name}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        if let Err(error) = std::fs::create_dir_all(&path) {
            panic!("{}: {error}", path.display());
        }
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The data directory in it, which is there once a broker was.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// A broker with its data here; `None` where the tests run against one that is there already.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn broker(&self, options: Options) -> Option<Broker> {
        Broker::own(&Options { data_dir: Some(self.data()), ..options })
    }

    /// The same with the usual options.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn open(&self) -> Option<Broker> {
        self.broker(Options::default())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
