//! The user's actions in the transcript: scrolling, filtering, selecting and opening rows.

use web_sys::Element;

use super::{
    action::Action,
    browser,
    command::Command,
    connection::Connection,
    dom::{self, id},
    forms::TranscriptView,
    model::Model,
    user_event::UserEvent,
};
use crate::{
    composer::Draft, filter::Show, literal::Form, pairing::Pairing, payload::Payload,
    payload_view::PayloadView, session::Session, virtual_list::Viewport,
};

/// The rows that a page key moves by.
const PAGE_ROWS: usize = 10;
/// The height of a row that is not drawn yet, in CSS pixels.
const DEFAULT_ROW_HEIGHT: f64 = 36.0;

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    let connection = model.connection();
    let Connection { session, view, .. } = connection;
    let id = event.argument.parse().ok();
    match event.action {
        Action::ScrollTranscript => on_scroll(connection, &event.node),
        Action::TranscriptKey => return on_key(connection, event),
        // A click that ends a selection of text opens nothing.
        Action::ToggleRow if browser::has_selection_in(&event.node) => {}
        Action::ToggleRow => {
            view.is_open = view.selected != id || !view.is_open;
            view.selected = id;
        }
        Action::PauseTranscript => view.follow = !view.follow,
        Action::ScrollToEnd => {
            view.follow = true;
            return Some(Command::Focus(id::TRANSCRIPT));
        }
        Action::Search => {
            view.text = event.value();
            view.filter_changed();
        }
        Action::TogglePattern => {
            view.is_pattern = !view.is_pattern;
            view.filter_changed();
        }
        Action::ShowRows => {
            let show = event.value().parse().ok().and_then(|at: usize| Show::ALL.get(at).copied());
            view.show = show.unwrap_or_default();
            view.filter_changed();
        }
        Action::SetPairing => connection.choose_pairing(Pairing::of_name(&event.value())?),
        Action::EditPairingField => connection.choose_pairing(Pairing::Field(event.value())),
        Action::ClearTranscript => {
            dom::close_menu(&event.node);
            session.clear();
            (view.selected, view.note, view.follow) = (None, String::new(), true);
            view.refresh_filter();
        }
        Action::UndoClear => {
            session.restore();
            view.filter_changed();
            return Some(Command::Focus(id::TRANSCRIPT));
        }
        Action::PinRow => {
            view.opened().map(|id| toggle_pin(session, view, id));
        }
        Action::CopyRow | Action::SaveRow | Action::EditRow => return use_row(connection, event),
        Action::ChoosePayloadView => {
            view.payload_view = PayloadView::ALL.into_iter().find(|it| it.name() == event.argument);
        }
        Action::ShowInFull => view.in_full = view.opened(),
        Action::DetailKey if event.key().as_deref() != Some("Escape") => return None,
        Action::DetailKey | Action::CloseRow => {
            view.is_open = false;
            return Some(Command::Focus(id::TRANSCRIPT));
        }
        _ => return None,
    }
    Some(Command::Draw)
}

/// Copies, saves or edits the message of the opened row.
fn use_row(connection: &mut Connection, event: &UserEvent) -> Option<Command> {
    let (row, payload) = opened(connection)?;
    match event.action {
        Action::CopyRow => {
            let form = Form::ALL.into_iter().find(|form| form.name() == event.argument)?;
            let copied = form.write(payload).unwrap_or_else(|| Draft::of(payload).text);
            let id = connection.id;
            dom::close_menu(&event.node);
            Some(Command::Copy(id, copied))
        }
        Action::SaveRow => {
            let (extension, kind) = match payload {
                Payload::Text(_) => ("txt", "text/plain"),
                Payload::Binary(_) => ("bin", "application/octet-stream"),
            };
            let name = format!("echogate-message-{}.{extension}", row + 1);
            Some(Command::Download { name, kind, bytes: payload.bytes().to_vec() })
        }
        _ => {
            let draft = Draft::of(payload);
            let compose = &mut connection.compose;
            (compose.draft, compose.template, compose.is_file) = (draft, None, false);
            Some(Command::Focus(id::MESSAGE))
        }
    }
}

/// The message of the opened row, and the row's number.
fn opened(connection: &Connection) -> Option<(u64, &Payload)> {
    let id = connection.view.opened()?;
    let (_, payload) = connection.session.transcript().get(id)?.kind.message()?;
    Some((id, payload))
}

/// Pins or unpins a row. Only a list of pinned rows changes by it.
fn toggle_pin(session: &mut Session, view: &mut TranscriptView, id: u64) {
    session.transcript_mut().toggle_pin(id);
    if view.show == Show::Pinned {
        view.refresh_filter();
    }
}

fn on_scroll(connection: &mut Connection, list: &Element) {
    let top = f64::from(list.scroll_top());
    let bottom = f64::from(list.scroll_height() - list.client_height());
    if (top - connection.view.top).abs() > 1.0 {
        // The user has scrolled: the opened row may leave the list again.
        connection.view.revealed = connection.view.opened();
    }
    if bottom - top < 8.0 {
        connection.view.follow = true;
    } else if top < connection.view.top - 1.0 {
        // Only the user scrolls upwards; new rows scroll downwards.
        connection.view.follow = false;
    }
    connection.view.top = top;
}

/// Selects, opens, closes and pins rows by keys.
fn on_key(connection: &mut Connection, event: &UserEvent) -> Option<Command> {
    let key = event.key()?;
    let Connection { session, view, .. } = connection;
    let transcript = session.transcript();
    let rows = view.matches.len(transcript);
    let here = view.selected.and_then(|id| view.matches.position(transcript, id));
    let to = match &*key {
        "ArrowUp" => here.map_or(rows.checked_sub(1), |at| Some(at.saturating_sub(1))),
        "ArrowDown" => here.map_or(Some(0), |at| Some(at + 1)),
        "PageUp" => here.map(|at| at.saturating_sub(PAGE_ROWS)),
        "PageDown" => here.map(|at| at + PAGE_ROWS),
        "Home" => Some(0),
        "End" => rows.checked_sub(1),
        "Enter" | " " => {
            view.is_open = !view.is_open && here.is_some();
            event.prevent_default();
            return Some(Command::Draw);
        }
        "Escape" => {
            view.is_open = false;
            return Some(Command::Draw);
        }
        "p" => {
            view.selected.map(|id| toggle_pin(session, view, id));
            return Some(Command::Draw);
        }
        _ => return None,
    };
    event.prevent_default();
    if let Some(at) = to.filter(|_| rows > 0).map(|at| at.min(rows - 1)) {
        view.selected = view.matches.at(transcript, at).map(|row| row.id);
        view.end = view.end.max(view.selected.map_or(0, |id| id + 1));
        view.follow = at + 1 == rows;
        let row = event.node.query_selector(".message, .note").ok().flatten();
        let row_height =
            row.map_or(DEFAULT_ROW_HEIGHT, |row| row.get_bounding_client_rect().height());
        let height = f64::from(event.node.client_height()) - row_height;
        view.top = Viewport { rows, row_height, top: view.top, height }.top_to_reveal(at);
    }
    Some(Command::Draw)
}
