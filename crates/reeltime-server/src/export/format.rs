//! Which format a file is to have: what was asked for, or what its name says.

use std::path::Path;

use crate::exit::Usage;

/// The formats, each with the extensions that promise it.
const EXTENSIONS: [(&str, &[&str]); 6] = [
    ("wav", &["wav", "wave"]),
    ("flac", &["flac"]),
    ("ogg", &["ogg", "oga", "opus"]),
    ("mp3", &["mp3"]),
    ("webm", &["webm"]),
    ("mp4", &["mp4", "m4a"]),
];

/// The format to ask for: `asked`, unless the name of `output` says otherwise; by default what the name says.
pub(super) fn choose(output: &Path, asked: Option<&str>) -> Result<Option<String>, Usage> {
    let promised = promised(output);
    match (asked, promised) {
        (Some(asked), Some(promised)) if asked != promised => Err(Usage(format!(
            "--format {asked} does not fit {}, which would be taken for {promised}: change one of them",
            output.display()
        ))),
        (asked, promised) => Ok(asked.or(promised).map(str::to_owned)),
    }
}

fn promised(output: &Path) -> Option<&'static str> {
    let extension = output.extension()?.to_str()?.to_ascii_lowercase();
    let (format, _) = EXTENSIONS.iter().find(|(_, all)| all.contains(&extension.as_str()))?;
    Some(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(output: &str, asked: Option<&str>) -> Result<Option<String>, Usage> {
        choose(Path::new(output), asked)
    }

    #[test]
    fn the_name_says_the_format_where_nothing_else_does() {
        for (output, format) in [
            ("a.mp3", Some("mp3")),
            ("a.b/C.WAV", Some("wav")),
            ("x.opus", Some("ogg")),
            ("x.m4a", Some("mp4")),
            ("x.bin", None),
            ("wav", None),
            ("-", None),
        ] {
            assert_eq!(chosen(output, None).unwrap().as_deref(), format, "{output}");
        }
        assert_eq!(chosen("-", Some("flac")).unwrap().as_deref(), Some("flac"));
        assert_eq!(chosen("x.bin", Some("flac")).unwrap().as_deref(), Some("flac"));
    }

    #[test]
    fn a_name_that_contradicts_the_format_is_refused() {
        let refused = chosen("call.wav", Some("mp3")).unwrap_err().0;
        assert!(refused.contains("call.wav") && refused.contains("mp3"), "{refused}");
        assert!(chosen("call.opus", Some("ogg")).is_ok());
    }
}
