//! Which format a file is to have: what was asked for, or what its name says.

use std::path::Path;

use reeltime_core::media::{Container, UnknownContainer};

use crate::exit::Usage;

/// The format to ask for: `asked`, unless the name of `output` says otherwise; by default what the name says. `None`
/// where nothing says any. A folder's name says nothing of the file that goes into it.
pub(super) fn choose(output: &Path, asked: Option<&str>) -> Result<Option<Container>, Usage> {
    let ending = output.extension().filter(|_| !output.is_dir()).map(|ending| ending.to_string_lossy());
    let promised = ending.map(|ending| ending.parse::<Container>());
    match (asked, promised) {
        (None, promised) => promised.transpose().map_err(|error| no_format(output, &error)),
        (Some(asked), promised) => {
            let wanted = asked.parse().map_err(|error| Usage(format!("--format {asked}: {error}")))?;
            match promised {
                Some(Ok(promised)) if promised != wanted => Err(contradiction(output, wanted, promised)),
                _ => Ok(Some(wanted)),
            }
        }
    }
}

fn no_format(output: &Path, error: &UnknownContainer) -> Usage {
    let output = output.display();
    Usage(format!("the ending of {output} is an {error}, or say with --format what {output} is to hold"))
}

fn contradiction(output: &Path, wanted: Container, promised: Container) -> Usage {
    let output = output.display();
    Usage(format!(
        "--format {wanted} does not fit {output}, which would be taken for {promised}: change one of them"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(output: &str, asked: Option<&str>) -> Result<Option<Container>, Usage> {
        choose(Path::new(output), asked)
    }

    #[test]
    fn the_name_says_the_format_where_nothing_else_does() {
        for (output, format) in [
            ("a.mp3", Some(Container::Mp3)),
            ("a.b/C.WAV", Some(Container::Wav)),
            ("x.opus", Some(Container::Ogg)),
            ("x.m4a", Some(Container::Mp4)),
            ("wav", None),
            ("-", None),
        ] {
            assert_eq!(chosen(output, None).unwrap(), format, "{output}");
        }
        for output in ["-", "x.bin", "x.flac"] {
            assert_eq!(chosen(output, Some("FLAC")).unwrap(), Some(Container::Flac), "{output}");
        }
    }

    #[test]
    fn an_ending_that_is_no_format_is_refused_with_those_that_there_are() {
        for (output, asked) in [("call.xyz", None), ("call", Some("xyz")), ("call.wav", Some("xyz"))] {
            let refused = chosen(output, asked).unwrap_err().0;
            assert!(refused.contains("xyz") && refused.contains("use wav, flac, ogg"), "{refused}");
        }
    }

    #[test]
    fn the_name_of_a_folder_says_nothing_of_what_goes_into_it() {
        let folder = tempfile::Builder::new().suffix(".mp3").tempdir().unwrap();
        assert_eq!(choose(folder.path(), None).unwrap(), None);
        assert_eq!(choose(folder.path(), Some("wav")).unwrap(), Some(Container::Wav));
    }

    #[test]
    fn a_name_that_contradicts_the_format_is_refused() {
        let refused = chosen("call.wav", Some("mp3")).unwrap_err().0;
        assert!(refused.contains("call.wav") && refused.contains("mp3"), "{refused}");
        assert!(chosen("call.opus", Some("ogg")).is_ok() && chosen("call.m4a", Some("m4a")).is_ok());
    }
}
