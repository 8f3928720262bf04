//! Export and import of transcripts.

use super::{
    action::Action,
    browser,
    command::Command,
    connection::Source,
    dom::{self, id},
    model::Model,
    user_event::UserEvent,
};
use crate::{
    export::{har, jsonl},
    format,
    i18n::fill,
    session::Session,
};

/// The largest file that is imported, in bytes.
const MAX_IMPORT: u64 = 256 << 20;

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    match event.action {
        Action::ExportTranscript => {
            dom::close_menu(&event.node);
            let connection = model.connection();
            let session = &connection.session;
            let (text, kind) = match &*event.argument {
                "har" => {
                    let version = env!("CARGO_PKG_VERSION");
                    let text = har::write(session.transcript(), version, browser::iso_time);
                    (text, "application/json")
                }
                _ => {
                    let text = match &connection.source {
                        Source::Client(following) => following.events.text(),
                        _ => jsonl::write(session.transcript(), session.pairing()),
                    };
                    (text, "application/x-ndjson")
                }
            };
            connection.view.exported = session.transcript().next_id();
            let now = browser::now();
            let time = format::clock(now, browser::minutes_ahead(now)).replace(':', "");
            let name =
                format!("echogate-{}-{}.{}", browser::local_date(now), &time[..6], event.argument);
            Some(Command::Download { name, kind, bytes: text.into_bytes() })
        }
        Action::Forget => {
            dom::close_menu(&event.node);
            model.forget();
            Some(Command::Draw)
        }
        Action::PickTranscript => {
            dom::close_menu(&event.node);
            Some(Command::Click(id::LOAD))
        }
        Action::TranscriptPicked => {
            let file = dom::take_file(&event.node)?;
            if file.size() as u64 > MAX_IMPORT {
                let parts = [file.name(), format::size(MAX_IMPORT)];
                let note = fill(model.texts.too_large, &[&parts[0], &parts[1]]);
                model.connection().view.note = note;
                return Some(Command::Draw);
            }
            Some(Command::ReadTranscript(file))
        }
        _ => None,
    }
}

/// Shows an imported transcript in a connection of its own.
pub(super) fn open(model: &mut Model, name: &str, bytes: &[u8]) {
    let texts = model.texts;
    match jsonl::read(&String::from_utf8_lossy(bytes)) {
        Err(line) => {
            let note = fill(texts.not_a_transcript, &[name, &line.to_string()]);
            model.connection().view.note = note;
        }
        Ok((transcript, pairing)) if model.has_room() => {
            let connection = model.add_connection();
            connection.session = Session::from_transcript(transcript, pairing);
            connection.source = Source::File(name.to_owned());
        }
        Ok(_) => {}
    }
}
