//! Files to judge.

use std::path::PathBuf;

use reeltime_codec::encoder;
use reeltime_core::codec::{Spec, Tags};
use reeltime_core::media::Container;

/// A file as it is while it grows, and what belongs at its beginning in the end.
pub(crate) struct Made {
    pub(crate) bytes: Vec<u8>,
    pub(crate) head: Option<Vec<u8>>,
    /// Bytes of the head.
    pub(crate) begins: usize,
    /// Samples per channel that were given, and bytes that there were then.
    pub(crate) steps: Vec<(u64, usize)>,
}

impl Made {
    /// The file once it is complete.
    pub(crate) fn complete(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if let Some(head) = &self.head {
            assert_eq!(head.len(), self.begins, "the head keeps its length");
            bytes[..head.len()].copy_from_slice(head);
        }
        bytes
    }
}

pub(crate) fn spec(rate: u32, channels: u8) -> Spec {
    Spec { rate, channels, ..Spec::default() }
}

pub(crate) fn tagged(spec: &Spec, tags: Tags) -> Spec {
    Spec { tags, ..spec.clone() }
}

/// Encodes samples in pieces of many sizes.
pub(crate) fn make(container: Container, spec: &Spec, samples: &[i16]) -> Made {
    let mut encoder = encoder(container, spec).unwrap();
    let (mut bytes, mut steps) = (Vec::new(), Vec::new());
    encoder.start(&mut bytes);
    assert_eq!(encoder.head(), None, "nothing is known yet");
    let (begins, channels) = (bytes.len(), usize::from(spec.channels));
    let (mut rest, mut size, mut given) = (samples, 1, 0);
    while !rest.is_empty() {
        let (now, later) = rest.split_at((size * channels).min(rest.len()));
        encoder.push(now, &mut bytes).unwrap();
        given += (now.len() / channels) as u64;
        steps.push((given, bytes.len()));
        rest = later;
        size = size * 7 % 5_003;
    }
    encoder.finish(&mut bytes).unwrap();
    Made { bytes, head: encoder.head(), begins, steps }
}

/// A folder for one test's files.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn write(&self, name: &str, container: Container, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(format!("{name}.{container}"));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The complete file of these samples.
    pub(crate) fn file(&self, container: Container, spec: &Spec, samples: &[i16]) -> PathBuf {
        let name = format!("{}x{}-{}", spec.rate, spec.channels, samples.len());
        self.write(&name, container, &make(container, spec, samples).complete())
    }
}
