//! Bits, most significant first, into bytes.

/// A writer of bits with the check sums that FLAC wants over its bytes.
#[derive(Default)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    /// Bits not written yet, in the lowest places.
    held: u64,
    count: u32,
}

impl Bits {
    /// Appends the lowest `count` bits of `value`, at most 32; those above must be zero.
    #[inline]
    pub(super) fn put(&mut self, value: u32, count: u32) {
        self.held = self.held << count | u64::from(value);
        self.count += count;
        if self.count >= 32 {
            self.count -= 32;
            self.bytes.extend_from_slice(&((self.held >> self.count) as u32).to_be_bytes());
        }
    }

    /// Appends `value` as two's complement of `count` bits, at most 31.
    #[inline]
    pub(super) fn put_signed(&mut self, value: i32, count: u32) {
        self.put(value as u32 & ((1 << count) - 1), count);
    }

    /// Appends `zeros` zero bits and a one.
    #[inline]
    pub(super) fn put_unary(&mut self, mut zeros: u32) {
        while zeros > 31 {
            self.put(0, 32);
            zeros -= 32;
        }
        self.put(1, zeros + 1);
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) {
        self.put(0, (8 - self.count % 8) % 8);
        while self.count > 0 {
            self.count -= 8;
            self.bytes.push((self.held >> self.count) as u8);
        }
    }

    /// What was written so far, after [`Self::align`].
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins anew in the same memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.held = 0;
        self.count = 0;
    }
}

/// CRC-8 with the polynomial x⁸ + x² + x + 1 (RFC 9639 §9.1.8).
pub(super) fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc: u8, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x07 })
    })
}

/// CRC-16 with the polynomial x¹⁶ + x¹⁵ + x² + 1 (RFC 9639 §9.3), eight bytes a step.
pub(super) fn crc16(bytes: &[u8]) -> u16 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let crc = eights.iter().fold(0_u16, |crc, eight| {
        let [high, low] = crc.to_be_bytes();
        let mixed =
            [eight[0] ^ high, eight[1] ^ low, eight[2], eight[3], eight[4], eight[5], eight[6], eight[7]];
        mixed.iter().zip(CRC16.iter().rev()).fold(0, |sum, (&byte, table)| sum ^ table[usize::from(byte)])
    });
    rest.iter().fold(crc, |crc, byte| crc << 8 ^ CRC16[0][usize::from((crc >> 8) as u8 ^ byte)])
}

/// What a byte adds to the sum when so many zero bytes follow it.
static CRC16: [[u16; 256]; 8] = crc16_tables();

const fn crc16_tables() -> [[u16; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x8005 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut follow = 1;
    while follow < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[follow - 1][byte];
            tables[follow][byte] = crc << 8 ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        follow += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_written_from_the_highest() {
        let mut bits = Bits::default();
        bits.put(0b101, 3);
        bits.put_signed(-2, 5);
        bits.put_unary(40);
        bits.put(0xFFFF_FFFF, 32);
        bits.align();
        assert_eq!(bits.bytes(), [0xBE, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x80]);
    }

    #[test]
    fn check_sums_have_their_published_check_values() {
        assert_eq!(crc8(b"123456789"), 0xF4);
        assert_eq!(crc16(b"123456789"), 0xFEE8);
        assert_eq!(crc16(b""), 0);
    }
}
