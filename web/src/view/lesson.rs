//! The lesson under way: its connections, and the client tab in which they are followed.

use echogate_proto::{api::Kind, close::CloseCode};

use super::{
    browser,
    connection::{Connection, Source},
    following::Following,
    model::Model,
};
use crate::{
    cards,
    json::Json,
    lesson::{Act, CLOSE_CODE, Lesson},
    live::{self, ConnectionRow},
    session::{Event, HALF_CLOSE},
};

/// The lesson under way.
pub(super) struct LessonSession {
    /// The id of the connection whose ladder shows the lesson.
    pub(super) tab: u32,
    /// The page's connection, which has no tab of its own.
    pub(super) socket: Connection,
    pub(super) lesson: Lesson,
    /// Whether a client is to be followed.
    awaits: Option<Awaited>,
    /// Whether the connection ended before a step was complete.
    pub(super) is_lost: bool,
}

/// The client that is to be followed as soon as the server reports it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// The page's own connection.
    Own,
    /// A native client of a TCP listener.
    Native,
}

impl Model {
    /// The path of the lesson's route, if the server has what the lesson needs: a route to `upper`, and
    /// a TCP listener of it.
    pub(super) fn lesson_path(&self) -> Option<&str> {
        self.lesson_command()?;
        let leads =
            |route: &&_| live::service_of(&self.endpoints, route).is_some_and(|it| it == "upper");
        let route = self.endpoints.routes.iter().find(leads)?;
        Some(route.path.trim_end_matches('*'))
    }

    /// The command of a native client that resets its connection when it is interrupted.
    pub(super) fn lesson_command(&self) -> Option<String> {
        let at = cards::tcp_listener(&self.endpoints, &browser::location(), "upper")?;
        let (host, port) = at;
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Some(format!("(echo hello; cat) | echogate connect {host}:{port}"))
    }

    /// Starts the lesson in a tab of its own.
    pub(super) fn start_lesson(&mut self) {
        if self.lesson_path().is_none() || !self.may_follow() {
            return;
        }
        self.stop_lesson();
        let name = self.texts.lesson.to_owned();
        let socket = self.unlisted_connection();
        let tab = self.add_connection();
        tab.source = Source::Client(Following::later(name));
        tab.view.is_ladder = true;
        let tab = tab.id;
        let lesson = Lesson::start();
        self.lesson = Some(LessonSession { tab, socket, lesson, awaits: None, is_lost: false });
    }

    /// Ends the lesson, its connection and its tab.
    pub(super) fn stop_lesson(&mut self) {
        let Some(session) = self.lesson.take() else { return };
        if self.connections.len() == 1 {
            self.add_connection();
        }
        self.connections.retain(|connection| connection.id != session.tab);
        self.chosen = self.chosen.min(self.connections.len() - 1);
    }

    /// Takes the lesson's new events, and does what is due.
    pub(super) fn update_lesson(&mut self) {
        let Some(mut session) = self.lesson.take() else { return };
        let tab = self.connections.iter_mut().find(|connection| connection.id == session.tab);
        // The user has removed the tab.
        let Some(Connection { source: Source::Client(following), .. }) = tab else { return };
        self.texts.lesson.clone_into(&mut following.name);
        let was_done = session.lesson.is_done();
        let events = &following.events;
        let new = events.dropped + events.iter().len() as u64 - session.lesson.seen();
        let skipped = events.iter().len().saturating_sub(new as usize);
        for line in events.iter().skip(skipped) {
            session.lesson.observe(&Json::read(line).unwrap_or(Json::Null));
        }
        let has_ended = match session.awaits {
            Some(Awaited::Native) => false,
            Some(Awaited::Own) => session.socket.session.state().close_reason().is_some(),
            None => !following.is_live(),
        };
        session.is_lost = has_ended && !session.lesson.is_done();
        if !was_done && session.lesson.is_done() {
            self.announcer.set_state(self.texts.lesson_done.to_owned());
        }
        if let Some(act) = session.lesson.take_due() {
            self.act(&mut session, act);
        }
        if let Some(awaited) = session.awaits {
            self.follow_awaited(&mut session, awaited);
        }
        self.lesson = Some(session);
    }

    fn act(&mut self, session: &mut LessonSession, act: Act) {
        let now = browser::now();
        let event = match act {
            Act::Open => {
                let location = browser::location();
                let path = self.lesson_path().unwrap_or_default();
                let Ok(url) = location.parse_endpoint(path) else { return };
                session.socket = self.unlisted_connection();
                session.awaits = Some(Awaited::Own);
                Event::Connect { url, protocols: vec![HALF_CLOSE.to_owned()] }
            }
            Act::Send(length) => {
                let text = "hello".chars().cycle().take(length).collect::<String>();
                Event::Send(text.as_str().into())
            }
            Act::HalfClose => Event::HalfClose,
            Act::Close => {
                let reason = self.texts.lesson.to_owned();
                Event::Disconnect { code: CloseCode(CLOSE_CODE), reason }
            }
            Act::Follow => {
                session.awaits = Some(Awaited::Native);
                return;
            }
        };
        session.socket.on_event(event, now);
    }

    fn follow_awaited(&mut self, session: &mut LessonSession, awaited: Awaited) {
        let tab = self.connections.iter_mut().find(|connection| connection.id == session.tab);
        let Some(Connection { source: Source::Client(following), .. }) = tab else { return };
        let live = &self.live;
        // Connections that the gateway opened are no clients.
        let is_upstream = |row: &ConnectionRow| {
            let peer = row.connection.peer.as_ref();
            live.rows()
                .any(|other| peer.is_some() && other.connection.upstream_from.as_ref() == peer)
        };
        let is_native = |row: &&ConnectionRow| {
            row.connection.kind == Kind::Tcp
                && row.ended.is_none()
                && row.connection.id != following.client
                && !is_upstream(row)
        };
        let row = match awaited {
            Awaited::Own => live.with_label(&session.socket.label),
            Awaited::Native => live.rows().find(is_native),
        };
        if let Some(row) = row {
            following.go_on(&row.connection, session.tab);
            session.awaits = None;
        }
    }
}
