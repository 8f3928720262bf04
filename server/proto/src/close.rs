//! WebSocket close codes (RFC 6455 section 7.4) and their descriptions.

/// A close code, as a Close frame carries it or an endpoint reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// 1000: the connection has fulfilled its purpose; here also: the upstream reached its end.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server shuts down, or the user leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer violated the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1005: a Close frame had no code. Never sent (section 7.4.1).
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a Close frame. Never sent (section 7.4.1).
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: a text message was not valid UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: the server's policy does not allow the connection.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message was larger than the receiver accepts.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: an internal error; here: the upstream failed.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server restarts (IANA registry, not in the RFC).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the server is overloaded (IANA registry, not in the RFC).
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// The codes for which [`CloseCode::may_be_sent`] is true, as part of a sentence for users.
    pub const SENDABLE: &str = "1000 to 1003, 1007 to 1014, or 3000 to 4999";

    /// Whether an endpoint may send this code in a Close frame (RFC 6455 section 7.4, with the
    /// codes 1012 to 1014 of the IANA registry).
    pub fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// The meaning of the code, as part of a sentence for users.
    pub const fn description(self) -> &'static str {
        match self.0 {
            1000 => "closed normally",
            1001 => "the other side is going away",
            1002 => "protocol error",
            1003 => "a type of data that the other side does not accept",
            1005 => "closed without a code",
            1006 => "the connection ended without a Close frame",
            1007 => "text that is not valid UTF-8",
            1008 => "refused by policy",
            1009 => "message too big",
            1010 => "a required extension is missing",
            1011 => "the server or its upstream failed",
            1012 => "the server restarts",
            1013 => "the server is overloaded, try again later",
            1014 => "a gateway got an invalid response from its upstream",
            1015 => "the TLS handshake failed",
            3000..=3999 => "a code registered by a library or framework",
            4000..=4999 => "a code private to the application",
            _ => "a code that RFC 6455 does not define",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_and_unknown_codes_are_never_sent() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            assert!(!CloseCode(code).may_be_sent(), "{code}");
        }
        for code in [1000, 1003, 1007, 1011, 1014, 3000, 4999] {
            assert!(CloseCode(code).may_be_sent(), "{code}");
        }
    }
}
