//! The folder that everything measured is written to; it goes when this is dropped.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// A new folder in `parent`.
    pub(super) fn create(parent: &Path) -> anyhow::Result<Self> {
        let path = parent.join(format!("reeltime-bench-{}", std::process::id()));
        std::fs::create_dir(&path)
            .with_context(|| format!("cannot create {}; name another folder with --dir", path.display()))?;
        Ok(Self(path.canonicalize()?))
    }

    /// A folder in it for one measurement, which must find `bytes` free.
    pub(super) fn folder(&self, name: &str, bytes: u64) -> anyhow::Result<Self> {
        let stat = rustix::fs::statvfs(&self.0)?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < bytes {
            bail!(
                "{} has {} MB free and this takes {} MB; name another folder with --dir, or try --quick",
                self.0.display(),
                free / 1_000_000,
                bytes / 1_000_000
            );
        }
        let path = self.0.join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            super::progress(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}
