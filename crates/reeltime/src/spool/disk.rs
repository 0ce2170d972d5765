//! The disk as the spool sees it: the few calls that it makes, so that a simulated one can stand in and fail on
//! purpose. [`LocalDisk`] is the real one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of log files.
pub trait Disk: Send + Sync + 'static {
    /// Creates a file that must not exist yet.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes created and removed names durable (fsync of the folder).
    fn sync_folder(&self) -> io::Result<()>;
    /// Makes everything durable that was written before, of every file and name (syncfs). An error says nothing of
    /// which file failed; a disk that cannot do this says so and is asked file by file.
    fn sync_all(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Where a file of this name lies, where other programs can reach it.
    fn path(&self, _name: &str) -> Option<PathBuf> {
        None
    }
    /// Gives a file another name, which must be free.
    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Every file's name.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Removes a file; one that is gone already is no error.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Bytes that may still be written by this process.
    fn free(&self) -> io::Result<u64>;
    /// Sets `bytes` aside under `name`, really allocated.
    fn reserve(&self, name: &str, bytes: u64) -> io::Result<()>;
}

/// One file of a [`Disk`].
pub trait DiskFile: Send + Sync + 'static {
    /// Writes all of `bytes` at `offset`: one write(2) where the system takes them at once.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads at most `buffer.len()` bytes at `offset`; 0 is the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes the file's bytes durable (fdatasync).
    fn sync(&self) -> io::Result<()>;
    /// The file's size.
    fn size(&self) -> io::Result<u64>;
}

/// A folder of the local file system.
#[derive(Debug)]
pub struct LocalDisk {
    folder: PathBuf,
    handle: File,
}

impl LocalDisk {
    /// Uses `folder`, which must exist.
    ///
    /// # Errors
    /// Where the folder cannot be opened.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self { folder: folder.to_owned(), handle: File::open(folder)? })
    }
}

impl Disk for LocalDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.folder.join(name))?;
        Ok(Arc::new(LocalFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(LocalFile(File::open(self.folder.join(name))?)))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.handle)?)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        // A link fails where the name is taken; a rename would not.
        std::fs::hard_link(self.folder.join(from), self.folder.join(to))?;
        self.remove(from)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.handle)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn reserve(&self, name: &str, bytes: u64) -> io::Result<()> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(self.folder.join(name))?;
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes.max(1)) {
            // A file system that cannot set space aside takes zeros instead.
            Err(rustix::io::Errno::OPNOTSUPP) => fill_with_zeros(&file, bytes),
            result => Ok(result?),
        }
    }
}

fn fill_with_zeros(file: &File, bytes: u64) -> io::Result<()> {
    const PIECE: u64 = 1 << 20;
    let zeros = vec![0; 1 << 20];
    for at in (0..bytes).step_by(1 << 20) {
        let piece = usize::try_from((bytes - at).min(PIECE)).unwrap_or(zeros.len());
        file.write_all_at(&zeros[..piece], at)?;
    }
    Ok(())
}

struct LocalFile(File);

impl DiskFile for LocalFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
