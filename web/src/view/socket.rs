//! The browser's WebSocket and EventSource, as sources of events.

use echogate_proto::close::CloseCode;
use js_sys::{Array, ArrayBuffer, JsString, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use web_sys::{BinaryType, CloseEvent, EventSource, MessageEvent, WebSocket};

use super::dom::sure;
use crate::{payload::Payload, session::Event};

/// A socket and the callbacks that listen to it. Both end together: dropped, it is silent, and
/// closed if it was not.
pub(super) struct Socket {
    socket: WebSocket,
    _opened: Closure<dyn FnMut()>,
    _received: Closure<dyn FnMut(MessageEvent)>,
    _ended: Closure<dyn FnMut(CloseEvent)>,
}

impl Socket {
    /// Begins to connect; `tell` hears of everything that happens from then on. Fails, in the
    /// browser's words, where the browser would not even try.
    pub(super) fn open(
        url: &str,
        protocols: &[String],
        tell: impl Fn(Event) + Copy + 'static,
    ) -> Result<Socket, String> {
        let protocols: Array = protocols.iter().map(|name| JsValue::from_str(name)).collect();
        let socket = WebSocket::new_with_str_sequence(url, &protocols).map_err(words)?;
        socket.set_binary_type(BinaryType::Arraybuffer);

        let its = socket.clone();
        let opened = Closure::new(move || tell(Event::Opened { protocol: its.protocol() }));
        let received = Closure::new(move |event: MessageEvent| {
            if let Some(payload) = payload(&event.data()) {
                tell(Event::Received(payload));
            }
        });
        // No listener for `error`: it says nothing, and `close` always follows.
        let ended = Closure::new(move |event: CloseEvent| {
            tell(Event::Ended {
                code: CloseCode(event.code()),
                reason: event.reason(),
                clean: event.was_clean(),
            });
        });
        socket.set_onopen(Some(opened.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(received.as_ref().unchecked_ref()));
        socket.set_onclose(Some(ended.as_ref().unchecked_ref()));
        Ok(Socket { socket, _opened: opened, _received: received, _ended: ended })
    }

    /// Hands over a message. A socket that closes takes it and does nothing with it; its end
    /// says so.
    pub(super) fn send(&self, payload: &Payload) {
        let sent = match payload {
            Payload::Text(text) => self.socket.send_with_str(text),
            Payload::Binary(bytes) => self.socket.send_with_u8_array(bytes),
        };
        sure(sent, "the session sends only after the socket has opened");
    }

    /// How many bytes it has not sent yet.
    pub(super) fn buffered(&self) -> usize {
        self.socket.buffered_amount() as usize
    }

    /// Begins to close, with a code and a reason that pages may use.
    pub(super) fn close(&self, code: CloseCode, reason: &str) {
        let closed = self.socket.close_with_code_and_reason(code.0, reason);
        sure(closed, "the composer lets only such codes and reasons through");
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        self.close(CloseCode::NORMAL, "");
    }
}

/// The server's events, for as long as this lives; the browser connects again by itself.
pub(super) struct Events {
    source: EventSource,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _lost: Closure<dyn FnMut()>,
}

impl Events {
    /// Begins to listen; `None` where the browser would not even try.
    pub(super) fn listen(
        path: &str,
        tell: impl Fn(String) + 'static,
        lost: impl Fn() + 'static,
    ) -> Option<Events> {
        let source = EventSource::new(path).ok()?;
        let message = Closure::new(move |event: MessageEvent| {
            if let Some(text) = event.data().as_string() {
                tell(text);
            }
        });
        let lost = Closure::new(lost);
        source.set_onmessage(Some(message.as_ref().unchecked_ref()));
        source.set_onerror(Some(lost.as_ref().unchecked_ref()));
        Some(Events { source, _message: message, _lost: lost })
    }

    /// Whether the browser has given up.
    pub(super) fn is_closed(&self) -> bool {
        self.source.ready_state() == EventSource::CLOSED
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.source.set_onmessage(None);
        self.source.set_onerror(None);
        self.source.close();
    }
}

fn payload(data: &JsValue) -> Option<Payload> {
    if let Some(text) = data.dyn_ref::<JsString>() {
        return Some(Payload::Text(String::from(text).into()));
    }
    let buffer = data.dyn_ref::<ArrayBuffer>()?;
    Some(Payload::Binary(Uint8Array::new(buffer).to_vec().into()))
}

/// What an exception says.
fn words(thrown: JsValue) -> String {
    thrown
        .dyn_into::<js_sys::Error>()
        .map_or_else(|_| String::new(), |error| error.message().into())
}
