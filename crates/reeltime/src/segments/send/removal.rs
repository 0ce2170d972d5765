//! Segments of deleted recordings: no row leads to those in the store, so a file here says that they are to go until they
//! are gone. It blocks.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use reeltime_core::id::RecordingId;

/// The file in a recording's folder.
const MARK: &str = "deleted";

/// Marks a recording's folder, made where `always`, and removes what else is in it; false where there is none.
///
/// # Errors
/// Where the mark or a file cannot be written or removed.
pub(super) fn begin(folder: &Path, always: bool) -> io::Result<bool> {
    if always {
        fs::create_dir_all(folder)?;
    } else if !folder.exists() {
        return Ok(false);
    }
    File::create(folder.join(MARK))?.sync_all()?;
    File::open(folder)?.sync_all()?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != MARK {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(true)
}

/// Whether a recording's folder is marked.
pub(super) fn is_begun(folder: &Path) -> bool {
    folder.join(MARK).exists()
}

/// The recordings in the segments' folder that are marked.
///
/// # Errors
/// Where it cannot be read.
pub(super) fn begun(segments: &Path) -> io::Result<Vec<RecordingId>> {
    let entries = match fs::read_dir(segments) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let id: Option<RecordingId> = entry.file_name().to_str().and_then(|name| name.parse().ok());
        found.extend(id.filter(|_| is_begun(&entry.path())));
    }
    Ok(found)
}
