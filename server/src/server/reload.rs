//! From some settings to others while the server runs: all of them, or none.

use super::{Running, Server};
use crate::{
    config::Settings,
    server::{snapshot::Snapshot, sockets::BoundSockets},
    service::chat::Token,
};

/// What is to hold next: its sockets are bound, and nothing can fail any more.
pub(super) struct Next {
    sockets: BoundSockets,
    snapshot: Snapshot,
    /// What operators have to know, if it is something else.
    token: Option<Token>,
}

impl Server {
    /// Makes ready for other settings. Nothing changes yet.
    ///
    /// # Errors
    ///
    /// One line that names what cannot be had.
    pub(super) async fn next(&self, settings: Settings) -> Result<Next, String> {
        let now = self.current.get();
        let token = match (&now.context.settings.operator_token, &settings.operator_token) {
            (_, Some(token)) => Some(token.clone()),
            (Some(_), None) => Some(Token::random()?),
            // It was made before.
            (None, None) => None,
        };
        let sockets = self.sockets.reconcile(&settings).await?;
        let snapshot = Snapshot::new(settings, &sockets, &self.hub, &now.context)
            .map_err(|e| format!("cannot serve: {e}"))?;
        Ok(Next { sockets, snapshot, token })
    }

    /// Turns to other settings, closes the sockets that have no part in them, and says
    /// what has changed. Everything is in effect at the first poll; what is waited for is
    /// that the sockets are closed, which goes on where this is dropped.
    pub(super) async fn commit(&mut self, next: Next, announce: impl Fn(&[u8])) {
        let Next { sockets, mut snapshot, token } = next;
        let said = self.token_line();
        let before = self.current.get();
        let gone: Vec<(u64, Running)> =
            self.running.extract_if(|id, _| !sockets.has(*id)).collect();
        for (id, _) in &gone {
            snapshot.keep_listener_service(*id, &before);
        }
        let settings = &snapshot.context.settings;
        let backlog = settings.backlog;
        let backlog = (backlog != before.context.settings.backlog).then_some(backlog);
        sockets.apply_options(&self.sockets, backlog);
        self.sockets = sockets;
        snapshot.context.limits.set(settings.max_connections, settings.max_per_address);
        if let Some(token) = token {
            self.hub.set_token(token);
        }
        self.current.set(snapshot);
        self.start_listeners();
        gone.iter().for_each(|(_, work)| work.stop.cancel());
        if let Some(line) = self.token_line().filter(|line| said.as_ref() != Some(line)) {
            // As at the start, and not in the log.
            announce(format!("{line}\n").as_bytes());
        }
        for (_, work) in gone {
            work.task.await.ok();
        }
        log_changes(&before.lines, &self.current.get().lines);
    }
}

fn log_changes(before: &[String], now: &[String]) {
    tracing::info!("SIGHUP: the settings are read again");
    for line in before.iter().filter(|line| !now.contains(line)) {
        tracing::info!("SIGHUP: gone  {line}");
    }
    for line in now.iter().filter(|line| !before.contains(line)) {
        tracing::info!("SIGHUP: new   {line}");
    }
}
