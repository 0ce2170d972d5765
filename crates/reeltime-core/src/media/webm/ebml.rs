//! EBML elements (RFC 8794): an id, a size, the content.

/// Ids, as they are written (RFC 9559 §5).
pub(super) mod id {
    pub(crate) const EBML: u32 = 0x1A45_DFA3;
    pub(crate) const EBML_VERSION: u32 = 0x4286;
    pub(crate) const EBML_READ_VERSION: u32 = 0x42F7;
    pub(crate) const MAX_ID_LENGTH: u32 = 0x42F2;
    pub(crate) const MAX_SIZE_LENGTH: u32 = 0x42F3;
    pub(crate) const DOC_TYPE: u32 = 0x4282;
    pub(crate) const DOC_TYPE_VERSION: u32 = 0x4287;
    pub(crate) const DOC_TYPE_READ_VERSION: u32 = 0x4285;
    pub(crate) const VOID: u32 = 0xEC;
    pub(crate) const SEGMENT: u32 = 0x1853_8067;
    pub(crate) const SEEK_HEAD: u32 = 0x114D_9B74;
    pub(crate) const SEEK: u32 = 0x4DBB;
    pub(crate) const SEEK_ID: u32 = 0x53AB;
    pub(crate) const SEEK_POSITION: u32 = 0x53AC;
    pub(crate) const INFO: u32 = 0x1549_A966;
    pub(crate) const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
    pub(crate) const DURATION: u32 = 0x4489;
    pub(crate) const TITLE: u32 = 0x7BA9;
    pub(crate) const MUXING_APP: u32 = 0x4D80;
    pub(crate) const WRITING_APP: u32 = 0x5741;
    pub(crate) const TRACKS: u32 = 0x1654_AE6B;
    pub(crate) const TRACK_ENTRY: u32 = 0xAE;
    pub(crate) const TRACK_NUMBER: u32 = 0xD7;
    pub(crate) const TRACK_UID: u32 = 0x73C5;
    pub(crate) const TRACK_TYPE: u32 = 0x83;
    pub(crate) const FLAG_LACING: u32 = 0x9C;
    pub(crate) const CODEC_ID: u32 = 0x86;
    pub(crate) const CODEC_PRIVATE: u32 = 0x63A2;
    pub(crate) const CODEC_DELAY: u32 = 0x56AA;
    pub(crate) const SEEK_PRE_ROLL: u32 = 0x56BB;
    pub(crate) const AUDIO: u32 = 0xE1;
    pub(crate) const SAMPLING_FREQUENCY: u32 = 0xB5;
    pub(crate) const CHANNELS: u32 = 0x9F;
    pub(crate) const TAGS: u32 = 0x1254_C367;
    pub(crate) const TAG: u32 = 0x7373;
    pub(crate) const TARGETS: u32 = 0x63C0;
    pub(crate) const SIMPLE_TAG: u32 = 0x67C8;
    pub(crate) const TAG_NAME: u32 = 0x45A3;
    pub(crate) const TAG_STRING: u32 = 0x4487;
    pub(crate) const CHAPTERS: u32 = 0x1043_A770;
    pub(crate) const EDITION_ENTRY: u32 = 0x45B9;
    pub(crate) const CHAPTER_ATOM: u32 = 0xB6;
    pub(crate) const CHAPTER_UID: u32 = 0x73C4;
    pub(crate) const CHAPTER_TIME_START: u32 = 0x91;
    pub(crate) const CHAPTER_DISPLAY: u32 = 0x80;
    pub(crate) const CHAP_STRING: u32 = 0x85;
    pub(crate) const CHAP_LANGUAGE: u32 = 0x437C;
    pub(crate) const CLUSTER: u32 = 0x1F43_B675;
    pub(crate) const TIMESTAMP: u32 = 0xE7;
    pub(crate) const SIMPLE_BLOCK: u32 = 0xA3;
    pub(crate) const BLOCK_GROUP: u32 = 0xA0;
    pub(crate) const BLOCK: u32 = 0xA1;
    pub(crate) const DISCARD_PADDING: u32 = 0x75A2;
    pub(crate) const CUES: u32 = 0x1C53_BB6B;
    pub(crate) const CUE_POINT: u32 = 0xBB;
    pub(crate) const CUE_TIME: u32 = 0xB3;
    pub(crate) const CUE_TRACK_POSITIONS: u32 = 0xB7;
    pub(crate) const CUE_TRACK: u32 = 0xF7;
    pub(crate) const CUE_CLUSTER_POSITION: u32 = 0xF1;
}

/// The id's bytes.
pub(super) fn id_bytes(id: u32) -> Vec<u8> {
    let bytes = id.to_be_bytes();
    bytes[(id.leading_zeros() / 8) as usize..].to_vec()
}

/// An element.
pub(super) fn element(id: u32, content: &[u8]) -> Vec<u8> {
    let mut out = id_bytes(id);
    out.extend(size(content.len() as u64));
    out.extend_from_slice(content);
    out
}

/// An element of elements.
pub(super) fn parent(id: u32, children: &[Vec<u8>]) -> Vec<u8> {
    element(id, &children.concat())
}

/// An unsigned number, in as few bytes as it takes.
pub(super) fn number(id: u32, value: u64) -> Vec<u8> {
    let empty = (value.leading_zeros() / 8).min(7) as usize;
    element(id, &value.to_be_bytes()[empty..])
}

/// An unsigned number in eight bytes, whatever it is.
pub(super) fn wide(id: u32, value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

/// A signed number in eight bytes.
pub(super) fn signed(id: u32, value: i64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

/// A number with a fraction.
pub(super) fn float(id: u32, value: f64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

/// Nothing, in exactly `length` bytes, which are 2 to 128.
pub(super) fn void(length: usize) -> Vec<u8> {
    element(id::VOID, &vec![0; length.saturating_sub(2)])
}

/// A size in as few bytes as it takes.
fn size(value: u64) -> Vec<u8> {
    let length = (1..8).find(|length| value < (1 << (7 * length)) - 1).unwrap_or(8);
    let marked = value | 1 << (7 * length);
    marked.to_be_bytes()[8 - length..].to_vec()
}

/// A size in eight bytes; `None`: up to the end of the file.
pub(super) fn wide_size(value: Option<u64>) -> [u8; 8] {
    (1 << 56 | value.unwrap_or((1 << 56) - 1)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_numbers_take_as_few_bytes_as_they_can() {
        assert_eq!(size(126), [0xFE]);
        assert_eq!(size(127), [0x40, 0x7F], "all ones would mean unknown");
        assert_eq!(size(16_383), [0x20, 0x3F, 0xFF]);
        assert_eq!(wide_size(None), [1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
        assert_eq!(number(0xD7, 0), [0xD7, 0x81, 0]);
        assert_eq!(number(0x4DBB, 256), [0x4D, 0xBB, 0x82, 1, 0]);
        assert_eq!(void(3), [0xEC, 0x81, 0]);
    }
}
