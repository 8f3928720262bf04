//! The composer: messages, files, repetitions.

use super::{
    action::Action,
    command::Command,
    connection::Connection,
    dom::{self, El, el, id, text},
    draft_settings::DraftSettings,
    file_panel::FilePanel,
    keys,
    model::Model,
    repetition::Repetition,
    share_menu::ShareMenu,
    user_event::UserEvent,
};
use crate::{
    composer::{Draft, DraftError, LineEnding, Mode, template::Template},
    format,
    i18n::{Texts, fill},
    json::Json,
    payload::Payload,
    time::Millis,
};

pub(super) struct Composer {
    pub(super) root: El,
    settings: DraftSettings,
    field: El,
    field_row: El,
    send: El,
    share: ShareMenu,
    below: El,
    problem: El,
    size: El,
    repetition: Repetition,
    file: FilePanel,
}

/// The length from which on messages are not checked as JSON, in bytes.
const MAX_CHECKED: usize = 256 << 10;

impl Composer {
    pub(super) fn new(texts: &'static Texts) -> Composer {
        let share = ShareMenu::new(texts);
        let field = el("textarea").id(id::MESSAGE).attr("rows", "2").action(Action::EditMessage);
        let field = field.attr("autocomplete", "off").attr("autocapitalize", "off");
        let field = field.attr("spellcheck", "false").attr("aria-label", texts.message);
        let field = field.attr("aria-describedby", "composer-problem composer-size");
        let send = text("button", texts.send).id("send").class("primary").attr("type", "submit");
        let problem = el("span").id("composer-problem").attr("aria-live", "polite");
        let size = el("span").id("composer-size");
        let field_row = el("div").class("field-row").child(&field).child(&send);
        let (settings, repetition) = (DraftSettings::new(texts), Repetition::new(texts));
        let [repeat, burst] = &repetition.roots;
        let below =
            el("div").class("below").children([repeat, burst, &share.root, &problem, &size]);
        let file = FilePanel::new(texts);
        let root = el("form").class("composer panel").action(Action::Send).attr("novalidate", "");
        let root = root.attr("aria-label", texts.composer).children([
            &settings.root,
            &field_row,
            &file.root,
            &below,
        ]);
        Composer {
            root,
            settings,
            field,
            field_row,
            send,
            share,
            below,
            problem,
            size,
            repetition,
            file,
        }
    }

    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) {
        let texts = model.texts;
        self.file.draw(model, now);
        self.share.draw(model);
        self.settings.draw(model);
        let connection = model.connection();
        self.field_row.show(!connection.compose.is_file);
        self.share.root.show(!connection.compose.is_file);
        self.below.show(!connection.compose.is_file || connection.compose.repeated.is_some());
        let open = connection.session.state().takes_messages();
        let compose = &connection.compose;
        dom::set_value(&self.field.node, &compose.draft.text);
        let is_text = compose.draft.mode == Mode::Text;
        self.field.set("placeholder", if is_text { texts.type_message } else { texts.type_bytes });
        let payload = compose.draft.payload();
        let error = payload.as_ref().err().copied();
        self.repetition.draw(compose, error.is_none(), texts);
        let unfinished = error.is_some_and(|error| compose.draft.is_unfinished(error));
        self.field.set_if("aria-invalid", "true", error.is_some() && !unfinished);
        let may_send = (open || connection.is_connecting() || connection.can_connect())
            && !compose.is_nothing();
        self.send.set_flag("aria-disabled", !(may_send && payload.is_ok()));
        let quiet = unfinished || compose.problem.is_empty() && payload.is_ok();
        self.problem.set("class", if quiet { "" } else { "problem" });
        self.problem.set_text(&status(connection, error, texts));
        let size = payload.as_ref().map(|payload| size(&compose.draft, payload, texts));
        self.size.set_text(&if compose.is_file { String::new() } else { size.unwrap_or_default() });
    }
}

/// The size and the kind of the message, its line ending, and whether it is JSON.
fn size(draft: &Draft, payload: &Payload, texts: &Texts) -> String {
    let kind = texts.message_type(payload);
    let mut size = match payload.len() {
        0 => return fill(texts.empty_of, &[kind]),
        bytes => fill(texts.size_of, &[&texts.bytes(bytes as u64), kind]),
    };
    if draft.mode == Mode::Text && draft.ending != LineEnding::None {
        size = fill(texts.size_of, &[&size, draft.ending.name()]);
    }
    if let Some(text) = payload.as_text().filter(|text| text.len() < MAX_CHECKED)
        && text.trim_start().starts_with(['{', '['])
    {
        let check = match Json::error_at(text) {
            None => texts.json_valid.to_owned(),
            Some(at) => fill(texts.json_wrong, &[&at.to_string()]),
        };
        size = fill(texts.size_of, &[&size, &check]);
    }
    size
}

/// The status of the draft: an error, or else what is waiting or being repeated.
fn status(connection: &Connection, error: Option<DraftError>, texts: &Texts) -> String {
    let compose = &connection.compose;
    let waiting = connection.session.queued() as u64;
    if let Some((_, pace)) = &compose.repeated {
        fill(texts.repeating, &[&format::grouped(pace.sent())])
    } else if compose.is_file {
        String::new()
    } else if let Some(error) = error {
        error.sentence(texts)
    } else if !compose.problem.is_empty() {
        compose.problem.clone()
    } else if waiting > 0 {
        fill(texts.waiting_here, &[&texts.messages(waiting)])
    } else if compose.template.is_some_and(Template::is_refreshed) {
        texts.refreshed.to_owned()
    } else {
        String::new()
    }
}

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    let texts = model.texts;
    let connection = model.connection();
    let compose = &mut connection.compose;
    match event.action {
        Action::Send => {
            event.prevent_default();
            // Enter in any field submits the form.
            if !compose.is_file {
                return Some(connection.send_or_connect(texts));
            }
        }
        Action::MessageKey => return keys::on_key(connection, event, texts),
        Action::EditMessage => {
            compose.draft.text = event.value();
            compose.edited();
        }
        _ => return None,
    }
    Some(Command::Draw)
}
