//! TLS failures in words.

use std::io;

use tokio_rustls::rustls::{self, AlertDescription, HandshakeType};

/// Why the TLS handshake with `who` ("server", "client") failed, if TLS is the reason, and
/// not the connection below it. (Certificates that are not trusted are the caller's matter.)
pub(super) fn of_handshake(who: &str, error: &io::Error) -> Option<String> {
    use rustls::{Error::*, PeerIncompatible::*};

    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Some(format!("the {who} ended the connection during the TLS handshake"));
    }
    Some(match error.get_ref()?.downcast_ref()? {
        InvalidMessage(_) | PeerSentOversizedRecord => format!("the {who} does not speak TLS"),
        InappropriateHandshakeMessage { got_type: HandshakeType::ClientHello, .. } => {
            format!("the {who} does not speak TLS: it sent back what it was sent")
        }
        AlertReceived(alert) => {
            format!("the {who} refused the TLS handshake: {}", of_alert(*alert))
        }
        PeerIncompatible(
            ServerDoesNotSupportTls12Or13
            | ServerTlsVersionIsDisabledByOurConfig
            | SupportedVersionsExtensionRequired
            | Tls12NotOffered
            | Tls12NotOfferedOrEnabled,
        ) => format!("the {who} speaks neither TLS 1.2 nor TLS 1.3"),
        PeerIncompatible(
            NoCipherSuitesInCommon | NoKxGroupsInCommon | NoSignatureSchemesInCommon,
        ) => format!("the {who} has no cipher suite, key exchange or signature in common with us"),
        NoApplicationProtocol => {
            format!("the {who} offers no application protocol (ALPN) that is spoken here")
        }
        e => format!("the TLS handshake with the {who} failed: {e}"),
    })
}

/// The same error in words, on a connection whose handshake is over as far as this side can
/// tell: by TLS 1.3 a server may refuse a client only then.
pub(super) fn of_connection(error: io::Error) -> io::Error {
    /// How a stream ended that may lack its end (RFC 8446 section 6.1).
    const CUT_OFF: &str = "cut off: TCP ended before TLS did (no close_notify)";

    if error.kind() == io::ErrorKind::UnexpectedEof {
        return io::Error::new(error.kind(), CUT_OFF);
    }
    match error.get_ref().and_then(|e| e.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => {
            let words = format!("TLS was ended by the peer: {}", of_alert(*alert));
            io::Error::new(error.kind(), words)
        }
        _ => error,
    }
}

/// What the sender of an alert means by it, and the alert's name (RFC 8446 section 6.2).
fn of_alert(alert: AlertDescription) -> String {
    use AlertDescription::*;

    let words = match alert {
        CertificateRequired | NoCertificate => "it requires a client certificate",
        NoApplicationProtocol => "it speaks none of the application protocols offered (ALPN)",
        ProtocolVersion => "it speaks neither TLS 1.2 nor TLS 1.3",
        HandshakeFailure | InsufficientSecurity => {
            "it has no cipher suite in common with us, or requires a client certificate"
        }
        UnrecognisedName => "it has no certificate for the host name",
        UnknownCA
        | BadCertificate
        | UnsupportedCertificate
        | CertificateRevoked
        | CertificateExpired
        | CertificateUnknown => "it does not accept the certificate",
        AccessDenied => "access is denied",
        InternalError => "an internal error",
        _ => "a violation of the protocol",
    };
    format!("{words} ({})", name(alert))
}

/// An alert's name as RFC 8446 writes it: `unknown_ca`.
fn name(alert: AlertDescription) -> String {
    match alert {
        // The library's spelling is another, or has letters that are not separate words.
        AlertDescription::UnknownCA => return "unknown_ca".to_owned(),
        AlertDescription::UnrecognisedName => return "unrecognized_name".to_owned(),
        AlertDescription::UnknownPSKIdentity => return "unknown_psk_identity".to_owned(),
        AlertDescription::Unknown(number) => return format!("alert {number}"),
        _ => {}
    }
    let mut name = String::new();
    for c in format!("{alert:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: rustls::Error) -> String {
        of_handshake("server", &io::Error::new(io::ErrorKind::InvalidData, error)).unwrap()
    }

    #[test]
    fn alerts_are_told_in_words_with_their_names() {
        for (alert, expected) in [
            (
                AlertDescription::CertificateRequired,
                "it requires a client certificate (certificate_required)",
            ),
            (
                AlertDescription::NoApplicationProtocol,
                "it speaks none of the application protocols offered (ALPN) \
                 (no_application_protocol)",
            ),
            (
                AlertDescription::ProtocolVersion,
                "it speaks neither TLS 1.2 nor TLS 1.3 (protocol_version)",
            ),
            (AlertDescription::UnknownCA, "it does not accept the certificate (unknown_ca)"),
            (AlertDescription::DecodeError, "a violation of the protocol (decode_error)"),
            (AlertDescription::Unknown(200), "a violation of the protocol (alert 200)"),
        ] {
            let handshake = of(rustls::Error::AlertReceived(alert));
            assert_eq!(handshake, format!("the server refused the TLS handshake: {expected}"));
            let error =
                io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert));
            let connection = of_connection(error).to_string();
            assert_eq!(connection, format!("TLS was ended by the peer: {expected}"));
        }
    }

    #[test]
    fn what_is_no_tls_is_said_to_be_none() {
        let echoed = rustls::Error::InappropriateHandshakeMessage {
            expect_types: vec![HandshakeType::ServerHello],
            got_type: HandshakeType::ClientHello,
        };
        assert_eq!(of(echoed), "the server does not speak TLS: it sent back what it was sent");
        assert_eq!(of(rustls::Error::PeerSentOversizedRecord), "the server does not speak TLS");
        let old = rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13;
        assert_eq!(of(old.into()), "the server speaks neither TLS 1.2 nor TLS 1.3");
    }
}
