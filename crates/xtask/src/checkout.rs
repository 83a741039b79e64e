//! Where things are: the checkout, the build output, the log folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The checkout that the command was started in, and its build output.
pub(crate) struct Checkout {
    root: PathBuf,
    target: PathBuf,
}

impl Checkout {
    /// Looks upwards from the current folder for the one that holds `crates/xtask`.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let here = std::env::current_dir().context("the current folder cannot be read")?;
        let Some(root) = here.ancestors().find(|dir| dir.join("crates/xtask").is_dir()) else {
            bail!("{} is not inside a checkout of leveret", here.display());
        };
        // This program lies in TARGET/PROFILE, wherever cargo was told to put that.
        let exe = std::env::current_exe().context("the path of this program cannot be read")?;
        let Some(target) = exe.ancestors().nth(2) else {
            bail!("{} is not in a target folder", exe.display());
        };
        Ok(Self { root: root.to_path_buf(), target: target.to_path_buf() })
    }

    /// The folder with the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The build output.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// A program that cargo built with the development profile.
    pub(crate) fn dev_program(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }

    /// A program that cargo built with the release profile.
    pub(crate) fn release_program(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// An empty folder for one command's logs and data, outside version control.
    pub(crate) fn scratch(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.target.join("xtask").join(name);
        if dir.exists() {
            std::fs::remove_dir_all(&dir)
                .with_context(|| format!("{} cannot be emptied", dir.display()))?;
        }
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("{} cannot be created", dir.display()))?;
        Ok(dir)
    }
}
