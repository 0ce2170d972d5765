//! Boxes (ISO 14496-12 §4.2): a size, a name, the content.

/// A box of these parts.
pub(super) fn plain(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let size = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(&(size as u32).to_be_bytes());
    out.extend_from_slice(name);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// A box with a version and flags before its parts.
pub(super) fn full(name: &[u8; 4], version: u8, flags: u32, parts: &[&[u8]]) -> Vec<u8> {
    let mark = (u32::from(version) << 24 | flags).to_be_bytes();
    plain(name, &[&[&mark[..]], parts].concat())
}

/// A box of boxes.
pub(super) fn parent(name: &[u8; 4], children: &[Vec<u8>]) -> Vec<u8> {
    plain(name, &[&children.concat()])
}

/// 32 bit numbers, one after the other.
pub(super) fn words<const N: usize>(numbers: [u32; N]) -> Vec<u8> {
    numbers.map(u32::to_be_bytes).concat()
}

/// 64 bit numbers, one after the other.
pub(super) fn longs<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    numbers.map(u64::to_be_bytes).concat()
}
