//! A disk in memory that fails, fills up, stalls and loses power when told to.
//!
//! It is as unkind as a real one may be. What was written is seen by every reader at once and survives the death of
//! the process ([`SimDisk::kill`]), but power takes it away ([`SimDisk::lose_power`]) unless a sync came after it.
//! A name is a thing of its own, which only a sync of the folder keeps. After a sync that failed, the system takes
//! the bytes for clean: a later sync that succeeds says nothing about them.

use std::collections::HashMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use reeltime::spool::{Disk, DiskFile};

use crate::chance::Chance;

/// Power takes or keeps bytes in sectors of this size.
const SECTOR: usize = 512;

/// A kind of call to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`Disk::create`].
    Create,
    /// [`DiskFile::write_at`].
    Write,
    /// [`DiskFile::sync`].
    Sync,
    /// [`Disk::sync_folder`].
    SyncFolder,
}

impl Call {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Create, Self::Write, Self::Sync, Self::SyncFolder];
}

/// What a reader gets of bytes whose sync has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadBack {
    /// The bytes: they are still in memory.
    #[default]
    Intact,
    /// An error.
    Fails,
    /// Sectors of zeros among them: the system has thrown some pages away.
    Holes,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    moving: Condvar,
}

#[derive(Clone, Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: HashMap<String, Name>,
    /// Names that were durable when they were removed; a crash may bring them back.
    removed: HashMap<String, usize>,
    reserves: HashMap<String, u64>,
    /// Bytes that all files together may take.
    capacity: u64,
    calls: HashMap<Call, u64>,
    faults: Vec<(Call, RangeInclusive<u64>)>,
    read_back: ReadBack,
    stalled: bool,
    dead: bool,
    longest_write: usize,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    inode: usize,
    durable: bool,
    /// A sync of the folder that should have kept it has failed.
    forsaken: bool,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    /// Bytes before this were synced, but for those in `lost`.
    synced: usize,
    /// Bytes that a failed sync left behind.
    lost: Option<(usize, usize)>,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::of(State { capacity: u64::MAX, ..State::default() })
    }
}

impl SimDisk {
    fn of(state: State) -> Self {
        Self(Arc::new(Shared { state: Mutex::new(state), moving: Condvar::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `nth` call of a kind from now on fails with EIO (1: the next), and so do the `times - 1` after it.
    pub fn fail(&self, call: Call, nth: u64, times: u64) {
        let mut state = self.lock();
        let first = state.calls.get(&call).copied().unwrap_or(0) + nth;
        state.faults.push((call, first..=first + times - 1));
    }

    /// What readers get of bytes whose sync failed.
    pub fn read_back(&self, read_back: ReadBack) {
        self.lock().read_back = read_back;
    }

    /// All files together may take `bytes` from now on.
    pub fn limit(&self, bytes: u64) {
        self.lock().capacity = bytes;
    }

    /// Bytes that all files take together, with what was set aside.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Writes and syncs wait while this is so.
    pub fn stall(&self, stalled: bool) {
        self.lock().stalled = stalled;
        self.0.moving.notify_all();
    }

    /// Calls of a kind so far.
    pub fn calls(&self, call: Call) -> u64 {
        self.lock().calls.get(&call).copied().unwrap_or(0)
    }

    /// Bytes of the largest single write so far.
    pub fn longest_write(&self) -> usize {
        self.lock().longest_write
    }

    /// The process dies. What is left to the next one: everything, none of it any safer than it was.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut left = self.die();
        left.faults.clear();
        left.dead = false;
        Self::of(left)
    }

    /// The power fails. What is left: what was synced, and of the rest what chance wants.
    #[must_use]
    pub fn lose_power(&self, chance: &mut Chance) -> Self {
        Self::of(self.die().after_power_loss(chance))
    }

    /// Takes the disk away from the process that has it: all its calls fail from now on.
    fn die(&self) -> State {
        let mut state = self.lock();
        let left = State { stalled: false, ..state.clone() };
        state.dead = true;
        state.stalled = false;
        drop(state);
        self.0.moving.notify_all();
        left
    }

    /// Counts a call; waits while the disk is stalled, and fails where it is to.
    fn enter(&self, call: Call) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        *state.calls.entry(call).or_default() += 1;
        let number = state.calls[&call];
        while state.stalled && matches!(call, Call::Write | Call::Sync) {
            state = self.0.moving.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.alive()?;
        if state.faults.iter().any(|(of, numbers)| *of == call && numbers.contains(&number)) {
            state.suffer(call);
            return Err(eio());
        }
        Ok(state)
    }

    fn file(&self, inode: usize) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.clone(), inode })
    }
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(eio()) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        let files: usize = self.names.values().map(|name| self.inodes[name.inode].bytes.len()).sum();
        files as u64 + self.reserves.values().sum::<u64>()
    }

    /// What a call that fails does all the same.
    fn suffer(&mut self, call: Call) {
        if call == Call::SyncFolder {
            for name in self.names.values_mut().filter(|name| !name.durable) {
                name.forsaken = true;
            }
        }
    }

    fn after_power_loss(&self, chance: &mut Chance) -> Self {
        let mut left = Self { capacity: self.capacity, ..Self::default() };
        let mut names: Vec<_> = self.names.iter().map(|(name, at)| (name, at.inode, at.durable)).collect();
        names.extend(self.removed.iter().map(|(name, &inode)| (name, inode, false)));
        names.sort_unstable();
        for (name, inode, durable) in names {
            if durable || chance.one_in(2) {
                let inode = left.add(self.inodes[inode].after_power_loss(chance));
                left.names.insert(name.clone(), Name { inode, durable: true, forsaken: false });
            }
        }
        left
    }

    fn enter_name(&mut self, name: &str) -> usize {
        let inode = self.add(Inode::default());
        self.names.insert(name.to_owned(), Name { inode, durable: false, forsaken: false });
        inode
    }

    fn add(&mut self, inode: Inode) -> usize {
        self.inodes.push(inode);
        self.inodes.len() - 1
    }
}

impl Inode {
    fn is_safe(&self, at: usize) -> bool {
        at < self.synced && self.lost.is_none_or(|(from, to)| at < from || at >= to)
    }

    /// Each sector that is not safe is kept, lost, zeroed or torn; the file may end anywhere behind what is.
    fn after_power_loss(&self, chance: &mut Chance) -> Self {
        let mut bytes = self.bytes.clone();
        for sector in 0..bytes.len().div_ceil(SECTOR) {
            let (outcome, torn) = (chance.next(), chance.within(0..SECTOR as u64) as usize);
            for at in
                (sector * SECTOR..bytes.len().min((sector + 1) * SECTOR)).filter(|&at| !self.is_safe(at))
            {
                match outcome % 4 {
                    0 => {}
                    1 => bytes[at] = 0,
                    2 if at % SECTOR >= torn => bytes[at] = 0,
                    2 => {}
                    _ => bytes[at] = chance.next() as u8,
                }
            }
        }
        let safe = self.lost.map_or(self.synced, |(from, _)| from.min(self.synced));
        let end = if chance.one_in(2) {
            bytes.len()
        } else {
            chance.within(safe as u64..bytes.len() as u64 + 1) as usize
        };
        bytes.truncate(end.max(if self.lost.is_some() { safe } else { self.synced }));
        Self { synced: bytes.len(), bytes, lost: None }
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = match self.enter(Call::Create) {
            Ok(state) => state,
            Err(error) => {
                let mut state = self.lock();
                // It may have left the file all the same.
                if !state.dead && state.calls[&Call::Create].is_multiple_of(2) {
                    state.enter_name(name);
                }
                return Err(error);
            }
        };
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.enter_name(name);
        Ok(self.file(inode))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.lock();
        state.alive()?;
        let found = state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(found.inode))
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.enter(Call::SyncFolder)?;
        for name in state.names.values_mut().filter(|name| !name.forsaken) {
            name.durable = true;
        }
        state.removed.clear();
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.alive()?;
        Ok(state.names.keys().chain(state.reserves.keys()).cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.alive()?;
        state.reserves.remove(name);
        if let Some(gone) = state.names.remove(name).filter(|gone| gone.durable) {
            state.removed.insert(name.to_owned(), gone.inode);
        }
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        let state = self.lock();
        state.alive()?;
        Ok(state.capacity.saturating_sub(state.used()))
    }

    fn reserve(&self, name: &str, bytes: u64) -> io::Result<()> {
        let mut state = self.lock();
        state.alive()?;
        if state.capacity.saturating_sub(state.used()) < bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.reserves.insert(name.to_owned(), bytes);
        Ok(())
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl SimFile {
    /// As much of `bytes` as `room` allows.
    fn put(state: &mut State, inode: usize, bytes: &[u8], offset: u64) {
        let inode = &mut state.inodes[inode];
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = at + bytes.len();
        let again = at.min(inode.synced)..end.min(inode.synced);
        assert!(inode.bytes[again.clone()] == bytes[..again.len()], "what was synced is overwritten");
        if inode.bytes.len() < end {
            inode.bytes.resize(end, 0);
        }
        inode.bytes[at..end].copy_from_slice(bytes);
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = match self.disk.enter(Call::Write) {
            Ok(state) => state,
            Err(error) => {
                let mut state = self.disk.lock();
                if !state.dead {
                    Self::put(&mut state, self.inode, &bytes[..bytes.len() / 2], offset);
                }
                return Err(error);
            }
        };
        state.longest_write = state.longest_write.max(bytes.len());
        let room = state.capacity.saturating_sub(state.used()) + state.inodes[self.inode].bytes.len() as u64;
        let fits = usize::try_from(room.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        Self::put(&mut state, self.inode, &bytes[..fits], offset);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        state.alive()?;
        let (inode, at) = (&state.inodes[self.inode], usize::try_from(offset).unwrap_or(usize::MAX));
        let rest = inode.bytes.get(at..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        let Some((from, to)) = inode.lost else { return Ok(length) };
        let holes = (at.max(from)..to.min(at + length)).filter(|at| (at / SECTOR) % 3 == 1);
        match state.read_back {
            ReadBack::Intact => {}
            ReadBack::Fails if at < to && at + length > from => return Err(eio()),
            ReadBack::Fails => {}
            ReadBack::Holes => holes.for_each(|hole| buffer[hole - at] = 0),
        }
        Ok(length)
    }

    fn sync(&self) -> io::Result<()> {
        match self.disk.enter(Call::Sync) {
            Ok(mut state) => {
                let inode = &mut state.inodes[self.inode];
                inode.synced = inode.bytes.len();
                Ok(())
            }
            Err(error) => {
                let inode = &mut self.disk.lock().inodes[self.inode];
                let from = inode.lost.map_or(inode.synced, |(from, _)| from);
                inode.lost = Some((from, inode.bytes.len()));
                Err(error)
            }
        }
    }

    fn size(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        state.alive()?;
        Ok(state.inodes[self.inode].bytes.len() as u64)
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}
