//! The run of the lesson: opens and follows its connections, and does the actions of its steps.

use echogate_proto::{api::RouteInfo, close::CloseCode};

use super::{
    browser,
    connection::{Connection, Source},
    dispatch::{Message, dispatch},
    following::{FollowState, Following},
    lesson::LessonSession,
    model::Model,
};
use crate::{
    json::Json,
    lesson::{CLOSE_CODE, Lesson, StepAction},
    live,
    session::{Event, HALF_CLOSE, State},
    time::Millis,
};

/// The time within which the server reports a connection.
const REPORTED_WITHIN: Millis = 5000.0;

impl Model {
    /// The path of the lesson's route: one to a TCP listener of `upper`, if the server has it.
    pub(super) fn lesson_path(&self) -> Option<&str> {
        let leads = |route: &&RouteInfo| {
            route.upstream.starts_with("tcp:")
                && live::service_of(&self.endpoints, route) == Some("upper")
        };
        let route = self.endpoints.routes.iter().find(leads)?;
        Some(route.path.trim_end_matches('*'))
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
        let mut following = Following::later(name);
        following.is_lesson = true;
        tab.source = Source::Client(following);
        tab.view.is_ladder = true;
        let tab = tab.id;
        let lesson = Lesson::start();
        self.lesson = Some(LessonSession {
            tab,
            socket,
            lesson,
            is_awaited: false,
            awaited_since: None,
            failure: None,
        });
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

    /// Takes the lesson's new events, and does what is due; returns the time at which a report of the
    /// server is overdue.
    pub(super) fn update_lesson(&mut self, now: Millis) -> Option<Millis> {
        let mut session = self.lesson.take()?;
        let tab = self.connections.iter_mut().find(|connection| connection.id == session.tab);
        // The user has removed the tab.
        let Some(Connection { source: Source::Client(following), .. }) = tab else { return None };
        self.texts.lesson.clone_into(&mut following.name);
        let client = following.client;
        let was_done = session.lesson.is_done();
        let events = &following.events;
        let new = events.dropped + events.iter().len() as u64 - session.lesson.seen();
        let skipped = events.iter().len().saturating_sub(new as usize);
        for line in events.iter().skip(skipped) {
            session.lesson.observe(&Json::read(line).unwrap_or(Json::Null));
        }
        let has_ended = match session.is_awaited {
            true => session.socket.session.state().close_reason().is_some(),
            false => !following.is_live(),
        };
        if has_ended && !session.lesson.is_done() && session.failure.is_none() {
            session.failure = Some(match &following.state {
                FollowState::Refused(reason) => self.texts.reason(reason),
                _ => self.texts.lesson_lost.to_owned(),
            });
        }
        if !was_done && session.lesson.is_done() {
            self.announcer.set_state(self.texts.lesson_done.to_owned());
        }
        if let Some(act) = session.lesson.take_due() {
            self.act(&mut session, act, client);
        }
        let overdue = match session.is_awaited {
            true => self.follow_awaited(&mut session, now),
            false => None,
        };
        self.lesson = Some(session);
        overdue
    }

    /// Does an action of a step; `client` is the number of the followed client.
    fn act(&mut self, session: &mut LessonSession, act: StepAction, client: u64) {
        let now = browser::now();
        let event = match act {
            StepAction::Open => {
                let location = browser::location();
                let path = self.lesson_path().unwrap_or_default();
                let Ok(url) = location.parse_endpoint(path) else { return };
                session.socket = self.unlisted_connection();
                (session.is_awaited, session.awaited_since) = (true, None);
                Event::Connect { url, protocols: vec![HALF_CLOSE.to_owned()] }
            }
            StepAction::Send(length) => {
                let text = "hello".chars().cycle().take(length).collect::<String>();
                Event::Send(text.as_str().into())
            }
            StepAction::HalfClose => Event::HalfClose,
            StepAction::Close => {
                let reason = self.texts.lesson.to_owned();
                Event::Disconnect { code: CloseCode(CLOSE_CODE), reason }
            }
            StepAction::Reset => {
                let path = format!("api/connections/{client}/close?reset");
                return browser::post(&path, || dispatch(Message::LessonRefused));
            }
        };
        session.socket.on_event(event, now);
    }

    /// Follows the connection of a step as soon as the server reports it; returns the time at which
    /// that is overdue.
    fn follow_awaited(&mut self, session: &mut LessonSession, now: Millis) -> Option<Millis> {
        let tab = self.connections.iter_mut().find(|connection| connection.id == session.tab);
        let Some(Connection { source: Source::Client(following), .. }) = tab else { return None };
        if let Some(row) = self.live.with_label(&session.socket.label) {
            following.go_on(&row.connection, session.tab);
            (session.is_awaited, session.failure) = (false, None);
            return None;
        }
        if !matches!(session.socket.session.state(), State::Open { .. })
            || session.failure.is_some()
        {
            return None;
        }
        let overdue = *session.awaited_since.get_or_insert(now) + REPORTED_WITHIN;
        if now >= overdue {
            session.failure = Some(self.texts.lesson_unreported.to_owned());
        }
        (now < overdue).then_some(overdue)
    }
}
