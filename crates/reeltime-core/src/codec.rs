//! What the renderer asks of decoders and encoders. Those in C or loaded at run time live in `reeltime-codec`; a
//! container's bytes are made in [`crate::media`].
//!
//! ```text
//! packets ─▶ Decoder ─▶ samples ─▶ layout (mix, sides, levels) ─▶ samples ─▶ Encoder ─▶ the file's bytes
//! ```
//!
//! Samples are 16 bit signed, interleaved where there are several channels. Nothing here keeps what it was given
//! longer than one codec frame needs, so memory does not depend on a recording's length.

/// Turns one track's packets into samples.
pub trait Decoder: Send {
    /// Samples per second and channel of what it gives.
    fn rate(&self) -> u32;

    /// Interleaved channels of what it gives.
    fn channels(&self) -> u8;

    /// Appends the samples of a packet; how many per channel.
    ///
    /// # Errors
    /// Where the packet is not one of this codec. The decoder goes on with the next.
    fn packet(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<u64, DecodeError>;

    /// Appends exactly `samples` samples per channel in place of packets that were lost, made from what came before
    /// and, where the codec carries it, from `next`, the packet after the loss (which is decoded afterwards by
    /// [`Self::packet`] all the same). A long loss fades into silence.
    fn conceal(&mut self, samples: u64, next: Option<&[u8]>, out: &mut Vec<i16>);

    /// Forgets what came before: a deliberate silence or another place of the track follows.
    fn reset(&mut self);
}

/// A packet that cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet cannot be decoded: {0}")]
pub struct DecodeError(pub String);

/// Turns samples into a file's bytes, in order and append only.
pub trait Encoder: Send {
    /// Appends the file's head, as it is before anything is known of the end; where [`Spec::samples`] is given, with
    /// the sizes that follow from it. Called once, first.
    fn start(&mut self, out: &mut Vec<u8>);

    /// Appends what these interleaved samples give; whole samples of all channels, any number of them.
    ///
    /// # Errors
    /// Where the encoder fails; it is not used again.
    fn push(&mut self, samples: &[i16], out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// No more samples come: appends what is held back and the file's tail.
    ///
    /// # Errors
    /// As [`Self::push`].
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// After [`Self::finish`]: the bytes that now belong at the file's beginning, as many as [`Self::start`] gave,
    /// where they differ from those.
    fn head(&self) -> Option<Vec<u8>>;
}

/// An encoder that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot encode: {0}")]
pub struct EncodeError(pub String);

/// What a file is to be, apart from its sound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    /// Samples per second and channel.
    pub rate: u32,
    /// Interleaved channels.
    pub channels: u8,
    /// Samples per channel in all, where they are known beforehand.
    pub samples: Option<u64>,
    /// Bits per second, for codecs that lose something; by default what suits speech at this rate.
    pub bitrate: Option<u32>,
    /// What the file says of itself.
    pub tags: Tags,
}

/// What a file says of itself, where its container has room for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// The call.
    pub title: Option<String>,
    /// The parties, by name.
    pub artists: Vec<String>,
    /// When the recording began, as RFC 3339.
    pub date: Option<String>,
    /// The recording's id and whatever else is worth a line.
    pub comment: Option<String>,
    /// Moments with a name (marks, gaps), in order.
    pub chapters: Vec<Chapter>,
}

/// A moment with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chapter {
    /// Samples per channel from the file's first, at [`Spec::rate`].
    pub at: u64,
    /// Its name.
    pub name: String,
}
