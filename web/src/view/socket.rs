//! WebSockets and taps as sources of events. They live in a worker (`static/sockets.js`), which takes
//! the times of their events and sends files.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use echogate_proto::close::CloseCode;
use js_sys::{Array, ArrayBuffer, Date, JsString, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use web_sys::{File, MessageEvent, Worker};

use super::dom::expect_ok;
use crate::{
    composer::transfer::{End, Expect, Progress},
    format,
    payload::Payload,
    session::Event,
    stats::Volume,
    time::Millis,
};

/// An event of a socket.
pub(super) enum SocketEvent {
    /// An event that a session handles.
    Session(Event),
    /// The progress of the file that is being sent.
    File(Progress),
    /// An event of a tap, or of another stream of the server's events.
    Tap(TapEvent),
}

/// An event of a tap, or of another stream of the server's events.
pub(super) enum TapEvent {
    /// An event as JSON.
    Event(String),
    /// The server refused, with this status and text; status 0 without an answer, or after a broken
    /// stream.
    Refused { status: u16, text: String },
    /// The end of the stream.
    Ended,
}

/// The handler of a socket's events, each with the time at which it happened.
type Handler = Rc<dyn Fn(SocketEvent, Millis)>;

/// The worker, with the handlers of all sockets.
struct Sockets {
    worker: Worker,
    handlers: Vec<(u32, Handler)>,
    last_id: u32,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _error: Closure<dyn FnMut()>,
}

thread_local! {
    static SOCKETS: RefCell<Option<Sockets>> = const { RefCell::new(None) };
    static WORKER: Cell<WorkerState> = const { Cell::new(WorkerState::Loading) };
}

/// The state of the worker.
#[derive(Clone, Copy)]
enum WorkerState {
    /// The worker's script is being loaded. The browser holds commands back until then.
    Loading,
    /// The script runs. The worker's clock has this resolution.
    Running(Millis),
    /// The worker's script did not load.
    Failed,
}

/// The resolution of browsers' clocks, unless the page is isolated or the browser coarser.
const USUAL_RESOLUTION: Millis = 0.1;

/// Starts the worker.
pub(super) fn start() {
    WORKER.set(WorkerState::Loading);
    let worker = expect_ok(Worker::new("sockets.js"), "the page has a worker's script");
    let message = Closure::new(|event: MessageEvent| on_events(event.data().unchecked_ref()));
    let error = Closure::new(on_error);
    worker.set_onmessage(Some(message.as_ref().unchecked_ref()));
    worker.set_onerror(Some(error.as_ref().unchecked_ref()));
    let last_id = SOCKETS.with_borrow(|sockets| sockets.as_ref().map_or(0, |it| it.last_id));
    SOCKETS.set(Some(Sockets {
        worker,
        handlers: Vec::new(),
        last_id,
        _message: message,
        _error: error,
    }));
}

/// The shortest time that the worker's clock distinguishes from 0.
pub(super) fn clock_resolution() -> Millis {
    match WORKER.get() {
        WorkerState::Running(resolution) => resolution,
        WorkerState::Loading | WorkerState::Failed => USUAL_RESOLUTION,
    }
}

/// Whether the worker's script did not load. [`Socket::open`] loads it again.
pub(super) fn has_failed() -> bool {
    matches!(WORKER.get(), WorkerState::Failed)
}

/// A time measured by the worker, as precisely as its clock is.
pub(super) fn measured(span: Millis) -> String {
    format::measured(span * 1000.0, clock_resolution() * 1000.0)
}

/// A WebSocket or a tap, closed when the value is dropped.
pub(super) struct Socket {
    id: u32,
}

impl Socket {
    /// Starts the opening handshake; `handler` gets all events of the socket.
    pub(super) fn open(
        url: &str,
        protocols: &[String],
        handler: impl Fn(SocketEvent, Millis) + 'static,
    ) -> Socket {
        if has_failed() {
            start();
        }
        let protocols: Array = protocols.iter().map(|name| JsValue::from_str(name)).collect();
        let socket = Socket::new(handler);
        socket.command("open", &[url.into(), protocols.into()]);
        socket
    }

    /// Opens a stream of the server's events, at a path relative to the page; `handler` gets them.
    pub(super) fn tap(path: &str, handler: impl Fn(SocketEvent, Millis) + 'static) -> Socket {
        let socket = Socket::new(handler);
        socket.command("tap", &[path.into()]);
        socket
    }

    fn new(handler: impl Fn(SocketEvent, Millis) + 'static) -> Socket {
        let id = with_sockets(|sockets| {
            sockets.last_id += 1;
            sockets.handlers.push((sockets.last_id, Rc::new(handler)));
            sockets.last_id
        });
        Socket { id }
    }

    /// Sends a message. A closing socket discards it, and reports its end.
    pub(super) fn send(&self, payload: &Payload) {
        let message = match payload {
            Payload::Text(text) => JsValue::from_str(text),
            Payload::Binary(bytes) => Uint8Array::from(&**bytes).buffer().into(),
        };
        self.command("send", &[message]);
    }

    /// Asks for the number of bytes in the browser's send buffer.
    pub(super) fn poll(&self) {
        self.command("poll", &[]);
    }

    /// Starts the closing handshake, with a code and a reason that browsers let pages send.
    pub(super) fn close(&self, code: CloseCode, reason: &str) {
        self.command("close", &[code.0.into(), reason.into()]);
    }

    /// Sends a file, in place of one that is being sent.
    pub(super) fn send_file(&self, file: &File, expect: Expect) {
        self.command("file", &[file.into(), expect.name().into()]);
    }

    /// Stops sending the file.
    pub(super) fn stop_file(&self) {
        self.command("stop", &[]);
    }

    fn command(&self, name: &str, arguments: &[JsValue]) {
        let command = Array::of2(&name.into(), &self.id.into());
        let moved = Array::new();
        for argument in arguments {
            command.push(argument);
            if argument.is_instance_of::<ArrayBuffer>() {
                moved.push(argument);
            }
        }
        post(&command, &moved);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.command("drop", &[]);
        with_sockets(|sockets| sockets.handlers.retain(|(id, _)| *id != self.id));
    }
}

fn with_sockets<T>(act: impl FnOnce(&mut Sockets) -> T) -> T {
    SOCKETS.with_borrow_mut(|sockets| act(sockets.as_mut().expect("the worker was started")))
}

fn post(command: &Array, moved: &Array) {
    let posted = with_sockets(|it| it.worker.post_message_with_transfer(command, moved));
    expect_ok(posted, "commands consist of values that can be posted");
}

/// Ends all sockets if the worker's script did not load. Errors of a running one are the browser's
/// to report.
fn on_error() {
    if let WorkerState::Loading = WORKER.get() {
        WORKER.set(WorkerState::Failed);
        for (_, handler) in with_sockets(|sockets| sockets.handlers.clone()) {
            let rejected = Event::Rejected("sockets.js did not load".to_owned());
            handler(SocketEvent::Session(rejected), Date::now());
        }
    }
}

/// Passes a list of events to their handlers, and asks for the next.
fn on_events(events: &Array) {
    for event in events.iter() {
        on_event(event.unchecked_ref());
    }
    post(&Array::of1(&"next".into()), &Array::new());
}

/// Passes an event to its handler.
fn on_event(fields: &Array) {
    let number = |at| fields.get(at).as_f64().unwrap_or_default();
    let text = |at| fields.get(at).as_string().unwrap_or_default();
    let (id, name, at) = (number(0) as u32, text(1), number(2));
    let event = match &*name {
        "sent" => Event::Sent { buffered: number(3) as usize },
        "received" => match payload(&fields.get(3)) {
            Some(payload) => Event::Received(payload),
            None => return,
        },
        "opened" => Event::Opened { protocol: text(3) },
        "buffered" => Event::Buffered(number(3) as usize),
        "rejected" => Event::Rejected(text(3)),
        "ended" => Event::Ended {
            code: CloseCode(number(3) as u16),
            reason: text(4),
            clean: fields.get(5).is_truthy(),
        },
        "tap" => return handle(id, SocketEvent::Tap(TapEvent::Event(text(3))), at),
        "tap-refused" => {
            let refused = TapEvent::Refused { status: number(4) as u16, text: text(3) };
            return handle(id, SocketEvent::Tap(refused), at);
        }
        "tap-ended" => return handle(id, SocketEvent::Tap(TapEvent::Ended), at),
        "file" => return handle(id, SocketEvent::File(progress(fields)), at),
        "clock" => return WORKER.set(WorkerState::Running(number(3))),
        _ => return,
    };
    handle(id, SocketEvent::Session(event), at);
}

/// Calls the socket's handler, unless the socket was dropped.
fn handle(id: u32, event: SocketEvent, at: Millis) {
    let handler = with_sockets(|sockets| {
        let of = sockets.handlers.iter().find(|(of, _)| *of == id);
        of.map(|(_, handler)| handler.clone())
    });
    if let Some(handler) = handler {
        handler(event, at);
    }
}

fn progress(fields: &Array) -> Progress {
    let number = |at| fields.get(at).as_f64().unwrap_or_default() as u64;
    let traffic = |at| Volume { bytes: number(at), messages: number(at + 1) as u32 };
    let end = match &*fields.get(8).as_string().unwrap_or_default() {
        "done" => Some(End::Done),
        "mismatch" => Some(End::Mismatch {
            at: number(9),
            expected: number(10) as u8,
            found: number(11) as u8,
        }),
        "stopped" => Some(End::Stopped),
        "lost" => Some(End::Lost),
        "unreadable" => Some(End::Unreadable),
        _ => None,
    };
    Progress { sent: traffic(3), received: traffic(5), verified: number(7), end }
}

fn payload(data: &JsValue) -> Option<Payload> {
    if let Some(text) = data.dyn_ref::<JsString>() {
        return Some(Payload::Text(String::from(text).into()));
    }
    let buffer = data.dyn_ref::<ArrayBuffer>()?;
    Some(Payload::Binary(Uint8Array::new(buffer).to_vec().into()))
}
