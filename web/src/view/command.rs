//! The requests of panels to the application after an action of the user.

use web_sys::File;

use crate::{i18n::Language, session::Event};

/// A request of a panel to the application.
pub(super) enum Command {
    /// Nothing beyond drawing the changed model.
    Draw,
    /// Connects the chosen connection to the endpoint in its form.
    Connect,
    /// Connects the chosen connection, and sends the draft as soon as it is open.
    ConnectAndSend,
    /// Passes an event to the connection with this id.
    Deliver(u32, Event),
    /// Switches the page to another language.
    SetLanguage(Language),
    /// Moves the focus to the element with this id.
    Focus(&'static str),
    /// Clicks the element with this id, as a file field that is not shown.
    Click(&'static str),
    /// Copies text to the clipboard; the connection with this id shows the result.
    Copy(u32, String),
    /// Offers bytes of this media type as a file to save.
    Download { name: String, kind: &'static str, bytes: Vec<u8> },
    /// Reads an exported transcript into a connection of its own.
    ReadTranscript(File),
}
