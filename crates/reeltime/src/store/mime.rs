//! What a store is told a file is.

use reeltime_core::keys::ObjectKey;
use reeltime_core::media::Container;

/// The media type of the object `key`, by its ending; `application/octet-stream` where that says nothing.
pub fn mime_of(key: &ObjectKey) -> &'static str {
    let name = key.as_str().rsplit('/').next().unwrap_or_default();
    match name.rsplit_once('.') {
        Some((_, "json")) => "application/json",
        Some((_, extension)) => {
            let known = Container::ALL.into_iter().find(|container| container.name() == extension);
            known.map_or("application/octet-stream", Container::mime)
        }
        None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_tells_the_type() {
        for (key, mime) in [
            ("a/b.wav", "audio/wav"),
            ("a/b.tar.flac", "audio/flac"),
            ("a/manifest.json", "application/json"),
            ("a.wav/b", "application/octet-stream"),
            ("a/b.dat", "application/octet-stream"),
            ("a/b.opus", "application/octet-stream"),
        ] {
            assert_eq!(mime_of(&ObjectKey::new(key).unwrap()), mime, "{key}");
        }
    }
}
