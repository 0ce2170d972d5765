//! A ZIP archive as bytes, append only: entries are stored as they are, so that nothing has to be known of one but its
//! name and size when it begins (APPNOTE.TXT 6.3.10; sizes past 4 GiB and more than 65,535 entries by ZIP64, §4.5.3).
//!
//! ```text
//! per entry: local header, bytes, data descriptor │ central directory │ [ZIP64 end, locator] │ end
//! ```

/// Name in UTF-8 (§4.4.4 bit 11), sizes and CRC in a data descriptor behind the bytes (bit 3).
const FLAGS: u16 = 1 << 11 | 1 << 3;
/// The version that reads ZIP64 (§4.4.3.2).
const VERSION: u16 = 45;
/// 1 January 1980: the earliest date that the format knows.
const EPOCH: (u16, u16) = (0, 1 << 5 | 1);

/// Writes one archive.
#[derive(Debug, Default)]
pub struct Zip {
    /// The central directory so far.
    directory: Vec<u8>,
    entries: u64,
    /// Bytes written.
    at: u64,
    open: Option<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    header_at: u64,
    long: bool,
    size: u64,
    crc: u32,
}

impl Zip {
    /// An archive without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins an entry of at most `size` bytes. Names are to be relative, with `/` between their parts.
    pub fn begin(&mut self, name: &str, size: u64, out: &mut Vec<u8>) {
        self.end_entry(out);
        let (before, header_at) = (out.len(), self.at);
        // Where sizes do not fit 32 bits, the extra field says that the descriptor's are of 64 (§4.3.9.2).
        let long = size >= u64::from(u32::MAX);
        let name: String = name.chars().take(MOST_NAME).collect();
        let sizes = if long { u32::MAX } else { 0 };
        put32(out, 0x0403_4b50);
        put_common(out, 0, sizes, sizes);
        put16(out, name.len() as u16);
        put16(out, if long { 20 } else { 0 });
        out.extend_from_slice(name.as_bytes());
        if long {
            put16(out, 1);
            put16(out, 16);
            out.extend_from_slice(&[0; 16]);
        }
        self.open = Some(Entry { name, header_at, long, size: 0, crc: !0 });
        self.at += (out.len() - before) as u64;
    }

    /// Counts bytes of the open entry, which follow what [`Self::begin`] gave.
    pub fn bytes(&mut self, bytes: &[u8]) {
        if let Some(entry) = &mut self.open {
            entry.crc =
                bytes.iter().fold(entry.crc, |crc, byte| crc >> 8 ^ CRC[usize::from(crc as u8 ^ byte)]);
            entry.size += bytes.len() as u64;
            self.at += bytes.len() as u64;
        }
    }

    /// Ends the archive.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_entry(out);
        let (before, begin, size) = (out.len(), self.at, self.directory.len() as u64);
        out.append(&mut self.directory);
        if self.entries >= u64::from(u16::MAX) || begin + size >= u64::from(u32::MAX) {
            put_zip64_end(out, self.entries, begin, size);
        }
        put32(out, 0x0605_4b50);
        put32(out, 0);
        let entries = self.entries.min(u64::from(u16::MAX)) as u16;
        put16(out, entries);
        put16(out, entries);
        put32(out, size.min(u64::from(u32::MAX)) as u32);
        put32(out, begin.min(u64::from(u32::MAX)) as u32);
        put16(out, 0);
        self.at += (out.len() - before) as u64;
    }

    /// The descriptor of the open entry, and its place in the directory.
    fn end_entry(&mut self, out: &mut Vec<u8>) {
        let Some(Entry { name, header_at, long, size, crc }) = self.open.take() else { return };
        let crc = !crc;
        let before = out.len();
        put32(out, 0x0807_4b50);
        put32(out, crc);
        if long {
            out.extend_from_slice(&size.to_le_bytes());
            out.extend_from_slice(&size.to_le_bytes());
        } else {
            put32(out, size as u32);
            put32(out, size as u32);
        }
        self.at += (out.len() - before) as u64;
        self.entries += 1;
        let far = header_at >= u64::from(u32::MAX);
        let directory = &mut self.directory;
        put32(directory, 0x0201_4b50);
        put16(directory, VERSION);
        let small = if long { u32::MAX } else { size as u32 };
        put_common(directory, crc, small, small);
        put16(directory, name.len() as u16);
        let extra = 8 * (2 * u16::from(long) + u16::from(far));
        put16(directory, if extra > 0 { extra + 4 } else { 0 });
        directory.extend_from_slice(&[0; 10]);
        put32(directory, if far { u32::MAX } else { header_at as u32 });
        directory.extend_from_slice(name.as_bytes());
        if extra > 0 {
            put16(directory, 1);
            put16(directory, extra);
        }
        if long {
            directory.extend_from_slice(&size.to_le_bytes());
            directory.extend_from_slice(&size.to_le_bytes());
        }
        if far {
            directory.extend_from_slice(&header_at.to_le_bytes());
        }
    }
}

/// Letters that are kept of a name, so that its length fits in any case.
const MOST_NAME: usize = 4_096;

/// What local header and directory have in common: version to flags, method "stored", date, CRC and sizes.
fn put_common(out: &mut Vec<u8>, crc: u32, packed: u32, size: u32) {
    for field in [VERSION, FLAGS, 0, EPOCH.0, EPOCH.1] {
        put16(out, field);
    }
    for field in [crc, packed, size] {
        put32(out, field);
    }
}

/// The ZIP64 end of central directory record and its locator (§4.3.14, §4.3.15).
fn put_zip64_end(out: &mut Vec<u8>, entries: u64, begin: u64, size: u64) {
    put32(out, 0x0606_4b50);
    out.extend_from_slice(&44_u64.to_le_bytes());
    put16(out, VERSION);
    put16(out, VERSION);
    out.extend_from_slice(&[0; 8]);
    for field in [entries, entries, size, begin] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    put32(out, 0x0706_4b50);
    put32(out, 0);
    out.extend_from_slice(&(begin + size).to_le_bytes());
    put32(out, 1);
}

fn put16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// CRC-32 as ZIP has it (§4.4.7), by byte.
static CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut zip, mut out) = (Zip::new(), Vec::new());
        for (name, content) in entries {
            zip.begin(name, content.len() as u64, &mut out);
            zip.bytes(content);
            out.extend_from_slice(content);
        }
        zip.finish(&mut out);
        assert_eq!(zip.at, out.len() as u64);
        out
    }

    #[test]
    fn the_crc_is_the_one_that_everybody_has() {
        let bytes = archive(&[("a", b"123456789")]);
        let crc = 0xCBF4_3926_u32.to_le_bytes();
        assert_eq!(bytes.windows(4).filter(|four| *four == crc).count(), 2, "descriptor and directory");
    }

    #[test]
    fn the_directory_says_where_each_entry_begins() {
        let bytes = archive(&[("a", b"one"), ("b/c", b""), ("d", b"three")]);
        let places = |magic: &[u8]| -> Vec<usize> {
            (0..bytes.len() - 3).filter(|&at| &bytes[at..at + 4] == magic).collect()
        };
        let told = places(b"PK\x01\x02").into_iter().map(|at| bytes[at + 42..at + 46].try_into().unwrap());
        let told: Vec<usize> = told.map(|place| u32::from_le_bytes(place) as usize).collect();
        assert_eq!(told, places(b"PK\x03\x04"));
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn an_archive_of_nothing_is_an_end_alone() {
        let end = archive(&[]);
        assert_eq!((end.len(), &end[..4]), (22, &b"PK\x05\x06"[..]));
    }

    #[test]
    fn an_entry_past_4_gib_has_its_sizes_in_64_bits() {
        let (mut zip, mut out) = (Zip::new(), Vec::new());
        zip.begin("large", 5 << 30, &mut out);
        // As if so much had been written.
        if let Some(entry) = &mut zip.open {
            entry.size = 5 << 30;
        }
        zip.at += 5 << 30;
        zip.begin("behind", 0, &mut out);
        zip.finish(&mut out);
        let size = (5_u64 << 30).to_le_bytes();
        assert_eq!(
            out.windows(8).filter(|eight| *eight == size).count(),
            4,
            "twice each: descriptor, directory"
        );
        assert!(out.windows(4).any(|four| four == 0x0606_4b50_u32.to_le_bytes()), "the ZIP64 end");
    }
}
