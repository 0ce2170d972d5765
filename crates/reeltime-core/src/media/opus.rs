//! Opus framing (RFC 6716 §3): how long a packet lasts, and whether it is a packet at all. Nothing is decoded.

/// Timebase of Opus: samples per second and channel, whatever the coded bandwidth.
pub const RATE: u32 = 48_000;
/// The longest packet: 120 ms (RFC 6716 §3.2.5).
pub const MAX_SAMPLES: u32 = RATE / 1_000 * 120;
/// The largest frame in bytes (RFC 6716 §3.2.1).
const MAX_FRAME: usize = 1_275;

/// Frame sizes in samples, by the low bits of a TOC's configuration number (RFC 6716 §3.1, table 2).
const SILK: [u32; 4] = [480, 960, 1_920, 2_880];
const HYBRID: [u32; 2] = [480, 960];
const CELT: [u32; 4] = [120, 240, 480, 960];

/// Frame sizes that the mode of `toc` can have.
const fn sizes(toc: u8) -> &'static [u32] {
    match toc >> 3 {
        0..=11 => &SILK,
        12..=15 => &HYBRID,
        _ => &CELT,
    }
}

/// Place of the frame size of `toc` among the sizes of its mode.
const fn size_index(toc: u8) -> usize {
    (toc >> 3) as usize & (sizes(toc).len() - 1)
}

/// Samples per channel of one frame of a packet that begins with `toc` (RFC 6716 §3.1).
pub const fn frame_samples(toc: u8) -> u32 {
    sizes(toc)[size_index(toc)]
}

/// Channels coded in a packet that begins with `toc`: 1 or 2 (RFC 6716 §3.1).
pub const fn channels(toc: u8) -> u8 {
    1 + (toc >> 2 & 1)
}

/// Samples per channel in a packet, or `None` where it is malformed by any rule of RFC 6716 §3.4.
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    let (&toc, rest) = packet.split_first()?;
    let frames = match toc & 3 {
        0 => (rest.len() <= MAX_FRAME).then_some(1)?,
        1 => equal_frames(rest, 2)?,
        2 => two_frames(rest)?,
        _ => many_frames(rest)?,
    };
    let samples = frame_samples(toc) * frames;
    (samples <= MAX_SAMPLES).then_some(samples)
}

/// Frames of one size share `bytes` (R2, R3, R6).
fn equal_frames(bytes: &[u8], frames: u32) -> Option<u32> {
    let count = frames as usize;
    (bytes.len().is_multiple_of(count) && bytes.len() / count <= MAX_FRAME).then_some(frames)
}

/// Code 2: a length, then two frames (R2, R4).
fn two_frames(bytes: &[u8]) -> Option<u32> {
    let (first, rest) = frame_length(bytes)?;
    let second = rest.len().checked_sub(first)?;
    (second <= MAX_FRAME).then_some(2)
}

/// Code 3: a count, padding, lengths, frames (R2, R5 to R7; RFC 6716 §3.2.5).
fn many_frames(bytes: &[u8]) -> Option<u32> {
    let (&head, rest) = bytes.split_first()?;
    let frames = u32::from(head & 0x3F);
    if frames == 0 {
        return None;
    }
    let coded = if head & 0x40 == 0 { rest } else { without_padding(rest)? };
    if head & 0x80 == 0 { equal_frames(coded, frames) } else { varied_frames(coded, frames) }
}

/// Code 3, variable: all lengths but the last stand in front.
fn varied_frames(mut bytes: &[u8], frames: u32) -> Option<u32> {
    let mut coded = 0;
    for _ in 1..frames {
        let (length, rest) = frame_length(bytes)?;
        coded += length;
        bytes = rest;
    }
    let last = bytes.len().checked_sub(coded)?;
    (last <= MAX_FRAME).then_some(frames)
}

/// Takes padding lengths off the front (255 means 254 and another length byte) and the padding off the end.
fn without_padding(mut bytes: &[u8]) -> Option<&[u8]> {
    let mut padding = 0;
    loop {
        let (&length, rest) = bytes.split_first()?;
        bytes = rest;
        if length < 255 {
            padding += usize::from(length);
            return bytes.get(..bytes.len().checked_sub(padding)?);
        }
        padding += 254;
    }
}

/// A frame's length in one or two bytes (RFC 6716 §3.2.1): at most 1,275 by its form.
fn frame_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match *bytes {
        [short @ 0..252, ref rest @ ..] => Some((usize::from(short), rest)),
        [low, high, ref rest @ ..] => Some((usize::from(low) + 4 * usize::from(high), rest)),
        [] | [_] => None,
    }
}

/// The identification header (RFC 7845 §5.1) of a stream of 1 or 2 channels: `pre_skip` in samples at 48 kHz, `rate`
/// that of what was encoded.
pub fn head(channels: u8, pre_skip: u16, rate: u32) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(channels);
    head.extend_from_slice(&pre_skip.to_le_bytes());
    head.extend_from_slice(&rate.to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]); // gain, channel mapping family
    head
}

/// The packet that stands for a missing one: the TOC alone, one frame of no bytes (RFC 7845 §4.1). A decoder
/// conceals it. It lasts [`frame_samples`].
pub const fn dtx_filler(toc: u8) -> [u8; 1] {
    [toc & 0xFC]
}

/// The longest filler of the mode, bandwidth and channels of `toc` that is no longer than its own frame nor than
/// `samples`: so the frame size changes only at the end of a gap, as RFC 7845 §4.1 asks. `None` where even the
/// mode's shortest frame (2.5 ms, or 10 ms for speech modes) is too long.
pub fn filler_within(toc: u8, samples: u64) -> Option<[u8; 1]> {
    let own = size_index(toc);
    let index = sizes(toc)[..=own].iter().rposition(|&size| u64::from(size) <= samples)?;
    Some([(toc & 0xFC) - ((own - index) as u8) * 8])
}

/// The longest packet of digital silence that is no longer than 20 ms nor than `samples`, with the channels of `toc`;
/// `None` below 2.5 ms. Full band MDCT (RFC 6716 §3.1) whose first coded flag says silence (§4.3): after the overlap
/// with what came before a decoder gives zeros, where it would go on humming for a packet that is missing.
pub fn silence_within(toc: u8, samples: u64) -> Option<[u8; 3]> {
    let index = CELT.iter().rposition(|&size| u64::from(size) <= samples)?;
    Some([(28 + index as u8) << 3 | toc & 4, 0xFF, 0xFE])
}

/// The shortest filler of the mode of `toc`.
pub const fn shortest_filler(toc: u8) -> [u8; 1] {
    [(toc & 0xFC) - (size_index(toc) as u8) * 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configuration_has_the_frame_size_of_the_table() {
        let tenths_of_ms = [
            [100, 200, 400, 600], // SILK, narrow band
            [100, 200, 400, 600], // SILK, medium band
            [100, 200, 400, 600], // SILK, wide band
            [100, 200, 100, 200], // hybrid, super-wide and full band
            [25, 50, 100, 200],   // CELT, narrow band
            [25, 50, 100, 200],   // CELT, wide band
            [25, 50, 100, 200],   // CELT, super-wide band
            [25, 50, 100, 200],   // CELT, full band
        ];
        for config in 0..32_u8 {
            let expected = tenths_of_ms[usize::from(config / 4)][usize::from(config % 4)] * 48 / 10;
            assert_eq!(frame_samples(config << 3), expected, "configuration {config}");
            assert_eq!(
                packet_samples(&[config << 3]),
                Some(expected),
                "configuration {config}, no frame bytes"
            );
        }
    }

    #[test]
    fn one_frame_is_limited_to_1275_bytes() {
        assert_eq!(packet_samples(&[0x48; 1_276]), Some(960));
        assert_eq!(packet_samples(&[0x48; 1_277]), None);
        assert_eq!(packet_samples(&[]), None);
    }

    #[test]
    fn two_equal_frames_need_an_even_rest() {
        assert_eq!(packet_samples(&[0x49, 1, 2]), Some(1_920));
        assert_eq!(packet_samples(&[0x49, 1, 2, 3]), None);
        assert_eq!(packet_samples(&[0x49; 2_551]), Some(1_920));
        assert_eq!(packet_samples(&[0x49; 2_553]), None);
    }

    #[test]
    fn two_frames_need_a_length_that_fits() {
        assert_eq!(packet_samples(&[0x4A]), None);
        assert_eq!(packet_samples(&[0x4A, 2, 9, 9]), Some(1_920));
        assert_eq!(packet_samples(&[0x4A, 3, 9, 9]), None);
        assert_eq!(packet_samples(&[0x4A, 252]), None, "a two-byte length of one byte");
        let mut long = vec![0x4A, 252, 0];
        long.extend_from_slice(&[0; 252]);
        assert_eq!(packet_samples(&long), Some(1_920), "the second frame may be empty");
        long.pop();
        assert_eq!(packet_samples(&long), None);
        let mut second = vec![0x4A, 0];
        second.extend_from_slice(&[0; 1_276]);
        assert_eq!(packet_samples(&second), None, "the second frame is too long");
    }

    #[test]
    fn many_frames_are_counted_and_limited_to_120_ms() {
        assert_eq!(packet_samples(&[0x4B]), None, "no count");
        assert_eq!(packet_samples(&[0x4B, 0]), None, "no frame");
        assert_eq!(packet_samples(&[0x4B, 6]), Some(5_760));
        assert_eq!(packet_samples(&[0x4B, 7]), None, "140 ms");
        assert_eq!(packet_samples(&[0x83, 48]), Some(5_760), "48 frames of 2.5 ms");
        assert_eq!(packet_samples(&[0x4B, 2, 1, 2]), Some(1_920));
        assert_eq!(packet_samples(&[0x4B, 2, 1, 2, 3]), None);
    }

    #[test]
    fn many_frames_of_various_sizes_need_lengths_that_fit() {
        assert_eq!(
            packet_samples(&[0x4B, 0x83, 1, 2, 9, 9, 9, 9]),
            Some(2_880),
            "the last frame has one byte"
        );
        assert_eq!(packet_samples(&[0x4B, 0x83, 1, 2, 9, 9, 9]), Some(2_880), "the last frame is empty");
        assert_eq!(packet_samples(&[0x4B, 0x83, 1, 2, 9, 9]), None);
        assert_eq!(packet_samples(&[0x4B, 0x83, 1]), None);
    }

    #[test]
    fn padding_is_taken_off_and_must_be_there() {
        assert_eq!(packet_samples(&[0x4B, 0x42, 2, 1, 1, 0, 0]), Some(1_920));
        assert_eq!(packet_samples(&[0x4B, 0x42, 3, 1, 1, 0, 0]), None, "an odd rest");
        assert_eq!(packet_samples(&[0x4B, 0x42, 5, 1, 1, 0, 0]), None, "more padding than bytes");
        assert_eq!(packet_samples(&[0x4B, 0x42]), None, "no padding length");
        let mut long = vec![0x4B, 0x41, 255, 1, 7];
        long.extend_from_slice(&[0; 255]);
        assert_eq!(packet_samples(&long), Some(960), "254 + 1 bytes of padding, one of a frame");
        long.truncate(long.len() - 2);
        assert_eq!(packet_samples(&long), None);
    }

    #[test]
    fn a_filler_keeps_mode_bandwidth_and_channels() {
        assert_eq!(dtx_filler(0x4F), [0x4C]);
        assert_eq!(channels(0x4C), 2);
        assert_eq!(channels(0x48), 1);
        assert_eq!(filler_within(0x4B, 10_000), Some([0x48]));
        assert_eq!(filler_within(0x4B, 959), Some([0x40]), "10 ms of the same mode");
        assert_eq!(filler_within(0x4B, 479), None);
        assert_eq!(filler_within(0xFF, 130), Some([0xE4]), "2.5 ms, stereo");
        assert_eq!(shortest_filler(0xFF), [0xE4]);
        assert_eq!(shortest_filler(0x78), [0x70]);
    }
}
