//! The folder that everything measured is written to; it goes when this is dropped.

use std::fs::File;
use std::io::Write;
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

    /// Fills as much memory with a file as a measurement will, and gives it back: a virtual machine whose host hands
    /// out memory when it is first touched would charge that to whoever is measured first.
    pub(super) fn touch_memory(&self, bytes: u64) -> anyhow::Result<()> {
        let (path, piece) = (self.0.join("touch"), vec![1; 1 << 20]);
        let mut file = File::create_new(&path)?;
        for _ in 0..bytes.div_ceil(1 << 20) {
            file.write_all(&piece)?;
        }
        drop(file);
        Ok(std::fs::remove_file(path)?)
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
