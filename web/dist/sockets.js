const PART = 64 << 10; // The most bytes of a file in one message.
const WINDOW = 4 << 20; // The most bytes of a file whose echo is outstanding, or in the send buffer.
const PROGRESS = 250; // Milliseconds between two reports of a file's progress, each of which is drawn.
const SOON = 4; // Milliseconds for which an event that only the drawing needs may wait for others.
const LIST = 500; // The most events in one list; between two lists the page can draw.
const sockets = new Map(); // WebSockets by number.
const taps = new Map(); // The AbortControllers of taps, by number.
const files = new Map(); // Files being sent, by the number of their socket.
const events = [];
let pageIsReady = true;
let flushSoon;
const now = () => performance.timeOrigin + performance.now();
function flush() {
clearTimeout(flushSoon);
flushSoon = undefined;
const list = events.splice(0, LIST);
pageIsReady = list.length === 0;
if (pageIsReady) return;
const payloads = list.map((event) => event[3]).filter((value) => value instanceof ArrayBuffer);
postMessage(list, payloads);
}
function report(event) {
events.push(event);
if (pageIsReady) flush();
}
function reportSoon(event) {
events.push(event);
if (pageIsReady) flushSoon ??= setTimeout(flush, SOON);
}
const commands = {
next: flush,
open(id, url, protocols) {
let socket;
try {
socket = new WebSocket(url, protocols);
} catch (error) {
return report([id, "rejected", now(), error.message]);
}
sockets.set(id, socket);
socket.binaryType = "arraybuffer";
socket.onopen = () => report([id, "opened", now(), socket.protocol]);
socket.onmessage = (event) => {
const at = now();
const { data } = event;
if (!files.get(id)?.takes(data, at)) report([id, "received", at, data]);
};
socket.onclose = ({ code, reason, wasClean }) => {
const at = now();
files.get(id)?.finish("lost", at);
report([id, "ended", at, code, reason, wasClean]);
};
},
send(id, data) {
const socket = sockets.get(id);
if (socket?.readyState !== WebSocket.OPEN) return;
const at = now();
socket.send(data);
reportSoon([id, "sent", at, socket.bufferedAmount]);
},
poll(id) {
report([id, "buffered", now(), sockets.get(id)?.bufferedAmount ?? 0]);
},
close(id, code, reason) {
sockets.get(id)?.close(code, reason);
},
async tap(id, path) {
const abort = new AbortController();
taps.set(id, abort);
const reportTap = (name, ...values) => taps.has(id) && report([id, name, now(), ...values]);
try {
const response = await fetch(path, { signal: abort.signal });
const { ok, status, statusText, headers } = response;
if (!ok) {
const isText = headers.get("content-type")?.startsWith("text/plain");
const reason = isText ? (await response.text()).trim() : `${status} ${statusText}`;
return reportTap("tap-refused", reason, status);
}
const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
let rest = "";
for (;;) {
const { done, value } = await reader.read();
if (done) break;
const lines = (rest + value).split("\n");
rest = lines.pop();
for (const line of lines) if (line.startsWith("data: ")) reportTap("tap", line.slice(6));
while (events.length > LIST) await new Promise((done) => setTimeout(done, 10));
}
reportTap("tap-ended");
} catch (error) {
reportTap("tap-refused", error.message, 0);
}
},
drop(id) {
taps.get(id)?.abort();
taps.delete(id);
const socket = sockets.get(id);
if (!socket) return;
files.get(id)?.finish("lost", now());
socket.onopen = socket.onmessage = socket.onclose = null;
socket.close(1000);
sockets.delete(id);
},
file(id, file, reply) {
const before = files.get(id);
before?.finish("stopped", now());
files.set(id, new Transfer(id, file, reply, before?.expected));
files.get(id).run();
},
stop(id) {
files.get(id)?.finish("stopped", now());
},
};
class Transfer {
sent = 0;
sentMessages = 0;
received = 0;
receivedMessages = 0;
verified = 0;
expected = [];
reported = now();
counts = [0, 0, 0, 0];
wake = () => {};
constructor(id, file, reply, expected = []) {
Object.assign(this, { id, file, reply, socket: sockets.get(id) });
this.compares = reply !== "anything";
if (this.compares) this.expected = expected;
for (const { bytes } of this.expected) this.verified -= bytes.length;
}
async run() {
const { file, socket } = this;
const reader = file.stream().getReader();
const read = async () => {
try {
return (await reader.read()).value;
} catch {
this.finish("unreadable", now());
}
};
for (let block; (block = await read());) {
for (let at = 0; at < block.length; at += PART) {
const part = block.subarray(at, at + PART);
while (!this.end && this.inFlight() + part.length > WINDOW) await this.change();
if (socket?.readyState !== WebSocket.OPEN) this.finish("lost", now());
if (this.end) return reader.cancel();
if (this.compares) this.expected.push({ bytes: part, upper: this.reply === "upper" });
socket.send(part);
this.sent += part.length;
this.sentMessages++;
this.progress(now());
}
}
while (!this.compares && !this.end && socket.bufferedAmount > 0) await this.change();
if (!this.compares || file.size === 0) this.finish("done", now());
}
inFlight() {
return this.compares ? this.sent - this.verified : this.socket.bufferedAmount;
}
change() {
return new Promise((done) => {
this.wake = done;
if (!this.compares) setTimeout(done, 10);
});
}
takes(data, at) {
if (!this.compares || data.byteLength === 0) return false;
const bytes = typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data);
let compared = 0;
while (compared < bytes.length && this.expected.length > 0) {
const part = this.expected[0];
const length = Math.min(part.bytes.length, bytes.length - compared);
const expected = part.bytes.subarray(0, length);
const n = mismatch(expected, bytes.subarray(compared, compared + length), part.upper);
if (n < length) {
const wanted = part.upper ? upperCase(expected[n]) : expected[n];
this.finish("mismatch", at, this.verified + n, wanted, bytes[compared + n]);
this.forget();
return false;
}
compared += length;
this.verified += length;
part.bytes = part.bytes.subarray(length);
if (part.bytes.length === 0) this.expected.shift();
}
if (this.end && this.expected.length === 0) this.forget();
const isEcho = compared === bytes.length;
if (isEcho) {
this.received += bytes.length;
this.receivedMessages++;
}
if (this.verified === this.file.size) this.finish("done", at);
else this.progress(at);
this.wake();
return isEcho;
}
progress(at, end = "", ...details) {
const wait = this.reported + PROGRESS - at;
if (!end && wait > 0) {
this.timer ??= setTimeout(() => {
this.timer = undefined;
this.progress(now());
}, wait);
return;
}
clearTimeout(this.timer);
this.timer = undefined;
this.reported = at;
const counts = [this.sent, this.sentMessages, this.received, this.receivedMessages];
const growth = counts.map((count, n) => count - this.counts[n]);
this.counts = counts;
report([this.id, "file", at, ...growth, Math.max(this.verified, 0), end, ...details]);
}
finish(end, at, ...details) {
if (this.end) return;
this.end = end;
if (end !== "stopped" || this.expected.length === 0) this.forget();
this.progress(at, end, ...details);
this.wake();
}
forget() {
this.expected = [];
if (files.get(this.id) === this) files.delete(this.id);
}
}
function mismatch(expected, found, upper) {
const [wanted, words] = [inWords(expected), inWords(found)];
let n = 0;
if (upper) while (n < words.length && upperCase(wanted[n]) === words[n]) n++;
else while (n < words.length && wanted[n] === words[n]) n++;
n *= 4;
while (n < found.length && (upper ? upperCase(expected[n]) : expected[n]) === found[n]) n++;
return n;
}
function inWords(bytes) {
const { buffer, byteOffset } = bytes.byteOffset % 4 ? bytes.slice() : bytes;
return new Int32Array(buffer, byteOffset, bytes.length >> 2);
}
function upperCase(word) {
const low = word & 0x7f7f7f7f;
const letters = ((low + 0x1f1f1f1f) ^ (low + 0x05050505)) & ~word & 0x80808080;
return word ^ (letters >>> 2);
}
onmessage = ({ data: [name, ...values] }) => commands[name](...values);
function tick() {
const start = now();
for (;;) {
const at = now();
if (at > start) return at;
}
}
const start = tick();
const end = tick();
report([0, "clock", end, end - start]);
