//! Connections to a server, plain or through TLS.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What a connection reads and writes.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A connection, of either kind.
pub(crate) type Stream = Box<dyn Socket>;

/// Whom to trust: the authorities that this machine knows, and those of a file.
#[derive(Clone, Debug)]
pub(crate) struct Trust(Arc<ClientConfig>);

impl Trust {
    /// `authorities`: certificates in PEM.
    ///
    /// # Errors
    /// Where they cannot be read, or there are none at all.
    pub(crate) fn new(authorities: Option<&Path>) -> anyhow::Result<Self> {
        let more = authorities.map_or(Ok(Vec::new()), certificates)?;
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new_with_extra_roots(more, Arc::clone(&provider)).context(
            "no certificate authorities are found: install ca-certificates, or name some with --ca",
        )?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            // The platform's own checks; nothing is left out.
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Shakes hands with `host`.
    ///
    /// # Errors
    /// Where it is not the one it should be, or speaks no TLS.
    pub(crate) async fn connect(&self, host: &str, stream: TcpStream) -> anyhow::Result<Stream> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
        Ok(Box::new(TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await?))
    }
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let cannot = || format!("--ca: cannot read {} as certificates in PEM", file.display());
    let read = CertificateDer::pem_file_iter(file).with_context(cannot)?;
    let found = read.collect::<Result<Vec<_>, _>>().with_context(cannot)?;
    if found.is_empty() {
        bail!("--ca: {} holds no certificate in PEM", file.display());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (empty, none) = (folder.path().join("empty.pem"), folder.path().join("none.pem"));
        std::fs::write(&empty, "no certificate").unwrap();
        for (file, why) in [(&empty, "holds no certificate"), (&none, "cannot read")] {
            let refused = Trust::new(Some(file)).unwrap_err().to_string();
            assert!(refused.contains(why) && refused.contains(&*file.to_string_lossy()), "{refused}");
        }
    }
}
