//! The sound that is sent: every sample tells its session and its place, so that no other can pass for it.

/// Samples a second.
pub(super) const RATE: u64 = 16_000;
/// Samples of one frame: 20 ms.
pub(super) const FRAME: u64 = 320;
/// Bytes of one frame.
pub(super) const FRAME_BYTES: usize = 640;
/// Frames a second.
pub(super) const FRAMES: u64 = 50;

/// One sample of a session.
pub(super) const fn sample(session: u64, index: u64) -> u16 {
    // Two odd factors: neighbours differ in time and between sessions; the shift tells one lap from the next.
    (index.wrapping_mul(40_503) ^ session.wrapping_mul(30_011) ^ (index >> 16).wrapping_mul(257)) as u16
}

/// Appends the samples of a session from `first` on, little-endian.
pub(super) fn append(session: u64, first: u64, samples: u64, out: &mut Vec<u8>) {
    out.extend((first..first + samples).flat_map(|index| sample(session, index).to_le_bytes()));
}

/// One frame of a session.
pub(super) fn frame(session: u64, number: u64) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_BYTES);
    append(session, number * FRAME, FRAME, &mut frame);
    frame
}
