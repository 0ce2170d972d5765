//! A G.711 master from the store as 16 bit linear, any range of it: one byte becomes one sample, so positions are
//! known without reading what is before.

use std::ops::Range;

use bytes::Bytes;
use futures_util::StreamExt;
use reeltime_core::keys::ObjectKey;
use reeltime_core::media::{Codec, Format, g711, wav};

use super::Recorder;
use crate::error::Error;
use crate::store::ByteStream;

fn head(coding: wav::Coding, format: Format, samples: u64) -> Vec<u8> {
    wav::Head { coding, rate: format.rate, channels: format.channels, samples: Some(samples) }.to_bytes()
}

/// Bytes of the decoded file.
pub(super) fn wav_len(format: Format, samples: u64) -> u64 {
    let head = head(wav::Coding::S16le, format, samples);
    head.len() as u64 + samples * u64::from(format.channels) * 2
}

/// The decoded file, or the bytes of `range` in it.
pub(super) async fn decoded(
    recorder: &Recorder,
    key: &ObjectKey,
    format: Format,
    samples: u64,
    range: Option<Range<u64>>,
) -> Result<ByteStream, Error> {
    let (coding, table) = match format.codec {
        Codec::Alaw => (wav::Coding::Alaw, &g711::ALAW),
        Codec::Mulaw | Codec::S16le | Codec::Opus => (wav::Coding::Mulaw, &g711::MULAW),
    };
    let linear = head(wav::Coding::S16le, format, samples);
    let total = wav_len(format, samples);
    let range = range.unwrap_or(0..total);
    let range = range.start.min(total)..range.end.min(total);
    let (before, data) = (linear.len() as u64, head(coding, format, samples).len() as u64);
    // The bytes of the master that give the samples wanted; the first sample may be wanted by half.
    let first = range.start.saturating_sub(before) / 2;
    let last = range.end.saturating_sub(before).div_ceil(2);
    let mut source = recorder.inner().store.get(key, Some(data + first..data + last)).await?;
    let mut odd = usize::from(range.start > before && !(range.start - before).is_multiple_of(2));
    let mut left = range.end - range.start;
    let opening =
        linear.get(usize::try_from(range.start.min(before)).unwrap_or(0)..).unwrap_or_default().to_vec();
    let (sender, stream) = ByteStream::channel(2);
    tokio::spawn(async move {
        let mut next = Some(opening);
        while let Some(mut bytes) = next.take() {
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= bytes.len() as u64;
            if !bytes.is_empty() && sender.send(Bytes::from(bytes)).await.is_err() {
                return;
            }
            let ended = match source.next().await {
                Some(Ok(coded)) => {
                    let linear = coded.iter().flat_map(|&byte| table[usize::from(byte)].to_le_bytes());
                    next = Some(linear.skip(std::mem::take(&mut odd)).collect());
                    continue;
                }
                Some(Err(error)) => sender.fail(error).await,
                None => sender.finish().await,
            };
            // A reader that went away needs no answer.
            let _ = ended;
            return;
        }
    });
    Ok(stream)
}
