//! G.711 (ITU-T G.711) to linear, by two tables of 256 entries. Linear is never made into G.711 here: what
//! arrives as G.711 is kept as it is.

/// μ-law silence: the byte that decodes to 0.
pub const MULAW_SILENCE: u8 = 0xFF;
/// A-law silence: the byte that decodes to 8, the smallest positive value; A-law has no 0.
pub const ALAW_SILENCE: u8 = 0xD5;

/// μ-law bytes as 16 bit linear samples (14 bit values, shifted up by 2).
pub static MULAW: [i16; 256] = table(true);
/// A-law bytes as 16 bit linear samples (13 bit values, shifted up by 3).
pub static ALAW: [i16; 256] = table(false);

const fn table(mulaw: bool) -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = if mulaw { from_mulaw(byte as u8) } else { from_alaw(byte as u8) };
        byte += 1;
    }
    table
}

/// All bits arrive inverted; the bias of 33 (here 132) makes the steps of all exponents meet.
const fn from_mulaw(byte: u8) -> i16 {
    let bits = !byte;
    let exponent = bits >> 4 & 7;
    let mantissa = (bits & 15) as i16;
    let magnitude = (((mantissa << 3) + 132) << exponent) - 132;
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

/// Even bits arrive inverted; a set sign bit is positive.
const fn from_alaw(byte: u8) -> i16 {
    let bits = byte ^ 0x55;
    let exponent = bits >> 4 & 7;
    let step = ((bits & 15) as i16) << 4;
    let magnitude = if exponent == 0 { step + 8 } else { (step + 0x108) << (exponent - 1) };
    if bits & 0x80 == 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decision values of G.711 tables 2a/2b, scaled to 16 bit: as sox, ffmpeg and libsndfile decode them.
    #[test]
    fn mulaw_decodes_as_the_standard_says() {
        let known = [
            (0x00, -32_124),
            (0x80, 32_124),
            (0x0F, -16_764),
            (0x8F, 16_764),
            (0x10, -15_996),
            (0x70, -120),
            (0xF0, 120),
            (0x7E, -8),
            (0xFE, 8),
            (0x7F, 0),
            (MULAW_SILENCE, 0),
        ];
        for (byte, linear) in known {
            assert_eq!(MULAW[byte as usize], linear, "{byte:#04x}");
        }
    }

    #[test]
    fn alaw_decodes_as_the_standard_says() {
        let known = [
            (0x2A, -32_256),
            (0xAA, 32_256),
            (0x55, -8),
            (ALAW_SILENCE, 8),
            (0x54, -24),
            (0xD4, 24),
            (0x00, -5_504),
            (0x80, 5_504),
            (0x7F, -848),
            (0xFF, 848),
        ];
        for (byte, linear) in known {
            assert_eq!(ALAW[byte as usize], linear, "{byte:#04x}");
        }
    }

    #[test]
    fn the_sign_bit_alone_turns_a_value_around() {
        for byte in 0..128 {
            assert_eq!(MULAW[byte], -MULAW[byte + 128]);
            assert_eq!(ALAW[byte], -ALAW[byte + 128]);
        }
    }
}
