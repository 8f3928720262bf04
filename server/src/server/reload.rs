//! SIGHUP: the change to another configuration while the server runs, all or nothing.
//!
//! [`Server::prepare`] does everything that can fail and changes nothing; [`Server::commit`]
//! cannot fail.

use super::{Server, snapshot::Snapshot, sockets::BoundSockets};
use crate::{config::Settings, connections::limits::descriptors, service::chat::Token};

/// A prepared reload: committing it cannot fail.
pub(super) struct Prepared {
    sockets: BoundSockets,
    snapshot: Snapshot,
    /// The operators' token, if it changes.
    token: Option<Token>,
}

impl Server {
    /// Binds the sockets of `settings` that are not bound yet, and builds their snapshot.
    ///
    /// # Errors
    ///
    /// One line that names the address that cannot be bound or used, and why.
    pub(super) async fn prepare(&self, settings: Settings) -> Result<Prepared, String> {
        let now = self.snapshot();
        let token = match (&now.context.settings.operator_token, &settings.operator_token) {
            (_, Some(token)) => Some(token.clone()),
            (Some(_), None) => Some(Token::random()?),
            // The generated token stays.
            (None, None) => None,
        };
        let before = self.sockets.borrow().clone();
        let sockets = before.reconcile(&settings).await?;
        sockets.check_kept(&before)?;
        let snapshot = Snapshot::new(settings, &sockets, &self.hub, &now.context)
            .map_err(|e| format!("cannot serve: {e}"))?;
        Ok(Prepared { sockets, snapshot, token })
    }

    /// Puts the prepared configuration into force, closes the sockets that it does not name, and
    /// logs the changes. Everything is in effect after the first poll. Later polls only wait for
    /// the closed sockets, whose tasks continue if this future is dropped.
    pub(super) async fn commit(&mut self, prepared: Prepared, announce: impl Fn(&[u8])) {
        let Prepared { sockets, mut snapshot, token } = prepared;
        let token_line_before = self.token_line();
        let before = self.snapshot();
        let closed: Vec<_> = self.running.extract_if(|id, _| !sockets.has(*id)).collect();
        for (id, _) in &closed {
            snapshot.keep_served(*id, &before);
        }
        let settings = &snapshot.context.settings;
        settings.log_format.apply();
        let backlog = settings.backlog;
        let backlog = (backlog != before.context.settings.backlog).then_some(backlog);
        sockets.apply_options(&self.sockets.borrow(), backlog);
        self.sockets.send_replace(sockets);
        if let Err(e) = snapshot.context.recorder.apply(settings.record.as_ref()) {
            tracing::warn!("SIGHUP: cannot start the recorder: {e}");
        }
        self.join_cluster(&snapshot.context);
        snapshot.context.limits.set(settings.max_connections, settings.max_per_address);
        if snapshot.descriptors != before.descriptors {
            descriptors::check(settings.max_connections, snapshot.descriptors);
        }
        if let Some(token) = token {
            self.hub.set_token(token);
        }
        self.current.send_replace(snapshot.into());
        self.start_listeners();
        closed.iter().for_each(|(_, running)| running.reception.close());
        if let Some(line) = self.token_line()
            && token_line_before.as_ref() != Some(&line)
        {
            // The token is a secret: printed as at the start, and not logged.
            announce(format!("{line}\n").as_bytes());
        }
        for (_, running) in closed {
            running.task.await.ok();
        }
        log_changes(&before.lines, &self.snapshot().lines);
    }
}

fn log_changes(before: &[String], now: &[String]) {
    tracing::info!("SIGHUP: configuration reloaded");
    for line in before.iter().filter(|line| !now.contains(line)) {
        tracing::info!("SIGHUP: removed  {line}");
    }
    for line in now.iter().filter(|line| !before.contains(line)) {
        tracing::info!("SIGHUP: added    {line}");
    }
}
