//! A page in headless Chromium, driven by keys and clicks.
//!
//! Nothing here sleeps: [`Page::wait_for`] observes the page from inside. A page that throws or
//! logs an error to the console fails its test.

mod environment;
mod pipe;

use std::{fs, io::Write as _, path::Path};

use data_encoding::BASE64;
use serde_json::{Value, json};

use self::pipe::Pipe;
use crate::server::WAIT_TIMEOUT;

/// A page in its own browser process.
#[derive(Debug)]
pub struct Page {
    pipe: Pipe,
    session: String,
    /// Parts of error messages that the console may have.
    expected_errors: Vec<String>,
}

/// A colour scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Page {
    /// Loads a page, 1440 pixels wide; `None`, with a notice on stderr, if there is no browser;
    /// in CI that fails.
    pub fn open(url: &str) -> Option<Page> {
        let Some(program) = pipe::program() else {
            assert!(std::env::var_os("CI").is_none(), "no Chromium: install it, or set CHROMIUM");
            let notice =
                b"\n*** SKIPPED a browser test: no Chromium found (CHROMIUM names one) ***\n";
            // Not eprintln: the test runner captures it.
            std::io::stderr().write_all(notice).ok();
            return None;
        };
        let mut pipe = Pipe::start(program);
        let mut browser = |method, parameters: Value| {
            pipe.call(None, method, parameters).unwrap_or_else(|e| panic!("{method}: {e}"))
        };
        let target = browser("Target.createTarget", json!({ "url": "about:blank" }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser("Target.attachToTarget", target)["sessionId"].to_string();
        let session = session.trim_matches('"').to_owned();
        let mut page = Page { pipe, session, expected_errors: Vec::new() };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, json!({}));
        }
        page.set_viewport(1440, 900, Scheme::Light);
        page.call("Page.navigate", json!({ "url": url }));
        page.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'");
        Some(page)
    }

    /// Permits console errors that contain this text.
    pub fn expect_error(&mut self, part: &str) {
        self.expected_errors.push(part.to_owned());
    }

    /// Permits the browser's console errors about connections and requests that fail or are refused.
    pub fn expect_connection_errors(&mut self) {
        for part in ["WebSocket connection to ", "Failed to load resource: "] {
            self.expect_error(part);
        }
    }

    /// Sets the size of the window and the colour scheme.
    pub fn set_viewport(&mut self, width: u32, height: u32, scheme: Scheme) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if scheme == Scheme::Dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Evaluates an expression in the page, and awaits a promise.
    pub fn eval(&mut self, expression: &str) -> Value {
        self.try_eval(expression).unwrap_or_else(|e| panic!("{expression}: {e}"))
    }

    /// Waits until an expression is true; evaluates it at each frame and each change of the page.
    pub fn wait_for(&mut self, expression: &str) {
        let timeout = WAIT_TIMEOUT.as_millis();
        let wait = format!(
            "new Promise((done) => {{
                const end = performance.now() + {timeout} - 2000;
                let over = false;
                const finish = (held) => {{
                    over = true;
                    observer.disconnect();
                    done(held);
                }};
                const look = () => {{
                    if (over) return;
                    if ({expression}) finish(true);
                    else if (performance.now() > end) finish(false);
                }};
                const observer = new MutationObserver(look);
                observer.observe(document,
                    {{ subtree: true, childList: true, attributes: true, characterData: true }});
                const frame = () => {{ look(); if (!over) requestAnimationFrame(frame); }};
                frame();
            }})"
        );
        // A navigation destroys the old document with its observer.
        let held = self.try_eval(&wait).or_else(|_| self.try_eval(&wait));
        if held != Ok(Value::Bool(true)) {
            let shown = self.try_eval("document.body.innerText");
            panic!("never held: {expression} ({held:?}); the page shows: {shown:?}");
        }
    }

    /// Waits until the first element of a selector contains this text.
    pub fn wait_for_text(&mut self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.wait_for(&format!("document.querySelector({selector})?.innerText.includes({text})"));
    }

    /// The text of all elements of a selector, joined by line breaks.
    pub fn text(&mut self, selector: &str) -> String {
        let selector = json!(selector);
        let all = format!("[...document.querySelectorAll({selector})].map((e) => e.innerText)");
        self.eval(&format!("{all}.join('\\n')")).as_str().unwrap_or_default().to_owned()
    }

    /// Clicks in the middle of an element once it is shown and has not moved for two frames: a menu
    /// opens after the click on its button, and a hint above that disappears moves what is below.
    pub fn click(&mut self, selector: &str) {
        let quoted = json!(selector);
        self.wait_for(&format!("document.querySelector({quoted})?.getClientRects().length > 0"));
        let at = self.eval(&format!(
            "(async () => {{
                const element = document.querySelector({quoted});
                element.scrollIntoView({{ block: 'nearest' }});
                const frame = () => new Promise(requestAnimationFrame);
                const position = () => JSON.stringify(element.getBoundingClientRect());
                let before;
                do {{
                    before = position();
                    await frame();
                    await frame();
                }} while (position() !== before);
                const box = element.getBoundingClientRect();
                return {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }};
            }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": at["x"], "y": at["y"], "button": "left", "clickCount": 1
            });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Types text into the focused element, as an input method does.
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses and releases a key by its name, such as `Enter`, `Shift+Tab` or `ArrowUp`.
    pub fn press(&mut self, key: &str) {
        let (shift, key) = match key.strip_prefix("Shift+") {
            Some(key) => (8, key),
            None => (0, key),
        };
        let (key, code, number, text) = match key {
            "Enter" => ("Enter", "Enter", 13, "\r"),
            "Tab" => ("Tab", "Tab", 9, ""),
            "Space" => (" ", "Space", 32, " "),
            "ArrowUp" => ("ArrowUp", "ArrowUp", 38, ""),
            "ArrowRight" => ("ArrowRight", "ArrowRight", 39, ""),
            "ArrowDown" => ("ArrowDown", "ArrowDown", 40, ""),
            "Delete" => ("Delete", "Delete", 46, ""),
            "End" => ("End", "End", 35, ""),
            "Escape" => ("Escape", "Escape", 27, ""),
            other => panic!("no such key here: {other}"),
        };
        for kind in [if text.is_empty() { "rawKeyDown" } else { "keyDown" }, "keyUp"] {
            let text = if kind == "keyUp" { "" } else { text };
            let event = json!({
                "type": kind, "modifiers": shift, "key": key, "code": code,
                "windowsVirtualKeyCode": number, "text": text
            });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Writes a screenshot of the window to a PNG file.
    pub fn screenshot(&mut self, file: &Path) {
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let data = picture["data"].as_str().unwrap_or_default().as_bytes();
        let bytes = BASE64.decode(data).expect("the browser writes Base64");
        fs::write(file, bytes).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }

    /// Fails if the page has thrown or logged an error.
    pub fn assert_no_error(&mut self) {
        let errors: Vec<String> = self.pipe.take_events().iter().filter_map(error).collect();
        let unexpected: Vec<&String> = errors
            .iter()
            .filter(|error| !self.expected_errors.iter().any(|part| error.contains(part)))
            .collect();
        assert!(unexpected.is_empty(), "the page has errors: {unexpected:#?}");
    }

    fn try_eval(&mut self, expression: &str) -> Result<Value, String> {
        let parameters =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.pipe.call(Some(&self.session), "Runtime.evaluate", parameters)?;
        match &answer["exceptionDetails"] {
            Value::Null => Ok(answer["result"]["value"].take()),
            details => Err(details.to_string()),
        }
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        let answer = self.pipe.call(Some(&self.session), method, parameters);
        answer.unwrap_or_else(|e| panic!("{method}: {e}"))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_no_error();
        }
    }
}

/// The error that an event reports.
fn error(event: &Value) -> Option<String> {
    let parameters = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(parameters["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" if parameters["type"] == "error" => {
            Some(parameters["args"].to_string())
        }
        "Log.entryAdded" if parameters["entry"]["level"] == "error" => {
            Some(parameters["entry"].to_string())
        }
        _ => None,
    }
}
