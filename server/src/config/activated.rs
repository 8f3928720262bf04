//! The purposes of the sockets that a service manager passed to this process: settings that they
//! stand in for.

use crate::service::Service;

/// The purposes of the passed sockets.
#[derive(Clone, Debug, Default)]
pub(crate) struct ActivatedNames {
    /// At least one is for HTTP.
    pub(crate) http: bool,
    /// The services for which there is one.
    pub(crate) services: Vec<Service>,
}
