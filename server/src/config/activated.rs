//! The purposes of sockets passed by a service manager (systemd socket activation), which replace
//! default addresses.

use crate::service::Service;

/// The purposes of the passed sockets.
#[derive(Clone, Debug, Default)]
pub(crate) struct ActivatedNames {
    /// Whether at least one socket is for HTTP.
    pub(crate) http: bool,
    /// The services that have a socket.
    pub(crate) services: Vec<Service>,
}
