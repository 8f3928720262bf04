//! A certificate and its private key, as read from PEM files.

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};

use thiserror::Error;
use tokio_rustls::rustls::{
    self, InconsistentKeys,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};

use super::{certificates, unreadable};

/// A certificate, its intermediate certificates and its private key.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) cert_file: PathBuf,
    pub(super) key_file: PathBuf,
}

/// The reason for which a certificate and its key cannot be used, with the file at fault.
#[derive(Debug, Error)]
#[error("{text}")]
pub(crate) struct IdentityError {
    text: String,
    /// The fault is that of the key's file, not of the certificate's.
    is_of_key: bool,
}

impl IdentityError {
    fn of_cert(text: String) -> IdentityError {
        IdentityError { text, is_of_key: false }
    }

    fn of_key(text: String) -> IdentityError {
        IdentityError { text, is_of_key: true }
    }

    /// The error after the name of the setting that gives the file: that of the certificate, or that of the
    /// key.
    pub(crate) fn named(self, cert: impl Display, key: impl Display) -> String {
        if self.is_of_key { format!("{key}: {self}") } else { format!("{cert}: {self}") }
    }
}

impl Identity {
    /// Reads a certificate, followed by its intermediate certificates, and the private key, which is
    /// in the same file if `key` is not given.
    ///
    /// # Errors
    ///
    /// One line that names the file and says what is wrong with it.
    pub(crate) fn read(cert: &Path, key: Option<&Path>) -> Result<Identity, IdentityError> {
        let chain = certificates(cert).map_err(IdentityError::of_cert)?;
        let secret = private_key(key.unwrap_or(cert)).map_err(|why| match key {
            Some(_) => IdentityError::of_key(why),
            None => {
                IdentityError::of_cert(format!("{why}, and no other file is given for the key"))
            }
        })?;
        let (cert_file, key_file) = (cert.to_owned(), key.unwrap_or(cert).to_owned());
        Ok(Identity { chain, key: secret, cert_file, key_file })
    }

    /// Describes why rustls does not take the certificate or the key.
    pub(super) fn describe(cert: &Path, key: &Path, error: &rustls::Error) -> IdentityError {
        let (cert, key) = (cert.display(), key.display());
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                IdentityError::of_key(format!("{key}: not the private key of {cert}"))
            }
            rustls::Error::InvalidCertificate(e) => {
                IdentityError::of_cert(format!("{cert}: not a certificate: {e}"))
            }
            e => IdentityError::of_key(format!("{key}: {e}")),
        }
    }
}

/// Whether a file holds a private key, as websockify's `self.pem` does beside the certificate.
///
/// # Errors
///
/// The file cannot be read, or its key is encrypted.
pub(crate) fn has_private_key(file: &Path) -> Result<bool, String> {
    find_private_key(file).map(|key| key.is_some())
}

/// Reads a PEM file that holds a private key.
pub(super) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let kinds = "PKCS#8, PKCS#1 or SEC1 in PEM, not encrypted";
    let missing = || format!("{}: no private key in it (expected {kinds})", file.display());
    find_private_key(file)?.ok_or_else(missing)
}

/// Reads the private key of a PEM file, if there is one.
fn find_private_key(file: &Path) -> Result<Option<PrivateKeyDer<'static>>, String> {
    match PrivateKeyDer::from_pem_file(file) {
        Ok(key) => Ok(Some(key)),
        Err(_) if is_encrypted(file) => {
            let name = file.display();
            Err(format!(
                "{name}: the private key is encrypted: decrypt it with openssl pkey -in {name}"
            ))
        }
        Err(pem::Error::NoItemsFound) => Ok(None),
        Err(e) => Err(unreadable(file, e)),
    }
}

/// Whether the private key in a PEM file is encrypted: as PKCS#8, or in the form of old OpenSSL.
fn is_encrypted(file: &Path) -> bool {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| text.lines().any(|line| line.trim_end() == *mark))
}
