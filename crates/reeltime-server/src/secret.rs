//! The secret that signs URLs: configured, or made once and kept in the data folder.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};

use crate::settings::{Access, reveal};

const FILE: &str = "url-secret";
/// Hexadecimal digits of 32 random bytes.
const LENGTH: usize = 64;

/// The secret to sign with.
pub(crate) fn url_secret(access: &Access, data_dir: &Path) -> anyhow::Result<Vec<u8>> {
    if let Some(secret) = &access.url_secret {
        return Ok(reveal(secret).to_vec());
    }
    let path = data_dir.join(FILE);
    match create(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(&path),
        made => made.with_context(|| format!("cannot write {}", path.display())),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let secret = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if secret.len() < LENGTH {
        bail!("{} is damaged; remove it to have a new one made (links given out end then)", path.display());
    }
    Ok(secret)
}

/// Readable by its owner alone from its first byte on.
fn create(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let secret = random_hex()?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    Ok(secret.into_bytes())
}

fn random_hex() -> io::Result<String> {
    let mut bytes = [0; LENGTH / 2];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const UNSET: Access = Access { api_keys: Vec::new(), url_secret: None, public_url: None };

    #[test]
    fn a_secret_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = url_secret(&UNSET, folder.path()).unwrap();
        assert_eq!(first.len(), LENGTH);
        assert_eq!(url_secret(&UNSET, folder.path()).unwrap(), first);
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(url_secret(&UNSET, other.path()).unwrap(), first);
    }

    #[test]
    fn a_configured_secret_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access { url_secret: Some("mine".into()), ..UNSET };
        assert_eq!(url_secret(&access, folder.path()).unwrap(), b"mine");
        assert!(!folder.path().join(FILE).exists());
    }

    #[test]
    fn a_damaged_secret_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "").unwrap();
        assert!(url_secret(&UNSET, folder.path()).unwrap_err().to_string().contains("is damaged"));
    }
}
