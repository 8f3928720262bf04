//! The environment of a page: language, colours, files, clipboard, clock, CPU time and memory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::Page;

impl Page {
    /// Reloads the page with this language as the browser's preference.
    pub fn reload_in_language(&mut self, language: &str) {
        let agent = self.eval("navigator.userAgent");
        let it = json!({ "userAgent": agent, "acceptLanguage": language });
        self.call("Emulation.setUserAgentOverride", it);
        self.reload();
    }

    /// Reloads the page, whatever would be lost.
    pub fn reload(&mut self) {
        if self.begin_reload() {
            self.answer(true);
        }
        self.wait_for_reload();
    }

    /// Begins to reload the page; returns whether the browser asks the user first. Then
    /// [`Self::answer`] is due.
    pub fn begin_reload(&mut self) -> bool {
        self.eval("window.is_old = true");
        let is_end = |event: &Value| {
            let loaded = event["params"]["name"] == "load";
            event["method"] == "Page.javascriptDialogOpening"
                || event["method"] == "Page.lifecycleEvent" && loaded
        };
        self.call("Page.setLifecycleEventsEnabled", json!({ "enabled": true }));
        self.pipe.discard(is_end);
        self.call("Page.reload", json!({}));
        self.pipe.wait_for_event(is_end)["method"] == "Page.javascriptDialogOpening"
    }

    /// Answers the browser's question: whether the page is left.
    pub fn answer(&mut self, leave: bool) {
        self.call("Page.handleJavaScriptDialog", json!({ "accept": leave }));
    }

    /// Waits until a page that was reloaded is there again.
    pub fn wait_for_reload(&mut self) {
        self.wait_for("!window.is_old && document.querySelector('#toggle')");
    }

    /// Moves the mouse to a point of an element, in parts of its width, at half of its height; with
    /// the button held from an earlier [`Self::press_mouse`] if `held`.
    pub fn move_mouse(&mut self, selector: &str, part: f64, held: bool) {
        self.mouse("mouseMoved", selector, part, held);
    }

    /// Presses the mouse button at a point of an element (see [`Self::move_mouse`]).
    pub fn press_mouse(&mut self, selector: &str, part: f64) {
        self.mouse("mousePressed", selector, part, true);
    }

    /// Releases the mouse button at a point of an element (see [`Self::move_mouse`]).
    pub fn release_mouse(&mut self, selector: &str, part: f64) {
        self.mouse("mouseReleased", selector, part, true);
    }

    fn mouse(&mut self, kind: &str, selector: &str, part: f64, held: bool) {
        let at = self.eval(&format!(
            "(() => {{ const it = document.querySelector({}).getBoundingClientRect();
                return {{ x: it.x + it.width * {part}, y: it.y + it.height / 2 }}; }})()",
            json!(selector)
        ));
        let button = if held { "left" } else { "none" };
        let event = json!({
            "type": kind, "x": at["x"], "y": at["y"], "button": button, "buttons": i32::from(held),
            "clickCount": i32::from(held && kind != "mouseMoved")
        });
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Enables the media feature `forced-colors`.
    pub fn force_colours(&mut self) {
        let features = json!([{ "name": "forced-colors", "value": "active" }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Makes the main pointing device a finger (`pointer: coarse`).
    pub fn emulate_touch(&mut self) {
        self.call("Emulation.setTouchEmulationEnabled", json!({ "enabled": true }));
    }

    /// Chooses a file in a file input.
    pub fn pick_file(&mut self, selector: &str, file: &Path) {
        let field = json!({ "expression": format!("document.querySelector({})", json!(selector)) });
        let field = self.call("Runtime.evaluate", field);
        let id = &field["result"]["objectId"];
        self.call("DOM.setFileInputFiles", json!({ "files": [file], "objectId": id }));
    }

    /// Grants the page access to the clipboard.
    pub fn allow_clipboard(&mut self) {
        let it = json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
        self.pipe.call(None, "Browser.grantPermissions", it).expect("a browser that can copy");
    }

    /// Sets the folder for the page's downloads.
    pub fn download_to(&mut self, folder: &Path) {
        let it = json!({ "behavior": "allow", "downloadPath": folder, "eventsEnabled": true });
        self.pipe.call(None, "Browser.setDownloadBehavior", it).expect("a browser that downloads");
    }

    /// Waits for a download into that folder to complete, and returns its path.
    pub fn downloaded(&mut self, folder: &Path) -> PathBuf {
        let done = self.pipe.wait_for_event(|event| {
            event["method"] == "Browser.downloadProgress" && event["params"]["state"] == "completed"
        });
        let named = done["params"]["filePath"].as_str().map(PathBuf::from);
        named.unwrap_or_else(|| {
            let mut files = fs::read_dir(folder).expect("the folder is there");
            files.next().expect("a file came").expect("it can be read").path()
        })
    }

    /// The resolution of the clock in the page's worker, in seconds, as a new worker reports it.
    pub fn worker_resolution(&mut self) -> f64 {
        let report = "new Promise((done) => {
            const worker = new Worker('sockets.js');
            worker.onmessage = ({ data: [[, , , resolution]] }) => done(resolution);
        })";
        self.eval(report).as_f64().expect("a number of milliseconds") / 1000.0
    }

    /// The CPU time that the page has used so far, in seconds: scripts, styles, layout, total.
    pub fn cpu_seconds(&mut self) -> [f64; 4] {
        self.call("Performance.enable", json!({}));
        let metrics = self.call("Performance.getMetrics", json!({}));
        let metrics = metrics["metrics"].as_array().cloned().unwrap_or_default();
        ["ScriptDuration", "RecalcStyleDuration", "LayoutDuration", "TaskDuration"].map(|name| {
            let metric = metrics.iter().find(|metric| metric["name"] == name);
            metric.and_then(|metric| metric["value"].as_f64()).unwrap_or_default()
        })
    }

    /// The memory of the page's objects and its WebAssembly, in bytes.
    pub fn memory(&mut self) -> u64 {
        self.call("HeapProfiler.collectGarbage", json!({}));
        let used = self.call("Runtime.getHeapUsage", json!({}));
        let sum = |name: &str| used[name].as_f64().unwrap_or_default();
        (sum("usedSize") + sum("embedderHeapUsedSize") + sum("backingStorageSize")) as u64
    }
}
