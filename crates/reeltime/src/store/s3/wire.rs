//! The HTTP client under `object_store`: it makes every refusal of the store an [`Answer`], which keeps what the store
//! said, and is bounded in time.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use reqwest::header::{CONTENT_TYPE, HeaderMap};

const CONNECT: Duration = Duration::from_secs(5);
/// An error's document is some hundred bytes.
const MOST_OF_AN_ANSWER: usize = 16 << 10;
/// What the store says, and we repeat, is cut here: characters.
const MOST_OF_A_MESSAGE: usize = 200;
/// Where the machine's role is asked for (AWS EC2, ECS and EKS), beside loopback.
const ROLE_HOSTS: &str = "169.254.";

/// Makes the client, whatever `object_store` would have made.
#[derive(Debug)]
pub(super) struct Connector {
    /// As [`S3Options::answer_timeout`](super::S3Options::answer_timeout).
    pub(super) silence: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = plain_client(self.silence);
        let client = client
            .map_err(|source| object_store::Error::Generic { store: "S3", source: Box::new(source) })?;
        Ok(HttpClient::new(Wire(client)))
    }
}

/// A client that follows nothing and waits for nothing longer than `silence`.
pub(super) fn plain_client(silence: Duration) -> reqwest::Result<reqwest::Client> {
    // Whoever was first has set one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(silence)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("reeltime/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// What the store answered instead of what was asked for.
#[derive(Debug)]
pub(super) struct Answer {
    /// The HTTP status, or the one that the body says it should have been.
    pub(super) status: u16,
    /// The store's own word for it, such as `NoSuchKey`; empty where it gave none.
    pub(super) code: String,
    /// Its sentence, made short and harmless.
    pub(super) message: String,
    /// Where it says the bucket lies.
    pub(super) region: Option<String>,
    /// Whether it was a page for a browser.
    pub(super) is_page: bool,
    /// Whether it came from what hands out the machine's role.
    pub(super) of_role: bool,
    /// Whether there was a body that could say more.
    pub(super) had_body: bool,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it answered {}", self.status)?;
        for text in [&self.code, &self.message] {
            if !text.is_empty() {
                write!(f, " {text}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Answer {}

#[derive(Debug)]
struct Wire(reqwest::Client);

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let of_role = request.uri().host().is_some_and(|host| host.starts_with(ROLE_HOSTS));
        let response = match self.0.call(request).await {
            Err(_) if of_role => return Err(HttpError::new(HttpErrorKind::Unknown, Answer::no_role())),
            response => response?,
        };
        let is_page = is_page(response.headers());
        if response.status().is_success() && !is_page {
            return Ok(response);
        }
        let answer = Answer { of_role, is_page, ..read(response).await };
        Err(HttpError::new(kind(&answer), answer))
    }
}

/// What passes is worth another attempt at once: `object_store` makes a few.
fn kind(answer: &Answer) -> HttpErrorKind {
    if answer.passes() { HttpErrorKind::Request } else { HttpErrorKind::Unknown }
}

impl Answer {
    /// Nobody answers where the machine's role is asked for.
    pub(super) fn no_role() -> Self {
        Self { of_role: true, ..parse(404, "") }
    }

    /// Whether the same request may be answered otherwise in a while.
    pub(super) fn passes(&self) -> bool {
        const BUSY: [&str; 7] = [
            "SlowDown",
            "InternalError",
            "RequestTimeout",
            "ServiceUnavailable",
            "OperationAborted",
            "ConditionalRequestConflict",
            "BadDigest",
        ];
        let is_busy = matches!(self.status, 408 | 425 | 429 | 500 | 502..=599);
        BUSY.contains(&self.code.as_str()) || is_busy
    }
}

fn is_page(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

async fn read(response: HttpResponse) -> Answer {
    let (head, body) = response.into_parts();
    let header = |name: &str| head.headers.get(name)?.to_str().ok().map(str::to_owned);
    let region = header("x-amz-bucket-region");
    let body = beginning(body).await;
    let mut answer = parse(head.status.as_u16(), &String::from_utf8_lossy(&body));
    answer.region = region.or(answer.region);
    answer.had_body = !body.is_empty();
    answer
}

async fn beginning(body: HttpResponseBody) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chunks = body.bytes_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        let room = MOST_OF_AN_ANSWER - bytes.len();
        bytes.extend(chunk.iter().take(room));
        if bytes.len() == MOST_OF_AN_ANSWER {
            break;
        }
    }
    bytes
}

/// An error's document: S3's XML, or JSON as Supabase gives it, whose status stands in the body and is 400 outside.
fn parse(status: u16, body: &str) -> Answer {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let field = |xml: &str, names: &[&str]| match &json {
        Some(json) => names.iter().find_map(|name| text_of(json.get(*name)?)),
        None => element(body, xml),
    };
    let inner = field("", &["statusCode"]).and_then(|text| text.parse().ok());
    Answer {
        status: inner.filter(|_| status == 400).unwrap_or(status),
        code: field("Code", &["code", "error"]).map(|text| harmless(&text)).unwrap_or_default(),
        message: field("Message", &["message"]).map(|text| harmless(&text)).unwrap_or_default(),
        region: field("Region", &["region"]).map(|text| harmless(&text)),
        is_page: false,
        of_role: false,
        had_body: true,
    }
}

fn text_of(value: &serde_json::Value) -> Option<String> {
    value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|number| number.to_string()))
}

/// The text of the first element of this name: all there is to read in an error's document.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.to_owned())
}

fn harmless(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MOST_OF_A_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_xml_is_read() {
        let body = "<?xml version=\"1.0\"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>the region is \
                    wrong</Message><Region>eu-west-1</Region></Error>";
        let answer = parse(400, body);
        assert_eq!((answer.status, answer.code.as_str()), (400, "AuthorizationHeaderMalformed"));
        assert_eq!(answer.region.as_deref(), Some("eu-west-1"));
        assert_eq!(answer.to_string(), "it answered 400 AuthorizationHeaderMalformed the region is wrong");
    }

    #[test]
    fn the_status_inside_of_a_json_answer_counts() {
        let answer = parse(400, r#"{"statusCode":"404","error":"not_found","message":"Object not found"}"#);
        assert_eq!((answer.status, answer.code.as_str()), (404, "not_found"));
        assert_eq!(parse(500, r#"{"statusCode":"404"}"#).status, 500);
    }

    #[test]
    fn what_a_store_says_is_cut_and_cleaned() {
        let answer = parse(403, &format!("<Message>a\x1b[2J{}</Message>", "x".repeat(500)));
        assert_eq!(answer.message.chars().count(), MOST_OF_A_MESSAGE);
        assert!(!answer.message.contains('\x1b'));
        for odd in ["", "<Code>", "</Code><Code>", "{", "null", "[]", "<Code></Code>"] {
            assert_eq!(parse(400, odd).code, "", "{odd}");
        }
    }

    #[test]
    fn what_is_busy_passes_and_what_is_refused_does_not() {
        for (status, code, passes) in [
            (503, "SlowDown", true),
            (500, "", true),
            (429, "", true),
            (400, "RequestTimeout", true),
            (409, "ConditionalRequestConflict", true),
            (501, "NotImplemented", false),
            (403, "AccessDenied", false),
            (404, "NoSuchKey", false),
            (412, "PreconditionFailed", false),
        ] {
            assert_eq!(parse(status, &format!("<Code>{code}</Code>")).passes(), passes, "{status} {code}");
        }
    }
}
