//! The endpoint and the draft as a link to the page, and as programs for a terminal.

use super::{
    action::Action,
    browser,
    command::Command,
    dom::{self, El, button, el, text},
    model::Model,
    user_event::UserEvent,
};
use crate::{
    cards,
    i18n::Texts,
    live,
    location::parse_subprotocols,
    snippets::{Snippet, Target, Unsendable},
};

pub(super) struct ShareMenu {
    pub(super) root: El,
    snippets: [El; 5],
}

impl ShareMenu {
    pub(super) fn new(texts: &Texts) -> ShareMenu {
        let link = button(texts.copy_link, Action::CopyLink).id("copy-link");
        let snippets = Snippet::ALL.map(|snippet| {
            let label = crate::i18n::fill(texts.copy_as, &[snippet.name()]);
            button(&label, Action::CopySnippet).attr("data-argument", snippet.name())
        });
        let menu = el("div").class("menu upwards").child(&link).children(&snippets);
        let summary = text("summary", texts.share).id("share").action(Action::OpenShareMenu);
        let root = el("details").class("menu-button").child(&summary).child(&menu);
        ShareMenu { root, snippets }
    }

    /// Draws. Programs that cannot send the draft are disabled, and not hidden, so that no entry moves
    /// in the menu that has just opened.
    pub(super) fn draw(&mut self, model: &mut Model) {
        if !self.root.node.has_attribute("open") {
            return;
        }
        for (entry, snippet) in self.snippets.iter_mut().zip(Snippet::ALL) {
            let why_not = program(model, snippet).err();
            entry.set_flag("aria-disabled", why_not.is_some());
            entry.set("title", why_not.unwrap_or_default());
        }
    }
}

/// The program that sends the draft of the chosen connection, or the reason why there is none.
fn program(model: &mut Model, snippet: Snippet) -> Result<String, &'static str> {
    let texts = model.texts;
    let location = browser::location();
    let form = &model.connection().form;
    let url = location.parse_endpoint(&form.endpoint).map_err(|_| texts.snippet_error)?;
    let protocols = parse_subprotocols(&form.protocols);
    let payload = model.connection().compose.draft.payload().map_err(|_| texts.snippet_error)?;
    let path = location.local_path(&url);
    let service = path.and_then(|path| live::service_of_path(&model.endpoints, path));
    let listener =
        service.and_then(|service| cards::tcp_listener(&model.endpoints, &location, service));
    let listener = listener.as_ref().map(|(host, port)| (&**host, &**port));
    let target = Target { url: &url, protocols: &protocols, listener };
    snippet.write(&target, &payload).map_err(|why| match why {
        Unsendable::NoListener => texts.snippet_no_listener,
        Unsendable::Empty => texts.snippet_empty,
        Unsendable::Lines => texts.snippet_lines,
    })
}

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    let copied = match event.action {
        // The browser opens the menu; its entries are drawn then.
        Action::OpenShareMenu => return Some(Command::Draw),
        Action::CopyLink => {
            let connection = model.connection();
            let form = &connection.form;
            browser::link(&form.endpoint, &form.protocols, &connection.compose.draft)
        }
        Action::CopySnippet => {
            let named = |snippet: &Snippet| snippet.name() == event.argument;
            program(model, Snippet::ALL.into_iter().find(named)?).ok()?
        }
        _ => return None,
    };
    dom::close_menu(&event.node);
    Some(Command::Copy(model.connection().id, copied))
}
