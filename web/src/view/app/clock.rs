//! The application's timer and frames.

use super::App;
use crate::{
    redraw::earliest,
    time::Millis,
    view::{browser, model::Model},
};

/// A frame whose drawing took longer is followed by one without drawing: of the 16 ms of a frame
/// the browser needs its part.
const LONG_FRAME: Millis = 4.0;

impl App {
    /// Does what is due, and sets the timer for what is due next.
    pub(super) fn tick(&mut self) {
        let texts = self.model.texts;
        let attempt = self.server_events.tick(browser::now());
        if self.store_at.take_if(|at| *at <= browser::now()).is_some() {
            self.model.store();
        }
        let Model { connections, lesson, .. } = &mut self.model;
        let lesson = lesson.iter_mut().map(|session| &mut session.socket);
        let sockets = connections.iter_mut().chain(lesson);
        let next = earliest(sockets.map(|connection| connection.tick(texts)));
        if let Some(at) = earliest([next, attempt, self.store_at]) {
            self.wake_at(at);
        }
    }

    /// Makes the clock tick at this time or earlier.
    fn wake_at(&mut self, at: Millis) {
        if self.timer.is_some_and(|(_, due)| due <= at) {
            return;
        }
        if let Some((timer, _)) = self.timer {
            browser::cancel(timer);
        }
        let timer = browser::after((at - browser::now()).max(0.0), &self.clock);
        self.timer = Some((timer, at));
    }

    pub(super) fn request_frame(&mut self) {
        if !std::mem::replace(&mut self.frame_requested, true) {
            browser::before_next_frame(&self.frame);
        }
    }

    /// Draws, unless the last frame took long: on a slow machine and under many messages every
    /// other frame is left to the browser.
    pub(super) fn draw_or_skip(&mut self) {
        if std::mem::take(&mut self.skip_frame) {
            return self.request_frame();
        }
        let start = browser::now();
        self.draw();
        self.skip_frame = browser::now() - start > LONG_FRAME;
        self.painting.drew(&mut self.model, start);
    }

    /// Draws, and requests the next drawing at the earliest time that a part of the page wants.
    pub(super) fn draw(&mut self) {
        let now = browser::now();
        let overdue = self.model.update_lesson(now);
        if self.model.pair_anew() {
            self.request_frame();
        }
        let Model { connections, texts, .. } = &mut self.model;
        connections.iter_mut().for_each(|connection| connection.update_matches(texts));
        if self.painting.is_due(&mut self.model, now) {
            // The server may have reported their legs before the worker reported the replies.
            self.model.record_legs();
        }
        let removal = self.model.live.remove_ended(now);
        match earliest([self.screen.draw(&mut self.model, now), removal, overdue]) {
            Some(at) if at <= now => self.request_frame(),
            Some(at) => self.wake_at(at),
            None => {}
        }
    }
}
