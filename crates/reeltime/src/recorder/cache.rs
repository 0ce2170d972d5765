//! Files that were made on demand, kept within a budget: what was made once can be sought in. All of it can be made
//! again, so whatever goes wrong here costs time and nothing else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use reeltime_core::id::RecordingId;
use sha2::{Digest, Sha256};
use tracing::debug;

use crate::blocking::remove;
use crate::encode::Made;
use crate::spare::Spare;

/// How long what is known of the folder is believed.
const LOOK: Duration = Duration::from_secs(10);

/// The folder of such files.
#[derive(Debug)]
pub(crate) struct Cache {
    room: Arc<Room>,
    next: AtomicU64,
}

/// How much there may be of them, and is.
#[derive(Debug)]
struct Room {
    folder: PathBuf,
    budget: u64,
    spare: Spare,
    /// What is known of it; nothing before the first look.
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    looked: Instant,
    /// Bytes that there were then, and that came since.
    bytes: u64,
}

/// The name of a file that can be made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheKey {
    recording: RecordingId,
    name: String,
}

impl CacheKey {
    /// `what` tells all that makes a difference to the bytes.
    pub(crate) fn new(recording: RecordingId, what: &str, extension: &str) -> Self {
        let digest = Sha256::digest(what.as_bytes());
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { recording, name: format!("{hex}.{extension}") }
    }

    /// Tells it from every other, as an entity tag does.
    pub(crate) fn tag(&self) -> String {
        format!("\"{}-{}\"", self.recording, self.name)
    }
}

impl Cache {
    /// Uses `folder`, which is made when it is needed; what an earlier process left half made is removed.
    pub(crate) fn open(folder: PathBuf, budget: u64, spare: u64) -> Self {
        let half_made = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in half_made.filter(|path| path.extension().is_some_and(|end| end == "part")) {
            let _ = fs::remove_file(path);
        }
        let spare = Spare::new(folder.clone(), spare);
        let room = Room { folder, budget, spare, known: Mutex::default() };
        Self { room: Arc::new(room), next: AtomicU64::new(0) }
    }

    fn path(&self, key: &CacheKey) -> PathBuf {
        self.room.folder.join(key.recording.to_string()).join(&key.name)
    }

    /// The file and its size, where it was made before.
    pub(crate) fn find(&self, key: &CacheKey) -> Option<(File, u64)> {
        let file = File::open(self.path(key)).ok()?;
        // What is asked for goes last.
        let _ = file.set_modified(SystemTime::now());
        let size = file.metadata().ok()?.len();
        Some((file, size))
    }

    /// Begins a file; `None` where there is no room for any.
    pub(crate) fn begin(&self, key: &CacheKey) -> Option<Keeping> {
        let (path, part) = (self.path(key), self.part());
        let begun = || -> io::Result<File> {
            fs::create_dir_all(path.parent().unwrap_or(&self.room.folder))?;
            OpenOptions::new().write(true).create_new(true).open(&part)
        };
        if self.room.budget == 0 {
            return None;
        }
        self.yield_space();
        match begun() {
            Ok(file) => Some(Keeping { file: Some(file), part, path, room: Arc::clone(&self.room), size: 0 }),
            Err(error) => {
                debug!(%error, "cannot keep a file that is made on demand");
                None
            }
        }
    }

    /// Moves a file that is whole in here, where there is room for it; else it is left where it is.
    pub(crate) fn adopt(&self, key: &CacheKey, file: &Path) {
        let path = self.path(key);
        let moved = || -> io::Result<()> {
            let size = fs::metadata(file)?.len();
            if size > self.room.budget {
                return Ok(());
            }
            fs::create_dir_all(path.parent().unwrap_or(&self.room.folder))?;
            fs::rename(file, &path)?;
            self.room.took(size, &path);
            Ok(())
        };
        if let Err(error) = moved() {
            debug!(%error, "cannot keep a file that is made on demand");
        }
    }

    /// Removes files while the disk has less than is to stay free.
    pub(crate) fn yield_space(&self) {
        if self.room.spare.is_short() {
            debug!("the disk is getting full: files that can be made again are removed");
            self.room.remove_oldest(None, |_, _| self.room.spare.is_short());
        }
    }

    /// What stays free on its disk: recordings come first.
    pub(crate) fn spare(&self) -> &Spare {
        &self.room.spare
    }

    /// A name for a file that is not whole yet.
    pub(crate) fn part(&self) -> PathBuf {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.room.folder.join(format!("{}-{next}.part", std::process::id()))
    }

    /// Removes what was made of a recording.
    pub(crate) fn forget(&self, recording: RecordingId) {
        let _ = fs::remove_dir_all(self.room.folder.join(recording.to_string()));
    }
}

/// A file on its way into the cache; dropped before it is complete, it goes.
pub(crate) struct Keeping {
    file: Option<File>,
    part: PathBuf,
    path: PathBuf,
    room: Arc<Room>,
    size: u64,
}

impl Made for Keeping {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.size += bytes.len() as u64;
        let written = self.file.as_mut().map(|file| file.write_all(bytes));
        let failed = matches!(written, Some(Err(_))) || self.size > self.room.budget;
        if self.file.is_some() && (failed || self.room.spare.is_short()) {
            debug!(file = %self.path.display(), "there is no room to keep a file that is made on demand");
            self.file = None;
            // It may be read for long yet.
            let _ = fs::remove_file(&self.part);
        }
        // Whoever reads it gets it all the same.
        Ok(())
    }

    fn complete(&mut self, head: Option<Vec<u8>>) -> io::Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let patched = head.map_or(Ok(()), |head| file.write_all_at(&head, 0));
        if patched.and_then(|()| fs::rename(&self.part, &self.path)).is_ok() {
            self.room.took(self.size, &self.path);
        }
        Ok(())
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        // Gone already where it was completed.
        remove(std::mem::take(&mut self.part));
    }
}

impl Room {
    /// There is one more, of so many bytes. The folder is looked at where that may be too much, and from time to time, for
    /// what is still made grows as well; then so many go that the next ones find room.
    fn took(&self, bytes: u64, newest: &Path) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &mut *known {
            known.bytes = known.bytes.saturating_add(bytes);
            if known.bytes <= self.budget && known.looked.elapsed() < LOOK {
                return;
            }
        }
        let (most, plenty) = (self.budget, self.budget - self.budget / 16);
        let left = self.remove_oldest(Some(newest), |total, left| total > most && left > plenty);
        *known = Some(Known { looked: Instant::now(), bytes: left });
    }

    /// Removes the files that were asked for longest ago, as long as `more` are to go: it is told how many bytes there were
    /// and are left. `newest` stays. Gives what is left.
    fn remove_oldest(&self, newest: Option<&Path>, more: impl Fn(u64, u64) -> bool) -> u64 {
        let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
        let (folders, parts): (Vec<_>, Vec<_>) =
            entries(&self.folder).partition(|entry| entry.path().is_dir());
        let files = folders.into_iter().flat_map(|folder| entries(&folder.path()));
        let known = |entry: fs::DirEntry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        };
        let mut files: Vec<_> = files.filter_map(known).collect();
        files.sort();
        // What is still made counts, and stays.
        let made: u64 = parts.iter().filter_map(|part| part.metadata().ok()).map(|part| part.len()).sum();
        let total: u64 = made + files.iter().map(|(_, size, _)| size).sum::<u64>();
        let mut left = total;
        for (_, size, path) in files {
            if !more(total, left) {
                break;
            }
            if newest != Some(&*path) && fs::remove_file(&path).is_ok() {
                left -= size;
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u128, what: &str) -> CacheKey {
        CacheKey::new(RecordingId(uuid::Uuid::from_u128(number)), what, "mp3")
    }

    fn keep(cache: &Cache, key: &CacheKey, bytes: &[u8]) {
        let mut keeping = cache.begin(key).unwrap();
        keeping.bytes(bytes).and_then(|()| keeping.complete(None)).unwrap();
    }

    fn read(cache: &Cache, key: &CacheKey) -> Option<Vec<u8>> {
        let (file, size) = cache.find(key)?;
        let mut bytes = vec![0; size as usize];
        file.read_exact_at(&mut bytes, 0).ok().map(|()| bytes)
    }

    #[test]
    fn what_was_made_is_found_with_its_final_head() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache"), 1_000, 0);
        let mut making = cache.begin(&key(1, "mp3 mono")).unwrap();
        making.bytes(b"????, then sound").unwrap();
        assert_eq!(read(&cache, &key(1, "mp3 mono")), None, "not before it is whole");
        making.complete(Some(b"head".to_vec())).unwrap();
        assert_eq!(read(&cache, &key(1, "mp3 mono")).unwrap(), b"head, then sound");
        assert_eq!(read(&cache, &key(1, "mp3 stereo")), None);
        cache.forget(key(1, "").recording);
        assert_eq!(read(&cache, &key(1, "mp3 mono")), None);
    }

    #[test]
    fn what_grew_beside_is_counted_at_the_next_look() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().to_owned(), 100, 0);
        keep(&cache, &key(1, "a"), &[1; 40]);
        fs::write(cache.part(), [0; 80]).unwrap();
        keep(&cache, &key(2, "b"), &[2; 5]);
        // Reading it would make it the last to go.
        assert!(cache.path(&key(1, "a")).exists(), "what is known is believed for a while");
        cache.room.known.lock().unwrap().as_mut().unwrap().looked -= LOOK;
        keep(&cache, &key(3, "c"), &[3; 5]);
        assert_eq!(read(&cache, &key(1, "a")), None);
        assert!(read(&cache, &key(2, "b")).is_some() && read(&cache, &key(3, "c")).is_some());
    }

    #[test]
    fn a_disk_that_gets_full_is_left_to_recordings() {
        let folder = tempfile::tempdir().unwrap();
        let plenty = Cache::open(folder.path().to_owned(), 1_000, 0);
        keep(&plenty, &key(1, "a"), b"kept");
        plenty.yield_space();
        assert!(read(&plenty, &key(1, "a")).is_some());
        let short = Cache::open(folder.path().to_owned(), 1_000, u64::MAX);
        let mut making = short.begin(&key(2, "a")).unwrap();
        assert_eq!(read(&short, &key(1, "a")), None, "it can be made again");
        making.bytes(b"not kept").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().filter(is_part).count(), 0);
        making.complete(None).unwrap();
        assert_eq!(read(&short, &key(2, "a")), None);
    }

    fn is_part(entry: &io::Result<fs::DirEntry>) -> bool {
        entry.as_ref().unwrap().path().is_file()
    }

    #[test]
    fn what_was_broken_off_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().to_owned(), 1_000, 0);
        cache.begin(&key(1, "a")).unwrap().bytes(b"half").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().filter(is_part).count(), 0);
    }

    #[test]
    fn a_file_made_elsewhere_is_taken_in_where_it_fits() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().to_owned(), 4, 0);
        for (what, bytes, kept) in [("fits", "four", true), ("does not", "larger", false)] {
            let part = cache.part();
            fs::write(&part, bytes).unwrap();
            cache.adopt(&key(1, what), &part);
            assert_eq!((read(&cache, &key(1, what)).is_some(), part.exists()), (kept, !kept), "{what}");
        }
    }

    #[test]
    fn what_is_still_made_counts_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().to_owned(), 250, 0);
        let outline = cache.part();
        fs::write(&outline, [0; 100]).unwrap();
        for number in [1, 2] {
            keep(&cache, &key(number, "a"), &[0; 100]);
            if let Some((file, _)) = cache.find(&key(number, "a")) {
                file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64))
                    .unwrap();
            }
        }
        assert_eq!([1, 2].map(|number| read(&cache, &key(number, "a")).is_some()), [false, true]);
        assert!(outline.exists());
    }

    #[test]
    fn what_was_asked_for_longest_ago_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().to_owned(), 250, 0);
        for (number, seconds) in [(1, 10), (2, 20), (3, 30)] {
            keep(&cache, &key(number, "a"), &[0; 100]);
            if let Some((file, _)) = cache.find(&key(number, "a")) {
                file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
            }
        }
        let there = [1, 2, 3].map(|number| cache.path(&key(number, "a")).exists());
        assert_eq!(there, [false, true, true]);
        keep(&cache, &key(4, "a"), &[0; 251]);
        assert_eq!(read(&cache, &key(4, "a")), None, "larger than all that may be kept");
    }
}
