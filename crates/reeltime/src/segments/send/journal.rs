//! What is known of one recording's segments, on the disk: a line of JSON for each thing that happened, synced before
//! it is relied upon. A torn last line never happened.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use reeltime_core::cuts::Mark;
use reeltime_core::id::{RecordingId, TrackId};
use serde::{Deserialize, Serialize};

/// The journal's name in a recording's folder.
const NAME: &str = "journal.jsonl";
/// The longest line that is read: names of participants are below 1,024 bytes, addresses below 8 KiB.
const LONGEST: u64 = 64 << 10;

/// A line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Entry {
    Begun(Begun),
    /// The API knows the recording by this id.
    Live {
        id: String,
    },
    /// The API takes nothing while it lasts: all is sent at the end.
    Batch,
    Cut(Segment),
    Sent(Sent),
    /// The target will never take it.
    Refused {
        number: u64,
        why: String,
    },
    /// No more will be cut.
    AllCut {
        ended_ms: i64,
    },
    /// All is sent, and the target knows that this was all.
    Done,
}

/// The journal's first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Begun {
    pub(super) recording: RecordingId,
    pub(super) call: String,
    /// Unix time.
    pub(super) started_ms: i64,
    pub(super) target: String,
}

/// A segment that lies in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Segment {
    /// Among all of the recording.
    pub(super) number: u64,
    pub(super) track: TrackId,
    pub(super) participant: String,
    /// Among those of the participant.
    pub(super) index: u64,
    /// Path in the recording's folder, and in the store below it.
    pub(super) file: String,
    pub(super) bytes: u64,
    /// Unix time.
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    /// Where its track is cut next.
    pub(super) next: Mark,
}

impl Segment {
    /// The file's name.
    pub(super) fn name(&self) -> &str {
        self.file.rsplit('/').next().unwrap_or_default()
    }

    /// The file's format, which is its name's ending.
    pub(super) fn format(&self) -> &str {
        self.file.rsplit('.').next().unwrap_or_default()
    }
}

/// Where a segment arrived.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) number: u64,
    pub(super) url: String,
    pub(super) path: String,
}

/// Where a line lies in the journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    at: u64,
    len: usize,
    /// Of the segment's file.
    bytes: u64,
}

/// How the API takes the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Unknown,
    Live(String),
    Batch,
}

/// A recording's journal, and what follows from it. Of segments that wait it holds the places alone.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    file: File,
    len: u64,
    pub(super) begun: Begun,
    pub(super) way: Way,
    pub(super) all_cut: Option<i64>,
    pub(super) done: bool,
    pub(super) refused: u64,
    waiting: VecDeque<Line>,
    waiting_bytes: u64,
    cut: u64,
    indexes: BTreeMap<String, u64>,
    marks: BTreeMap<TrackId, Mark>,
}

impl Journal {
    /// Begins one in a folder that is made for it.
    pub(super) fn create(folder: &Path, begun: Begun) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(folder.join(NAME))?;
        let mut journal = Self::empty(folder, file, begun.clone());
        journal.append(&Entry::Begun(begun))?;
        File::open(folder)?.sync_all()?;
        folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())?;
        Ok(journal)
    }

    /// Reads one; `None` where the folder has none that begins.
    ///
    /// # Errors
    /// Where it cannot be read, or holds a line that is none.
    pub(super) fn open(folder: &Path) -> io::Result<Option<Self>> {
        let file = match OpenOptions::new().read(true).append(true).open(folder.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut begun = None;
        let mut noted = Vec::new();
        let mut waiting = BTreeMap::new();
        let whole = read_lines(&file, |entry, line| match entry {
            Entry::Begun(first) => begun = Some(first),
            Entry::Cut(segment) => {
                waiting.insert(segment.number, Line { bytes: segment.bytes, ..line });
                noted.push(Entry::Cut(segment));
            }
            Entry::Sent(Sent { number, .. }) => drop(waiting.remove(&number)),
            Entry::Refused { number, why } => {
                waiting.remove(&number);
                noted.push(Entry::Refused { number, why });
            }
            entry @ (Entry::Live { .. } | Entry::Batch | Entry::AllCut { .. } | Entry::Done) => {
                noted.push(entry)
            }
        })?;
        let Some(begun) = begun else { return Ok(None) };
        file.set_len(whole)?;
        let mut journal = Self::empty(folder, file, begun);
        journal.len = whole;
        noted.iter().for_each(|entry| journal.note(entry));
        waiting.into_values().for_each(|line| journal.wait_for(line));
        Ok(Some(journal))
    }

    fn empty(folder: &Path, file: File, begun: Begun) -> Self {
        Self {
            folder: folder.to_owned(),
            file,
            len: 0,
            begun,
            way: Way::Unknown,
            all_cut: None,
            done: false,
            refused: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            cut: 0,
            indexes: BTreeMap::new(),
            marks: BTreeMap::new(),
        }
    }

    /// The recording's folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a line and syncs it: from here on it happened.
    pub(super) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // What there is of it never happened; where not even that can be said, the next start says it.
            let _ = self.file.set_len(self.len);
            return Err(error);
        }
        if let Entry::Cut(segment) = entry {
            self.wait_for(Line { at: self.len, len: line.len(), bytes: segment.bytes });
        }
        self.len += line.len() as u64;
        self.note(entry);
        Ok(())
    }

    fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Begun(_) | Entry::Sent(_) => {}
            Entry::Live { id } => self.way = Way::Live(id.clone()),
            Entry::Batch => self.way = Way::Batch,
            Entry::Cut(segment) => {
                self.cut += 1;
                let index = self.indexes.entry(segment.participant.clone()).or_default();
                *index = (*index).max(segment.index + 1);
                self.marks.insert(segment.track, segment.next);
            }
            Entry::Refused { .. } => self.refused += 1,
            Entry::AllCut { ended_ms } => self.all_cut = Some(*ended_ms),
            Entry::Done => self.done = true,
        }
    }

    /// The number of the next segment, and its index among those of its participant.
    pub(super) fn next_numbers(&self, participant: &str) -> (u64, u64) {
        (self.cut, self.indexes.get(participant).copied().unwrap_or(0))
    }

    /// Where a track is cut next.
    pub(super) fn mark(&self, track: TrackId) -> Option<Mark> {
        self.marks.get(&track).copied()
    }

    /// Segments that wait to be sent, and the bytes of their files.
    pub(super) fn waiting(&self) -> (usize, u64) {
        (self.waiting.len(), self.waiting_bytes)
    }

    fn wait_for(&mut self, line: Line) {
        self.waiting_bytes += line.bytes;
        self.waiting.push_back(line);
    }

    /// Takes the first that waits.
    pub(super) fn take(&mut self) -> Option<Line> {
        let line = self.waiting.pop_front()?;
        self.waiting_bytes -= line.bytes;
        Some(line)
    }

    /// Takes all that wait; how many.
    pub(super) fn take_all(&mut self) -> usize {
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting).len()
    }

    /// Puts one back: its turn comes again.
    pub(super) fn put_back(&mut self, line: Line) {
        self.waiting_bytes += line.bytes;
        self.waiting.push_front(line);
    }

    /// The segment of a line.
    pub(super) fn segment(&self, line: Line) -> io::Result<Segment> {
        let mut text = vec![0; line.len];
        self.file.read_exact_at(&mut text, line.at)?;
        let Entry::Cut(segment) = serde_json::from_slice(&text)? else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the journal was changed from outside"));
        };
        Ok(segment)
    }

    /// All segments that were cut, each with where it arrived; those that were refused are left out.
    pub(super) fn segments(&self) -> io::Result<Vec<(Segment, Option<Sent>)>> {
        let (mut cut, mut sent, mut refused) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        read_lines(&self.file, |entry, _| match entry {
            Entry::Cut(segment) => cut.push(segment),
            Entry::Sent(arrived) => drop(sent.insert(arrived.number, arrived)),
            Entry::Refused { number, .. } => drop(refused.insert(number)),
            Entry::Begun(_) | Entry::Live { .. } | Entry::Batch | Entry::AllCut { .. } | Entry::Done => {}
        })?;
        cut.retain(|segment: &Segment| !refused.contains(&segment.number));
        Ok(cut
            .into_iter()
            .map(|segment| {
                let arrived = sent.remove(&segment.number);
                (segment, arrived)
            })
            .collect())
    }
}

/// Gives each line with its place; the length of all that are whole.
fn read_lines(file: &File, mut each: impl FnMut(Entry, Line)) -> io::Result<u64> {
    let mut reader = BufReader::new(At { file, at: 0 });
    let mut at = 0;
    let mut text = Vec::new();
    loop {
        text.clear();
        reader.by_ref().take(LONGEST).read_until(b'\n', &mut text)?;
        if text.last() != Some(&b'\n') && (text.len() as u64) < LONGEST {
            return Ok(at);
        }
        each(serde_json::from_slice(&text)?, Line { at, len: text.len(), bytes: 0 });
        at += text.len() as u64;
    }
}

/// A file from its first byte on, wherever others read it.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn begun() -> Begun {
        Begun { recording: RecordingId(Uuid::nil()), call: "c".into(), started_ms: 5, target: "store".into() }
    }

    fn segment(number: u64, participant: &str, index: u64) -> Entry {
        let next = Mark { heard: number * 10, silence: 0, open: false };
        let file = format!("{participant}/segment_{index:03}.wav");
        let (track, participant) = (TrackId(Uuid::nil()), participant.to_owned());
        Entry::Cut(Segment {
            number,
            track,
            participant,
            index,
            file,
            bytes: 100,
            start_ms: 1,
            end_ms: 2,
            next,
        })
    }

    fn sent(number: u64) -> Entry {
        Entry::Sent(Sent { number, url: "u".into(), path: "p".into() })
    }

    #[test]
    fn what_was_written_is_known_again_whatever_byte_the_last_line_is_torn_at() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("r");
        let mut journal = Journal::create(&place, begun()).unwrap();
        let lines = [
            Entry::Live { id: "7".into() },
            segment(0, "ann", 0),
            segment(1, "bob", 0),
            sent(0),
            segment(2, "ann", 1),
        ];
        lines.iter().for_each(|line| journal.append(line).unwrap());
        let before = journal.len;
        journal.append(&Entry::Refused { number: 1, why: "no".into() }).unwrap();
        for torn in before..journal.len {
            let whole = fs::read(place.join(NAME)).unwrap();
            fs::write(place.join(NAME), &whole[..torn as usize]).unwrap();
            let mut read = Journal::open(&place).unwrap().unwrap();
            assert_eq!((read.waiting(), read.refused, read.len), ((2, 200), 0, before));
            assert_eq!((read.next_numbers("ann"), read.next_numbers("bob")), ((3, 2), (3, 1)));
            assert_eq!(read.mark(TrackId(Uuid::nil())).unwrap().heard, 20);
            assert_eq!(read.way, Way::Live("7".into()));
            let first = read.take().unwrap();
            assert_eq!(read.segment(first).unwrap().file, "bob/segment_000.wav");
            fs::write(place.join(NAME), whole).unwrap();
        }
        let read = Journal::open(&place).unwrap().unwrap();
        assert_eq!((read.waiting(), read.refused), ((1, 100), 1));
        let told: Vec<_> = read
            .segments()
            .unwrap()
            .into_iter()
            .map(|(segment, sent)| (segment.number, sent.is_some()))
            .collect();
        assert_eq!(told, [(0, true), (2, false)]);
    }

    #[test]
    fn a_line_that_is_none_is_an_error_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("r");
        drop(Journal::create(&place, begun()).unwrap());
        let mut text = fs::read(place.join(NAME)).unwrap();
        text.extend_from_slice(b"garbage\n");
        fs::write(place.join(NAME), &text).unwrap();
        assert!(Journal::open(&place).is_err());
        assert_eq!(fs::read(place.join(NAME)).unwrap(), text);
        assert!(Journal::open(folder.path()).unwrap().is_none());
    }
}
