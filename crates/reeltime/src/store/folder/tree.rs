//! A tree of files below one folder, with nothing outside in reach.
//!
//! Every step goes from an open folder to one component of a key, without following links. So a link that
//! someone put into the tree, even between two steps, leads nowhere.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use reeltime_core::keys::ObjectKey;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::together::{Member, Together};
use crate::store::{ObjectMeta, StoreError};

/// Folders remembered as durable, at most.
const REMEMBERED: usize = 1_024;
/// Holds bodies that are not complete. No key begins with a dot, so it can hide no object.
const TEMPORARY: &str = ".tmp";
const FOLDER_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The tree of a store.
pub(super) struct Tree {
    path: PathBuf,
    root: OwnedFd,
    temporary: OwnedFd,
    /// What the files of objects allow, less the process's umask.
    mode: Mode,
    next: AtomicU64,
    /// Folders whose names are known to be durable.
    durable: Mutex<HashSet<String>>,
    pub(super) together: Together,
}

/// Where an object is to be: its open folder and its name in it.
pub(super) struct Place<'a> {
    key: &'a ObjectKey,
    folder: OwnedFd,
    name: &'a str,
}

/// A file without a key; it is removed unless it gets one.
pub(super) struct Temporary<'t> {
    tree: &'t Tree,
    name: String,
    pub(super) file: File,
    published: bool,
}

fn open_root(path: &Path) -> Result<OwnedFd, StoreError> {
    let failed = |source: io::Error| failure("open", path.to_owned(), source);
    fs::create_dir_all(path).map_err(failed)?;
    Ok(File::open(path).map_err(failed)?.into())
}

/// The folder for what is not complete, swept of what a crash left.
fn temporary_in(path: &Path, root: &OwnedFd) -> Result<OwnedFd, StoreError> {
    let failed = |errno: Errno| failure("open", path.join(TEMPORARY), errno.into());
    make_folder(root, TEMPORARY).map_err(failed)?;
    let temporary = open_folder(root, TEMPORARY).map_err(failed)?;
    sweep(&temporary).map_err(|errno| failure("sweep", path.join(TEMPORARY), errno.into()))?;
    Ok(temporary)
}

impl Tree {
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let root = open_root(&path)?;
        let temporary = temporary_in(&path, &root)?;
        Ok(Self {
            path,
            root,
            temporary,
            mode: Mode::from_raw_mode(0o640),
            next: AtomicU64::new(0),
            durable: Mutex::default(),
            together: Together::default(),
        })
    }

    /// A tree that others read: its files are readable by all, and nothing but them lies in it where `beside`, for
    /// what is not complete, is on the same file system.
    pub(super) fn open_flat(path: PathBuf, beside: &Path) -> Result<Self, StoreError> {
        let root = open_root(&path)?;
        let elsewhere = open_root(beside)?;
        let device = |folder: &OwnedFd| rustix::fs::fstat(folder).map(|stat| stat.st_dev).ok();
        let same = device(&root).is_some() && device(&root) == device(&elsewhere);
        let temporary = if same { temporary_in(beside, &elsewhere)? } else { temporary_in(&path, &root)? };
        Ok(Self {
            path,
            root,
            temporary,
            mode: Mode::from_raw_mode(0o644),
            next: AtomicU64::new(0),
            durable: Mutex::default(),
            together: Together::default(),
        })
    }

    /// The folder of the store, open.
    pub(super) const fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// The folder of the store.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn failed(&self, verb: &'static str, key: &ObjectKey, source: io::Error) -> StoreError {
        failure(verb, self.path.join(key.as_str()), source)
    }

    /// A file to write to; it exists and has no key yet.
    pub(super) fn temporary(&self) -> Result<Temporary<'_>, StoreError> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.temporary, &name, flags, self.mode)
            .map_err(|errno| failure("make", self.path.join(TEMPORARY).join(&name), errno.into()))?;
        Ok(Temporary { tree: self, name, file: file.into(), published: false })
    }

    /// The place of a new object; its folders are made and synced.
    pub(super) fn place<'a>(&self, key: &'a ObjectKey) -> Result<Place<'a>, StoreError> {
        let mut way = String::new();
        let place = self.walk(key, |folder, name| {
            make_folder(folder, name)?;
            way.push_str(name);
            way.push('/');
            self.sync_once(folder, &way)
        })?;
        let place = place.ok_or_else(|| self.failed("make", key, Errno::NOENT.into()))?;
        match rustix::fs::statat(&place.folder, place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(place),
            Ok(_) => Err(StoreError::AlreadyExists { key: key.clone() }),
            Err(errno) => Err(self.failed("read", key, errno.into())),
        }
    }

    /// Makes the name of the folder `way` durable in its `parent`, where this process has not done so before: it
    /// may have been made by one that died.
    fn sync_once(&self, parent: &OwnedFd, way: &str) -> Result<(), Errno> {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.contains(way) {
            return Ok(());
        }
        rustix::fs::fsync(parent)?;
        if durable.len() >= REMEMBERED {
            durable.clear();
        }
        durable.insert(way.to_owned());
        Ok(())
    }

    /// Gives a synced file a key beside the name it has, and makes that durable; false where the file system cannot.
    pub(super) fn link(
        &self,
        file: &File,
        path: &Path,
        place: Place<'_>,
        member: &Member<'_>,
    ) -> Result<bool, StoreError> {
        rustix::fs::fchmod(file, self.mode).map_err(|errno| self.failed("share", place.key, errno.into()))?;
        match rustix::fs::linkat(rustix::fs::CWD, path, &place.folder, place.name, AtFlags::empty()) {
            Ok(()) => self.sync_name(&place, member).map(|()| true),
            Err(Errno::EXIST) => Err(StoreError::AlreadyExists { key: place.key.clone() }),
            Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP) => Ok(false),
            Err(errno) => Err(self.failed("name", place.key, errno.into())),
        }
    }

    /// Makes a name given just now durable, or takes it back.
    fn sync_name(&self, place: &Place<'_>, member: &Member<'_>) -> Result<(), StoreError> {
        if member.sync(&self.root) {
            return Ok(());
        }
        rustix::fs::fsync(&place.folder).map_err(|errno| {
            // It may not last, so it must not be seen.
            let _ = rustix::fs::unlinkat(&place.folder, place.name, AtFlags::empty());
            self.failed("sync the folder of", place.key, errno.into())
        })
    }

    /// An object's file and its size in bytes; `None` where there is none.
    pub(super) fn file(&self, key: &ObjectKey) -> Result<Option<(File, u64)>, StoreError> {
        let Some(place) = self.walk(key, |_, _| Ok(()))? else { return Ok(None) };
        // Without blocking: a pipe that someone put here must not hold the thread.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = match rustix::fs::openat(&place.folder, place.name, flags, Mode::empty()) {
            Ok(file) => file.into(),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(StoreError::NotAFolder { path: self.path.join(key.as_str()) }),
            Err(errno) => return Err(self.failed("read", key, errno.into())),
        };
        let metadata = file.metadata().map_err(|source| self.failed("read", key, source))?;
        Ok(metadata.is_file().then_some((file, metadata.len())))
    }

    /// Removes an object, durably; one that is not there is fine.
    pub(super) fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let Some(place) = self.walk(key, |_, _| Ok(()))? else { return Ok(()) };
        match rustix::fs::unlinkat(&place.folder, place.name, AtFlags::empty()) {
            // What has this name is a folder of other keys.
            Err(Errno::ISDIR | Errno::PERM) if is_folder(&place) => return Ok(()),
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(self.failed("delete", key, errno.into())),
        }
        // Also where it was gone already: the one who removed it may have been killed before this.
        rustix::fs::fsync(&place.folder).map_err(|errno| self.failed("sync", key, errno.into()))
    }

    /// Every object whose key begins with `prefix`, by key.
    pub(super) fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut found = Vec::new();
        collect(&self.root, "", prefix, &mut found)
            .map_err(|(at, errno)| failure("list", self.path.join(at), errno.into()))?;
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// Goes to a key's folder, calling `enter` before each step down; `None` where a folder is missing.
    fn walk<'a>(
        &self,
        key: &'a ObjectKey,
        mut enter: impl FnMut(&OwnedFd, &str) -> Result<(), Errno>,
    ) -> Result<Option<Place<'a>>, StoreError> {
        let (folders, name) = key.as_str().rsplit_once('/').unwrap_or(("", key.as_str()));
        let mut folder = self.root.try_clone().map_err(|source| self.failed("open", key, source))?;
        for component in folders.split('/').filter(|component| !component.is_empty()) {
            let below = enter(&folder, component).and_then(|()| open_folder(&folder, component));
            folder = match below {
                Ok(below) => below,
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    return Err(StoreError::NotAFolder { path: self.path.join(folders) });
                }
                Err(errno) => return Err(self.failed("open the folder of", key, errno.into())),
            };
        }
        Ok(Some(Place { key, folder, name }))
    }
}

impl Temporary<'_> {
    /// Gives the file its name, unless something has it, and makes that durable.
    pub(super) fn publish(mut self, place: Place<'_>, member: &Member<'_>) -> Result<(), StoreError> {
        match self.rename(&place) {
            Ok(()) => self.published = true,
            Err(Errno::EXIST) => return Err(StoreError::AlreadyExists { key: place.key.clone() }),
            Err(errno) => return Err(self.tree.failed("name", place.key, errno.into())),
        }
        self.tree.sync_name(&place, member)
    }

    /// Some file systems cannot rename without replacing; every one with links can link.
    fn rename(&self, place: &Place<'_>) -> Result<(), Errno> {
        let (from, to) = (&self.tree.temporary, &place.folder);
        match rustix::fs::renameat_with(from, &self.name, to, place.name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(from, &self.name, to, place.name, AtFlags::empty())?;
                rustix::fs::unlinkat(from, &self.name, AtFlags::empty())
            }
            done => done,
        }
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is swept at the next start.
            let _ = rustix::fs::unlinkat(&self.tree.temporary, &self.name, AtFlags::empty());
        }
    }
}

fn failure(verb: &'static str, path: PathBuf, source: io::Error) -> StoreError {
    if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return StoreError::Full { path, source };
    }
    StoreError::Io { verb, path, source }
}

fn open_folder(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(parent, name, FOLDER_FLAGS, Mode::empty())
}

fn make_folder(parent: &OwnedFd, name: &str) -> Result<(), Errno> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o750)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn is_folder(place: &Place<'_>) -> bool {
    rustix::fs::statat(&place.folder, place.name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// Removes the files in `folder`; it holds nothing else.
fn sweep(folder: &OwnedFd) -> Result<(), Errno> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if entry.file_name().to_bytes().iter().any(|byte| *byte != b'.') {
            rustix::fs::unlinkat(folder, entry.file_name(), AtFlags::empty())?;
        }
    }
    Ok(())
}

/// Adds the objects below `folder`, whose key so far is `at` (with its slash). What could not be a key (a
/// name with a leading dot, say) and what is neither file nor folder is not ours, and passed over.
fn collect(
    folder: &OwnedFd,
    at: &str,
    prefix: &str,
    found: &mut Vec<ObjectMeta>,
) -> Result<(), (String, Errno)> {
    let failed = |errno| (at.to_owned(), errno);
    for entry in Dir::read_from(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        let Ok(key) = ObjectKey::new(format!("{at}{name}")) else { continue };
        let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat.map_err(failed)?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind.is_file() && key.as_str().starts_with(prefix) {
            found.push(ObjectMeta { key, size: u64::try_from(stat.st_size).unwrap_or(0) });
        } else if kind.is_dir() {
            let below = format!("{key}/");
            if below.starts_with(prefix) || prefix.starts_with(&below) {
                collect(&open_folder(folder, name).map_err(failed)?, &below, prefix, found)?;
            }
        }
    }
    Ok(())
}
