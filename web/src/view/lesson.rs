//! The lesson under way: its connection, and the tab in which the connection is followed.

use super::connection::Connection;
use crate::{lesson::Lesson, time::Millis};

/// The lesson under way.
pub(super) struct LessonSession {
    /// The id of the connection whose ladder shows the lesson.
    pub(super) tab: u32,
    /// The page's connection, which has no tab of its own.
    pub(super) socket: Connection,
    pub(super) lesson: Lesson,
    /// Whether the connection is to be followed as soon as the server reports it.
    pub(super) is_awaited: bool,
    /// The time since which the open connection has been awaited.
    pub(super) awaited_since: Option<Millis>,
    /// The reason why the latest step will not be completed, if it is known.
    pub(super) failure: Option<String>,
}
