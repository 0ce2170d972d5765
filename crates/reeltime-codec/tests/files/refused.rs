//! What cannot be made is refused in words that help.

use reeltime_codec::{encoder, rate_for};
use reeltime_core::codec::Spec;
use reeltime_core::media::Container::{self, Flac, Mp3, Mp4, Ogg, Wav, Webm};

use crate::make::spec;

fn refusal(container: Container, spec: &Spec) -> String {
    encoder(container, spec).err().unwrap_or_else(|| panic!("{container} takes {spec:?}")).to_string()
}

#[test]
fn a_rate_that_the_codec_does_not_know_names_the_one_to_resample_to() {
    assert_eq!(refusal(Ogg, &spec(44_100, 1)), "Ogg cannot hold 44100 samples a second: resample to 48000");
    for (container, wanted, possible) in [
        (Wav, 12_345, 12_345),
        (Flac, 192_000, 192_000),
        (Flac, 2_000_000, 1_048_575),
        (Ogg, 192_000, 48_000),
        (Webm, 11_025, 12_000),
        (Mp3, 44_100, 44_100),
        (Mp3, 96_000, 48_000),
        (Mp4, 6_000, 8_000),
        (Mp4, 17_000, 22_050),
    ] {
        assert_eq!(rate_for(container, wanted), possible, "{container}");
        assert!(encoder(container, &spec(possible, 1)).is_ok());
        assert!(wanted == possible || encoder(container, &spec(wanted, 1)).is_err());
    }
}

#[test]
fn channels_that_there_is_no_room_for_are_refused() {
    assert_eq!(refusal(Mp3, &spec(16_000, 3)), "MP3 holds 1 to 2 channels, not 3");
    for container in Container::ALL {
        assert!(encoder(container, &spec(16_000, 0)).is_err());
        assert!(encoder(container, &spec(0, 1)).is_err());
    }
    assert!(encoder(Flac, &spec(16_000, 9)).is_err());
}

#[test]
fn a_bit_rate_that_is_absurd_names_the_range() {
    let with = |rate, bitrate| Spec { bitrate: Some(bitrate), ..spec(rate, 1) };
    assert_eq!(
        refusal(Ogg, &with(16_000, 1_000_000)),
        "1000000 bits a second are not possible in Ogg at this rate: use 6000 to 510000"
    );
    assert!(refusal(Mp3, &with(8_000, 128_000)).ends_with("use 8000 to 64000"));
    assert!(refusal(Mp3, &with(48_000, 8_000)).ends_with("use 32000 to 320000"));
    assert!(refusal(Mp4, &with(16_000, 96_001)).ends_with("use 8000 to 96000"));
    assert!(refusal(Webm, &with(16_000, 0)).ends_with("use 6000 to 510000"));
    assert!(encoder(Flac, &with(16_000, 1)).is_ok(), "what loses nothing has no bit rate");
}
