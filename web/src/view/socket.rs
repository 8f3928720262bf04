//! The browser's `WebSocket` and `EventSource` as sources of events.

use echogate_proto::close::CloseCode;
use js_sys::{Array, ArrayBuffer, JsString, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use web_sys::{BinaryType, CloseEvent, EventSource, MessageEvent, WebSocket};

use super::dom::expect_ok;
use crate::{payload::Payload, session::Event};

/// A WebSocket with its callbacks. Dropping it removes the callbacks and closes the socket.
pub(super) struct Socket {
    socket: WebSocket,
    _opened: Closure<dyn FnMut()>,
    _received: Closure<dyn FnMut(MessageEvent)>,
    _ended: Closure<dyn FnMut(CloseEvent)>,
}

impl Socket {
    /// Starts the opening handshake; `send` gets all events of the socket.
    ///
    /// # Errors
    ///
    /// The browser's message, if it rejects the URL or a subprotocol.
    pub(super) fn open(
        url: &str,
        protocols: &[String],
        send: impl Fn(Event) + Copy + 'static,
    ) -> Result<Socket, String> {
        let protocols: Array = protocols.iter().map(|name| JsValue::from_str(name)).collect();
        let socket = WebSocket::new_with_str_sequence(url, &protocols).map_err(message_of)?;
        socket.set_binary_type(BinaryType::Arraybuffer);

        let opened_socket = socket.clone();
        let opened =
            Closure::new(move || send(Event::Opened { protocol: opened_socket.protocol() }));
        let received = Closure::new(move |event: MessageEvent| {
            if let Some(payload) = payload(&event.data()) {
                send(Event::Received(payload));
            }
        });
        // No listener for `error`: it carries no detail, and `close` always follows.
        let ended = Closure::new(move |event: CloseEvent| {
            send(Event::Ended {
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

    /// Sends a message. A closing socket discards it, and reports its end.
    pub(super) fn send(&self, payload: &Payload) {
        let sent = match payload {
            Payload::Text(text) => self.socket.send_with_str(text),
            Payload::Binary(bytes) => self.socket.send_with_u8_array(bytes),
        };
        expect_ok(sent, "the session sends only after the socket has opened");
    }

    /// The bytes in the browser's send buffer.
    pub(super) fn buffered(&self) -> usize {
        self.socket.buffered_amount() as usize
    }

    /// Starts the closing handshake, with a code and a reason that browsers let pages send.
    pub(super) fn close(&self, code: CloseCode, reason: &str) {
        let closed = self.socket.close_with_code_and_reason(code.0, reason);
        expect_ok(closed, "the composer lets only such codes and reasons through");
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

/// A subscription to the server's events, which the browser renews by itself.
pub(super) struct ServerEvents {
    source: EventSource,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _lost: Closure<dyn FnMut()>,
}

impl ServerEvents {
    /// Subscribes; `None` if the browser rejects the URL.
    pub(super) fn listen(
        path: &str,
        send: impl Fn(String) + 'static,
        lost: impl Fn() + 'static,
    ) -> Option<ServerEvents> {
        let source = EventSource::new(path).ok()?;
        let message = Closure::new(move |event: MessageEvent| {
            if let Some(text) = event.data().as_string() {
                send(text);
            }
        });
        let lost = Closure::new(lost);
        source.set_onmessage(Some(message.as_ref().unchecked_ref()));
        source.set_onerror(Some(lost.as_ref().unchecked_ref()));
        Some(ServerEvents { source, _message: message, _lost: lost })
    }

    /// Whether the browser has stopped reconnecting.
    pub(super) fn is_closed(&self) -> bool {
        self.source.ready_state() == EventSource::CLOSED
    }
}

impl Drop for ServerEvents {
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

/// The message of an exception.
fn message_of(thrown: JsValue) -> String {
    thrown
        .dyn_into::<js_sys::Error>()
        .map_or_else(|_| String::new(), |error| error.message().into())
}
