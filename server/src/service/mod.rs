//! The built-in services.
//!
//! Each file uses only those below it:
//!
//! - `connection`: a connection to a service from its first byte to its end
//! - `backend`: a service that can run, and its side of one connection
//! - `bytes`: services that answer each byte with one byte: `upper`, `echo`
//! - `time`, `chat`: services that answer lines
//! - `lines`: the common part of services that answer lines
//! - `line_reader`: received bytes, split into requests
//! - `end`: the reasons for which a connection to a service ends
//! - [`Service`]: the names of the services

pub(crate) mod backend;
mod bytes;
pub(crate) mod chat;
pub(crate) mod connection;
mod end;
mod line_reader;
mod lines;
mod time;

use std::{fmt, str::FromStr};

use echogate_proto::framing::Framing;

use crate::text::suggest;

/// The name of a built-in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Answers `a` to `z` with `A` to `Z`, and every other byte with itself.
    Upper,
    /// Answers every byte with itself.
    Echo,
    /// Answers a Unix time with its date and time of day.
    Time,
    /// Connects clients with operators.
    Chat,
    /// Lets operators answer the clients of `chat`.
    Operator,
}

impl Service {
    pub(crate) const ALL: [Service; 5] =
        [Service::Upper, Service::Echo, Service::Time, Service::Chat, Service::Operator];

    /// The name used in settings.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Service::Upper => "upper",
            Service::Echo => "echo",
            Service::Time => "time",
            Service::Chat => "chat",
            Service::Operator => "operator",
        }
    }

    /// The rule by which the service's output becomes WebSocket messages.
    pub(crate) fn framing(self) -> Framing {
        match self {
            Service::Upper | Service::Echo => Framing::Message,
            Service::Time | Service::Chat | Service::Operator => Framing::Line,
        }
    }

    /// Whether the service can answer a datagram with a datagram.
    pub(crate) fn answers_datagrams(self) -> bool {
        matches!(self, Service::Upper | Service::Echo | Service::Time)
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Service, String> {
        Service::ALL.into_iter().find(|service| service.name() == text).ok_or_else(|| {
            let names = Service::ALL.map(Service::name).join(", ");
            let suggestion = suggest::suggestion(text, Service::ALL.map(Service::name));
            format!("unknown service \"{text}\": expected one of {names}{suggestion}")
        })
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
