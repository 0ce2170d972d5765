//! Records as bytes.

use super::{
    END_MAGIC, Event, Footer, HEADER_FIXED, LogHeader, MAGIC, MAX_BODY, MAX_HEADER, PacketMeta, RECORD_HEAD,
    VERSION, kind, record_crc,
};
use crate::time::Micros;

/// The longest body of a record whose payload lies beside.
const BESIDE_BODY: usize = 40;

/// Encodes one log into byte buffers; knows how far the log is, since a record's CRC holds its place.
#[derive(Clone, Debug)]
pub struct Encoder {
    salt: u32,
    offset: u64,
    records: u64,
}

impl Encoder {
    /// Starts a log: appends both copies of the header to `out`. `salt` should differ from file to file (any
    /// number will do), so that a block of another log is never taken for one of this.
    ///
    /// # Errors
    /// [`HeaderTooLong`] where the header's texts do not fit [`MAX_HEADER`].
    pub fn create(header: &LogHeader, salt: u32, out: &mut Vec<u8>) -> Result<Self, HeaderTooLong> {
        let json = serde_json::to_vec(header).map_err(|_| HeaderTooLong)?;
        if json.len() > MAX_HEADER - HEADER_FIXED {
            return Err(HeaderTooLong);
        }
        let mut copy = Vec::with_capacity(HEADER_FIXED + json.len());
        copy.extend_from_slice(MAGIC);
        copy.extend_from_slice(&VERSION.to_le_bytes());
        copy.extend_from_slice(&[0, 0]);
        copy.extend_from_slice(&(json.len() as u32).to_le_bytes());
        copy.extend_from_slice(&salt.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&copy), &json);
        copy.extend_from_slice(&crc.to_le_bytes());
        copy.extend_from_slice(&json);
        out.extend_from_slice(&copy);
        out.extend_from_slice(&copy);
        Ok(Self { salt, offset: 2 * copy.len() as u64, records: 0 })
    }

    /// Bytes of the log so far, all of it appended to some `out`.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Records so far, the footer not counted.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Bytes that a packet of `payload` bytes takes, at most: in the log, or in it and the sound file.
    pub const fn packet_size(payload: usize) -> usize {
        RECORD_HEAD + BESIDE_BODY + payload
    }

    /// Appends a packet. A payload above [`super::MAX_PAYLOAD`] must have been split before.
    pub fn packet(&mut self, meta: PacketMeta, payload: &[u8], out: &mut Vec<u8>) {
        debug_assert!(payload.len() <= super::MAX_PAYLOAD);
        let kind = if meta.sequence.is_some() { kind::SEQUENCED } else { kind::PACKET };
        self.record(kind, out, |body| {
            body.extend_from_slice(&meta.arrival.0.to_le_bytes());
            body.extend_from_slice(&meta.timestamp.to_le_bytes());
            if let Some(sequence) = meta.sequence {
                body.extend_from_slice(&sequence.to_le_bytes());
            }
            body.extend_from_slice(payload);
        });
        self.records += 1;
    }

    /// Appends the record of a packet whose payload was appended to the sound file, from its byte `at` on.
    #[inline]
    pub fn beside(&mut self, meta: PacketMeta, at: u64, payload: &[u8], out: &mut Vec<u8>) {
        debug_assert!(payload.len() <= super::MAX_PAYLOAD);
        self.record(kind::BESIDE, out, |body| {
            body.extend_from_slice(&meta.arrival.0.to_le_bytes());
            body.extend_from_slice(&meta.timestamp.to_le_bytes());
            body.extend_from_slice(&at.to_le_bytes());
            body.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            body.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
            if let Some(sequence) = meta.sequence {
                body.extend_from_slice(&sequence.to_le_bytes());
            }
        });
        self.records += 1;
    }

    /// Appends an event. One whose texts do not fit a record is left out, with `false`.
    pub fn event(&mut self, arrival: Micros, event: &Event, out: &mut Vec<u8>) -> bool {
        let Ok(json) = serde_json::to_vec(event) else { return false };
        if json.len() > MAX_BODY - 8 {
            return false;
        }
        self.record(kind::EVENT, out, |body| {
            body.extend_from_slice(&arrival.0.to_le_bytes());
            body.extend_from_slice(&json);
        });
        self.records += 1;
        true
    }

    /// Closes the log: footer and trailer. Nothing may be appended after it.
    pub fn footer(&mut self, samples: u64, closed: Micros, reason: &str, out: &mut Vec<u8>) {
        let footer = Footer { records: self.records, samples, closed, reason: reason.to_owned() };
        let at = self.offset;
        let json = serde_json::to_vec(&footer).unwrap_or_default();
        self.record(kind::FOOTER, out, |body| body.extend_from_slice(&json));
        out.extend_from_slice(&at.to_le_bytes());
        out.extend_from_slice(END_MAGIC);
        self.offset += super::TRAILER as u64;
    }

    #[inline]
    fn record(&mut self, kind: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        out.extend_from_slice(&[0; RECORD_HEAD]);
        body(out);
        out[start + 8] = kind;
        let length = (out.len() - start - RECORD_HEAD) as u32;
        let crc = record_crc(self.salt, self.offset, &out[start + 8..]);
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        self.offset += (out.len() - start) as u64;
    }
}

/// The header's texts (tenant, call, participant) are too long for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the names of call and participant are too long: together at most 16,000 bytes")]
pub struct HeaderTooLong;
