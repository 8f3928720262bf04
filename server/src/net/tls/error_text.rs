//! The wording of TLS errors.

use std::{fmt::Display, io};

use echogate_proto::reason::{self, fill};
use tokio_rustls::rustls::{self, AlertDescription, HandshakeType};

/// Describes why the handshake with `role` ("server", "client") failed; None if the underlying
/// connection failed. Untrusted certificates are left to the caller.
pub(super) fn of_handshake(role: &str, error: &io::Error) -> Option<String> {
    use rustls::{Error::*, PeerIncompatible::*};

    let peer = format!("the {role}");
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Some(fill(reason::TLS_ENDED, &[&peer]));
    }
    Some(match error.get_ref()?.downcast_ref()? {
        InvalidMessage(_) | PeerSentOversizedRecord => fill(reason::TLS_NOT_SPOKEN, &[&peer]),
        InappropriateHandshakeMessage { got_type: HandshakeType::ClientHello, .. } => {
            fill(reason::TLS_ECHOED, &[&peer])
        }
        AlertReceived(alert) => fill(reason::TLS_REFUSED, &[&peer, &of_alert(*alert)]),
        PeerIncompatible(
            ServerDoesNotSupportTls12Or13
            | ServerTlsVersionIsDisabledByOurConfig
            | SupportedVersionsExtensionRequired
            | Tls12NotOffered
            | Tls12NotOfferedOrEnabled,
        ) => fill(reason::TLS_OLD, &[&peer]),
        PeerIncompatible(
            NoCipherSuitesInCommon | NoKxGroupsInCommon | NoSignatureSchemesInCommon,
        ) => fill(reason::TLS_NOTHING_SHARED, &[&peer]),
        NoApplicationProtocol => fill(reason::TLS_NO_PROTOCOL, &[&peer]),
        e => fill(reason::TLS_FAILED, &[&peer as &dyn Display, e]),
    })
}

/// Rewords an error of a connection after its handshake. In TLS 1.3 that includes a server's
/// rejection of the client, which arrives only then.
pub(super) fn of_connection(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        // The stream may be truncated (RFC 8446 section 6.1).
        return io::Error::new(error.kind(), reason::TLS_CUT_OFF);
    }
    match error.get_ref().and_then(|e| e.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => {
            let text = fill(reason::TLS_ENDED_BY_ALERT, &[&of_alert(*alert)]);
            io::Error::new(error.kind(), text)
        }
        _ => error,
    }
}

/// The meaning of an alert from its sender's side, and its name (RFC 8446 section 6.2).
fn of_alert(alert: AlertDescription) -> String {
    use AlertDescription::*;

    let meaning = match alert {
        CertificateRequired | NoCertificate => reason::ALERT_CERTIFICATE_REQUIRED,
        NoApplicationProtocol => reason::ALERT_NO_PROTOCOL,
        ProtocolVersion => reason::ALERT_VERSION,
        HandshakeFailure | InsufficientSecurity => reason::ALERT_NOTHING_SHARED,
        UnrecognisedName => reason::ALERT_HOST_NAME,
        UnknownCA
        | BadCertificate
        | UnsupportedCertificate
        | CertificateRevoked
        | CertificateExpired
        | CertificateUnknown => reason::ALERT_CERTIFICATE,
        AccessDenied => reason::ALERT_ACCESS,
        InternalError => reason::ALERT_INTERNAL,
        _ => reason::ALERT_VIOLATION,
    };
    fill(reason::TLS_ALERT, &[meaning, &*name(alert)])
}

/// The name of an alert as in RFC 8446: `unknown_ca`.
fn name(alert: AlertDescription) -> String {
    match alert {
        // rustls spells these differently, or with adjacent capitals.
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
    fn alerts_are_described_and_named() {
        for (alert, expected) in [
            (
                AlertDescription::CertificateRequired,
                "it requires a client certificate (certificate_required)",
            ),
            (
                AlertDescription::NoApplicationProtocol,
                "it supports none of the application protocols offered (ALPN) \
                 (no_application_protocol)",
            ),
            (
                AlertDescription::ProtocolVersion,
                "it speaks neither TLS 1.2 nor TLS 1.3 (protocol_version)",
            ),
            (AlertDescription::UnknownCA, "it does not accept the certificate (unknown_ca)"),
            (AlertDescription::DecodeError, "a protocol violation (decode_error)"),
            (AlertDescription::Unknown(200), "a protocol violation (alert 200)"),
        ] {
            let handshake = of(rustls::Error::AlertReceived(alert));
            assert_eq!(handshake, format!("the server refused the TLS handshake: {expected}"));
            let error =
                io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert));
            let connection = of_connection(error).to_string();
            assert_eq!(connection, format!("the peer ended TLS: {expected}"));
        }
    }

    #[test]
    fn a_peer_without_tls_is_recognised() {
        let echoed = rustls::Error::InappropriateHandshakeMessage {
            expect_types: vec![HandshakeType::ServerHello],
            got_type: HandshakeType::ClientHello,
        };
        assert_eq!(of(echoed), "the server does not speak TLS: it echoed the ClientHello");
        assert_eq!(of(rustls::Error::PeerSentOversizedRecord), "the server does not speak TLS");
        let old = rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13;
        assert_eq!(of(old.into()), "the server speaks neither TLS 1.2 nor TLS 1.3");
    }
}
