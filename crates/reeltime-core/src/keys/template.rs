//! Key templates: `recordings/{yyyy}/{mm}/{dd}/{recording}/{track}.{ext}`.

use std::fmt;
use std::str::FromStr;

use super::{KeyError, MAX_KEY, MAX_NAME, ObjectKey, safe_name, shorten};
use crate::time::UtcMicros;

/// What a template can name. Ids are given as they are and made safe on the way out.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyFields<'a> {
    /// Whose recording it is.
    pub tenant: &'a str,
    /// The call, as its user names it.
    pub call: &'a str,
    /// The campaign, as its user names it.
    pub campaign: &'a str,
    /// The recording's id.
    pub recording: &'a str,
    /// The track's id, or what stands in its place (`mix`).
    pub track: &'a str,
    /// The participant's identity.
    pub participant: &'a str,
    /// The session's id.
    pub session: &'a str,
    /// The file's extension, without its dot.
    pub ext: &'a str,
    /// When the recording started; dates are in UTC.
    pub at: UtcMicros,
}

/// A parsed key template. Parse it once with [`str::parse`]; a template that parses renders for any fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate {
    /// The components between the slashes, each a run of pieces.
    components: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(Field),
}

macro_rules! fields {
    ($($name:literal => $variant:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Field { $($variant),* }

        /// Every field a template knows, as [`TemplateError`] lists them.
        const FIELD_NAMES: &[&str] = &[$($name),*];

        impl Field {
            fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

fields! {
    "tenant" => Tenant, "call" => Call, "campaign" => Campaign, "recording" => Recording, "track" => Track,
    "participant" => Participant, "session" => Session, "yyyy" => Year, "mm" => Month, "dd" => Day,
    "hh" => Hour, "mi" => Minute, "ss" => Second, "unix" => Unix, "ext" => Extension,
}

/// Why a text is not a key template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A field that does not exist.
    #[error("the key template names the unknown field {{{name}}}; known are {known}", known = FIELD_NAMES.join(", "))]
    UnknownField {
        /// The name as written.
        name: String,
    },
    /// A brace that is never closed, or closed without being opened.
    #[error("the key template has a brace without its counterpart")]
    Brace,
    /// The text around the fields cannot stand in a key.
    #[error("the key template cannot make a key: {0}")]
    Key(#[from] KeyError),
}

impl FromStr for KeyTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let components = text.split('/').map(parse_component).collect::<Result<_, _>>()?;
        let template = Self { components };
        template.check()?;
        Ok(template)
    }
}

fn parse_component(mut text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    while let Some((literal, rest)) = text.split_once('{') {
        let (name, rest) = rest.split_once('}').ok_or(TemplateError::Brace)?;
        push_literal(&mut pieces, literal)?;
        let field =
            Field::named(name).ok_or_else(|| TemplateError::UnknownField { name: name.to_owned() })?;
        pieces.push(Piece::Field(field));
        text = rest;
    }
    push_literal(&mut pieces, text)?;
    Ok(pieces)
}

fn push_literal(pieces: &mut Vec<Piece>, literal: &str) -> Result<(), TemplateError> {
    if literal.contains('}') {
        return Err(TemplateError::Brace);
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.to_owned()));
    }
    Ok(())
}

impl KeyTemplate {
    /// The key for `fields`. Every field goes through [`safe_name`]; a component that grows beyond 120 bytes
    /// is cut, with a hash of the whole.
    ///
    /// # Errors
    /// [`KeyError`] cannot come up for a template that parsed; it is passed on rather than hidden.
    pub fn render(&self, fields: &KeyFields<'_>) -> Result<ObjectKey, KeyError> {
        self.render_with(|field| safe_name(&fields.text(field)))
    }

    fn render_with(&self, text: impl Fn(Field) -> String) -> Result<ObjectKey, KeyError> {
        let component = |pieces: &Vec<Piece>| -> String {
            let whole: String = pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Literal(literal) => literal.clone(),
                    Piece::Field(field) => text(*field),
                })
                .collect();
            if whole.len() <= MAX_NAME { whole } else { cut(&whole) }
        };
        let components: Vec<String> = self.components.iter().map(component).collect();
        ObjectKey::new(components.join("/"))
    }

    /// Fails where some fields could make no key (a component has at most 120 bytes, so eight always fit):
    /// so a template that is wrong is found when it is parsed.
    fn check(&self) -> Result<(), KeyError> {
        self.render_with(|_| "x".to_owned())?;
        let longest = self.components.len() * (MAX_NAME + 1) - 1;
        if longest > MAX_KEY { Err(KeyError::TooLong { bytes: longest }) } else { Ok(()) }
    }
}

/// Cuts a component and keeps its extension, so that the file still opens by its name.
fn cut(component: &str) -> String {
    match component.rsplit_once('.') {
        Some((stem, extension)) if extension.len() <= 8 => {
            format!("{}.{extension}", shorten(stem, component))
        }
        _ => shorten(component, component),
    }
}

impl KeyFields<'_> {
    fn text(&self, field: Field) -> String {
        let time = |format: &str| self.at.timestamp().strftime(format).to_string();
        match field {
            Field::Tenant => self.tenant.to_owned(),
            Field::Call => self.call.to_owned(),
            Field::Campaign => self.campaign.to_owned(),
            Field::Recording => self.recording.to_owned(),
            Field::Track => self.track.to_owned(),
            Field::Participant => self.participant.to_owned(),
            Field::Session => self.session.to_owned(),
            Field::Extension => self.ext.to_owned(),
            Field::Year => time("%Y"),
            Field::Month => time("%m"),
            Field::Day => time("%d"),
            Field::Hour => time("%H"),
            Field::Minute => time("%M"),
            Field::Second => time("%S"),
            Field::Unix => self.at.unix_seconds().to_string(),
        }
    }
}

/// The template as it was written.
impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, component) in self.components.iter().enumerate() {
            if at > 0 {
                f.write_str("/")?;
            }
            for piece in component {
                match piece {
                    Piece::Literal(literal) => f.write_str(literal)?,
                    Piece::Field(field) => write!(f, "{{{}}}", field.name())?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(call: &str) -> KeyFields<'_> {
        let at: jiff::Timestamp = "2025-01-02T03:04:05Z".parse().unwrap();
        KeyFields {
            tenant: "default",
            call,
            campaign: "spring",
            recording: "r1",
            track: "mix",
            participant: "alice",
            session: "s1",
            ext: "wav",
            at: UtcMicros(at.as_microsecond()),
        }
    }

    fn render(template: &str, call: &str) -> String {
        template.parse::<KeyTemplate>().unwrap().render(&fields(call)).unwrap().into()
    }

    #[test]
    fn each_field_is_filled_in_and_dates_are_utc() {
        let cases = [
            ("recordings/{yyyy}/{mm}/{dd}/{recording}/{track}.{ext}", "recordings/2025/01/02/r1/mix.wav"),
            ("{tenant}/{campaign}/{call}.{ext}", "default/spring/c1.wav"),
            ("session_{session}_{unix}.{ext}", "session_s1_1735787045.wav"),
            ("recordings/{call}_{yyyy}{mm}{dd}_{hh}{mi}{ss}.{ext}", "recordings/c1_20250102_030405.wav"),
            ("{participant}", "alice"),
        ];
        for (template, key) in cases {
            assert_eq!(render(template, "c1"), key);
            assert_eq!(template.parse::<KeyTemplate>().unwrap().to_string(), template);
        }
    }

    #[test]
    fn an_unknown_field_is_named_in_the_error() {
        let error = "a/{room}.{ext}".parse::<KeyTemplate>().unwrap_err();
        assert_eq!(error, TemplateError::UnknownField { name: "room".to_owned() });
        assert!(error.to_string().contains("{room}") && error.to_string().contains("tenant, call, campaign"));
    }

    #[test]
    fn a_template_that_cannot_make_a_key_is_refused_when_it_is_parsed() {
        for broken in ["", "/a", "a//b", "../{call}", "{call", "call}", "a}/{call}", ".tmp/{call}", "a\0"] {
            assert!(broken.parse::<KeyTemplate>().is_err(), "{broken:?}");
        }
        let long = "{call}/".repeat(9) + "{call}";
        let error = long.parse::<KeyTemplate>().unwrap_err();
        assert_eq!(error, TemplateError::Key(KeyError::TooLong { bytes: 1209 }));
    }

    #[test]
    fn a_component_that_grows_too_long_is_cut_and_keeps_its_extension() {
        let template = "{call}_{participant}_{call}.{ext}";
        let one = render(template, &"c".repeat(100));
        assert!(one.len() <= 120 && one.ends_with(".wav"), "{one}");
        assert_ne!(one, render(template, &("c".repeat(99) + "d")));
    }

    proptest! {
        #[test]
        fn any_call_id_stays_one_component_where_the_template_put_it(call in any::<String>()) {
            let key = render("a/{call}/b.{ext}", &call);
            let components: Vec<&str> = key.split('/').collect();
            prop_assert_eq!(components, ["a", &safe_name(&call), "b.wav"]);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            if let Ok(template) = text.parse::<KeyTemplate>() {
                prop_assert!(template.render(&fields("c")).is_ok());
            }
        }
    }
}
