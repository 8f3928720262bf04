//! Verification of a server's certificate by the CA file of the user, or none (`--insecure`).

use std::sync::Arc;

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::provider;

/// Verifies a server's certificate by a CA file, or accepts any certificate. Either way it verifies
/// that the server has the certificate's private key.
#[derive(Debug)]
pub(super) struct Verifier {
    /// None accepts any certificate.
    ca: Option<CaFile>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The certificates of a CA file. A server's certificate is accepted if one of them has issued it,
/// or if it is one of them.
///
/// The second rule is needed for self-signed certificates that are marked as CA certificates
/// (CA:TRUE), as `openssl req -x509` makes them: rustls accepts none of those for a server. curl
/// and browsers do if they trust that very certificate.
#[derive(Debug)]
struct CaFile {
    issuers: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Verifier {
    /// Verifies by `certificates`, which are also in `roots`.
    ///
    /// # Errors
    ///
    /// There are no certificates.
    pub(super) fn with_ca(
        roots: RootCertStore,
        certificates: Vec<CertificateDer<'static>>,
    ) -> Result<Verifier, VerifierBuilderError> {
        let issuers = WebPkiServerVerifier::builder_with_provider(roots.into(), provider());
        let ca = CaFile { issuers: issuers.build()?, certificates };
        Ok(Verifier { ca: Some(ca), ..Verifier::insecure() })
    }

    /// Accepts any certificate.
    pub(super) fn insecure() -> Verifier {
        Verifier { ca: None, algorithms: provider().signature_verification_algorithms }
    }
}

/// Whether a certificate was rejected only because it is marked as a CA certificate. The check of
/// its validity period comes before that one.
pub(super) fn is_authority(error: &CertificateError) -> bool {
    let CertificateError::Other(OtherError(error)) = error else { return false };
    matches!(error.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(CaFile { issuers, certificates }) = &self.ca else {
            return Ok(ServerCertVerified::assertion());
        };
        match issuers.verify_server_cert(certificate, intermediates, name, ocsp_response, now) {
            Err(Error::InvalidCertificate(why))
                if is_authority(&why) && certificates.contains(certificate) =>
            {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
