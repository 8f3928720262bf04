//! The lesson: six steps in the life of a connection, each done on a real connection, whose events
//! come from the server's tap.

use crate::{i18n::Texts, json::Json};

/// A step of the lesson.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The page connects.
    Connect,
    /// The page sends a short message.
    Send,
    /// The page sends a message that takes several reads.
    Pieces,
    /// The page finishes sending and goes on receiving.
    HalfClose,
    /// The page closes another connection with a status code.
    Close,
    /// The server resets a third connection of the page, at its request.
    Reset,
}

/// An action of the page that a step consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepAction {
    /// Open a connection of the page, and follow it.
    Open,
    /// Send a text of this many bytes.
    Send(usize),
    /// Finish sending.
    HalfClose,
    /// Close with [`CLOSE_CODE`].
    Close,
    /// Request a reset by the server.
    Reset,
}

/// The status code of [`Step::Close`], one of those for applications.
pub const CLOSE_CODE: u16 = 4000;

const SHORT: usize = 5;
const LONG: usize = 64 << 10;

impl Step {
    /// All steps in their order.
    pub const ALL: [Step; 6] =
        [Step::Connect, Step::Send, Step::Pieces, Step::HalfClose, Step::Close, Step::Reset];

    /// The title and the sentences that explain the step.
    pub fn texts(self, texts: &Texts) -> [&'static str; 2] {
        match self {
            Step::Connect => [texts.connect, texts.lesson_connect],
            Step::Send => [texts.send, texts.lesson_send],
            Step::Pieces => [texts.lesson_pieces_title, texts.lesson_pieces],
            Step::HalfClose => [texts.lesson_half_close_title, texts.lesson_half_close],
            Step::Close => [texts.close_with, texts.lesson_close],
            Step::Reset => [texts.lesson_reset_title, texts.lesson_reset],
        }
    }

    /// The action that begins the step.
    fn first_action(self) -> StepAction {
        match self {
            Step::Connect | Step::Close | Step::Reset => StepAction::Open,
            Step::Send => StepAction::Send(SHORT),
            Step::Pieces => StepAction::Send(LONG),
            Step::HalfClose => StepAction::HalfClose,
        }
    }
}

/// The progress of the lesson.
#[derive(Debug)]
pub struct Lesson {
    /// The index of the step that is shown.
    shown: usize,
    /// The number of events before each step that has begun.
    begins: Vec<u64>,
    /// The number of events seen.
    seen: u64,
    /// The bytes of replies in the latest step.
    replied: usize,
    is_done: bool,
    due: Option<StepAction>,
}

impl Lesson {
    /// The lesson at its first step.
    pub fn start() -> Lesson {
        let mut lesson =
            Lesson { shown: 0, begins: vec![], seen: 0, replied: 0, is_done: false, due: None };
        lesson.begin();
        lesson
    }

    fn begin(&mut self) {
        self.shown = self.begins.len();
        self.begins.push(self.seen);
        (self.replied, self.is_done) = (0, false);
        self.due = Some(Step::ALL[self.shown].first_action());
    }

    /// The step that is shown, and its number from 1.
    pub fn shown(&self) -> (Step, usize) {
        (Step::ALL[self.shown], self.shown + 1)
    }

    fn is_latest(&self) -> bool {
        self.shown + 1 == self.begins.len()
    }

    /// Whether the shown step is complete.
    pub fn is_done(&self) -> bool {
        !self.is_latest() || self.is_done
    }

    /// Whether there is a next step and this one is complete.
    pub fn has_next(&self) -> bool {
        self.is_done() && self.shown + 1 < Step::ALL.len()
    }

    /// Whether there is a step before.
    pub fn has_back(&self) -> bool {
        self.shown > 0
    }

    /// Shows the next step; begins it if it has not begun.
    pub fn next(&mut self) {
        if self.has_next() {
            match self.is_latest() {
                true => self.begin(),
                false => self.shown += 1,
            }
        }
    }

    /// Shows the step before, which is not repeated.
    pub fn back(&mut self) {
        self.shown = self.shown.saturating_sub(1);
    }

    /// The number of the step, from 1, in which the event with this index came.
    pub fn step_of(&self, event: u64) -> usize {
        self.begins.iter().filter(|begin| **begin <= event).count()
    }

    /// The number of events seen.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes the action that is due.
    pub fn take_due(&mut self) -> Option<StepAction> {
        self.due.take()
    }

    /// Handles an event of the tap.
    pub fn observe(&mut self, event: &Json) {
        self.seen += 1;
        let name = event.text("event").unwrap_or_default();
        let is_reply = event.text("side") == Some("client")
            && event.text("direction") == Some("to-client")
            && name == "data";
        if is_reply {
            self.replied += event.payload().map_or(0, |bytes| bytes.len());
        }
        let step = Step::ALL[self.begins.len() - 1];
        if name == "opened" {
            self.due = match step {
                Step::Close => Some(StepAction::Close),
                Step::Reset => Some(StepAction::Reset),
                _ => None,
            };
        }
        self.is_done |= match step {
            Step::Connect => name == "opened",
            Step::Send => self.replied >= SHORT,
            Step::Pieces => self.replied >= LONG,
            Step::Reset => name == "reset",
            Step::HalfClose | Step::Close => name == "closed",
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(lesson: &mut Lesson, event: &str) {
        lesson.observe(&Json::read(event).unwrap());
    }

    fn reply(text: &str) -> String {
        format!(r#"{{"event":"data","side":"client","direction":"to-client","text":"{text}"}}"#)
    }

    const OPENED: &str = r#"{"event":"opened"}"#;
    const CLOSED: &str = r#"{"event":"closed"}"#;

    #[test]
    fn each_step_is_done_once_and_complete_when_the_server_has_seen_it() {
        let mut lesson = Lesson::start();
        assert_eq!((lesson.take_due(), lesson.take_due()), (Some(StepAction::Open), None));
        lesson.next();
        assert_eq!(lesson.shown(), (Step::Connect, 1), "it is not complete");
        see(&mut lesson, OPENED);
        lesson.next();
        assert_eq!(lesson.take_due(), Some(StepAction::Send(SHORT)));
        see(&mut lesson, &reply("HELLO"));
        lesson.next();
        assert_eq!(lesson.take_due(), Some(StepAction::Send(LONG)));
        see(&mut lesson, &reply("HELLO"));
        assert!(!lesson.is_done());
        see(&mut lesson, &reply(&"X".repeat(LONG - 5)));
        lesson.next();
        assert_eq!(lesson.take_due(), Some(StepAction::HalfClose));
        see(&mut lesson, CLOSED);
        lesson.next();
        assert_eq!(lesson.take_due(), Some(StepAction::Open));
        see(&mut lesson, OPENED);
        assert_eq!(lesson.take_due(), Some(StepAction::Close));
        see(&mut lesson, CLOSED);
        lesson.next();
        assert_eq!(lesson.shown(), (Step::Reset, 6));
        assert_eq!(lesson.take_due(), Some(StepAction::Open));
        see(&mut lesson, OPENED);
        assert_eq!(lesson.take_due(), Some(StepAction::Reset));
        see(&mut lesson, r#"{"event":"reset"}"#);
        assert!(lesson.is_done() && !lesson.has_next());
        assert_eq!(lesson.take_due(), None);
    }

    #[test]
    fn back_shows_a_step_without_repeating_it() {
        let mut lesson = Lesson::start();
        lesson.take_due();
        see(&mut lesson, OPENED);
        lesson.next();
        lesson.take_due();
        lesson.back();
        assert_eq!((lesson.shown().1, lesson.is_done(), lesson.has_back()), (1, true, false));
        see(&mut lesson, &reply("HELLO"));
        lesson.next();
        assert_eq!((lesson.shown().1, lesson.is_done()), (2, true));
        assert_eq!(lesson.take_due(), None);
        assert_eq!([0, 1, 2].map(|event| lesson.step_of(event)), [1, 2, 2]);
    }
}
