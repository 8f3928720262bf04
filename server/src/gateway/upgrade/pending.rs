//! The connection of a request for an upgrade.

use axum::http::Extensions;
use hyper::upgrade::OnUpgrade;

use crate::gateway::{
    Reclaim,
    streams::{ClientStream, Http2Stream},
};

/// A connection that is upgraded as soon as its 101 response is written.
pub(super) struct Upgrade {
    pub(super) on_upgrade: OnUpgrade,
    reclaim: Reclaim,
}

impl Upgrade {
    /// Takes the upgrade of a request; `None` if its connection cannot be upgraded.
    pub(super) fn take(extensions: &mut Extensions) -> Option<Upgrade> {
        let reclaim = *extensions.get()?;
        extensions.remove().map(|on_upgrade| Upgrade { on_upgrade, reclaim })
    }

    /// Waits for the 101 response to be written. Returns the stream of the connection, and the bytes
    /// read after the request.
    pub(super) async fn finish(self) -> Option<(ClientStream, Vec<u8>)> {
        let upgraded = self
            .on_upgrade
            .await
            .inspect_err(|e| tracing::debug!("the connection ended before its upgrade: {e}"))
            .ok()?;
        Some(match (self.reclaim.0)(upgraded) {
            Ok((stream, read)) => (ClientStream::Net(stream), read),
            Err(upgraded) => (ClientStream::Http2(Http2Stream::new(upgraded)), Vec::new()),
        })
    }
}
