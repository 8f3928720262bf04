"""Clients of the replicas: WebSocket connections, clients of `chat`, and their operators."""

import asyncio
import collections
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bench"))
from client import message, parse

# The longest delay of the first attempt to reconnect, as in server/proto/src/backoff.rs.
FIRST_DELAY = 1.5

RESTART = 1012

ANSWER = "answer to "

# The beginnings of the errors by which an operator learns that a client may not have an answer.
UNDELIVERED = ("not sent", "not confirmed")


class Ended(Exception):
    """The end of a connection: the code of its Close, or none."""

    def __init__(self, code=None):
        super().__init__(code)
        self.code = code


class WebSocket:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.rest = self.parts = b""

    @classmethod
    async def connect(cls, address, path):
        try:
            reader, writer = await asyncio.open_connection(*address)
        except OSError as error:
            raise Ended() from error
        self = cls(reader, writer)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Ended() from error
        if b" 101 " not in head.split(b"\r\n")[0]:
            writer.close()
            raise Ended()
        return self

    def send(self, text):
        self.writer.write(message(text.encode()))

    async def receive(self):
        """The payload of the next message; raises `Ended` at the end of the connection."""
        while True:
            while (frame := parse(self.rest)) is None or len(self.rest) < sum(frame[1:]):
                try:
                    data = await self.reader.read(1 << 16)
                except OSError as error:
                    raise Ended() from error
                if not data:
                    raise Ended()
                self.rest += data
            opcode, start, length = frame
            is_last = self.rest[0] & 0x80
            payload, self.rest = self.rest[start : start + length], self.rest[start + length :]
            if opcode == 8:
                self.writer.write(b"\x88\x82\0\0\0\0" + payload[:2])
                raise Ended(int.from_bytes(payload[:2], "big"))
            if opcode == 9:
                self.writer.write(bytes([0x8A, 0x80 | length]) + b"\0\0\0\0" + payload)
            elif opcode < 8:
                self.parts += payload
                if is_last:
                    payload, self.parts = self.parts, b""
                    return payload.decode()

    def close(self):
        self.writer.close()


class Counts:
    """What the clients have seen. `lag` is the longest delay of this program itself."""

    def __init__(self):
        self.open = collections.Counter()
        self.refusals = collections.Counter()
        self.replies = self.restarts = self.losses = 0
        self.opened = []
        # Of messages without a reply, the time until the Close, without `lag`.
        self.crossed = []
        self.wrong = []
        self.lag = 0.0

    async def measure_lag(self):
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            self.lag = max(self.lag, time.monotonic() - due)

    def ended(self, end):
        if end.code == RESTART:
            self.restarts += 1
        else:
            self.losses += 1


async def stay_connected(kind, address, path, counts, conversation):
    """Runs `conversation` on a connection, and on the next one when that has ended."""
    while True:
        try:
            socket = await WebSocket.connect(address, path)
        except Ended:
            counts.refusals[kind] += 1
        else:
            counts.open[kind] += 1
            counts.opened.append(time.monotonic())
            try:
                await conversation(socket)
            except Ended as end:
                counts.ended(end)
            finally:
                counts.open[kind] -= 1
                socket.close()
        await asyncio.sleep(random.random() * FIRST_DELAY)


async def echo_client(number, address, counts, interval):
    """A client that sends a message after each reply."""

    async def conversation(socket):
        for turn in range(1 << 30):
            text = f"client {number}: {turn}"
            sent = time.monotonic()
            socket.send(text)
            try:
                reply = await socket.receive()
            except Ended as end:
                if end.code == RESTART:
                    counts.crossed.append(time.monotonic() - sent - counts.lag)
                raise
            if reply != text.upper():
                counts.wrong.append(f"{reply!r} is not the reply to {text!r}")
            counts.replies += 1
            # An end is noticed at once, so that the next message is not sent into it.
            waiting = asyncio.ensure_future(socket.receive())
            done, _ = await asyncio.wait([waiting], timeout=random.uniform(0.5, 1.5) * interval)
            if done:
                counts.wrong.append(f"{waiting.result()!r} is no reply to anything")
            else:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)

    await asyncio.sleep(random.random() * interval)
    await stay_connected("echo", address, "/ws", counts, conversation)


class Chat:
    """The messages of the clients of `chat`, and their fate.

    Each message is a different text. A message is answered when the client has received the
    operator's answer, and reported when the client was informed that it is discarded, or when the
    conversation has ended."""

    def __init__(self, counts):
        self.counts = counts
        self.pending = {}
        self.reported = 0
        # The number of answers to each message that operators have sent, and clients received.
        self.answers, self.received = collections.Counter(), collections.Counter()
        # The errors reported to operators, and the number of answers that may be lost by them.
        self.errors = []
        self.undelivered = 0
        self.sending = True

    async def client(self, number, address, interval):
        connections = 0

        async def conversation(socket):
            nonlocal connections
            connections += 1
            sender = asyncio.ensure_future(self.send(socket, f"{number}.{connections}", interval))
            mine = self.pending[f"{number}.{connections}"] = collections.OrderedDict()
            try:
                while True:
                    for line in (await socket.receive()).splitlines():
                        self.take(line, mine)
            finally:
                sender.cancel()
                self.reported += len(self.pending.pop(f"{number}.{connections}"))

        await asyncio.sleep(random.random() * interval)
        await stay_connected("chat", address, "/ws/chat", self.counts, conversation)

    async def send(self, socket, name, interval):
        for turn in range(1 << 30):
            if self.sending:
                text = f"{name}.{turn}"
                self.pending[name][text] = True
                socket.send(text)
            await asyncio.sleep(random.uniform(0.5, 1.5) * interval)

    def take(self, line, mine):
        if line.startswith("*"):
            if "discarded" in line and mine:
                mine.popitem(last=False)
                self.reported += 1
            return
        text = line.removeprefix(ANSWER)
        self.received[text] += 1
        if self.received[text] > self.answers[text]:
            self.counts.wrong.append(f"the answer to {text} came twice")
        if mine.pop(text, None) is None and self.received[text] == 1:
            self.counts.wrong.append(f"{line!r} belongs to no message of its conversation")

    async def operator(self, address, token):
        """An operator, who answers each message once."""

        async def conversation(socket):
            socket.send(json.dumps({"type": "token", "token": token}))
            seen = set()
            while True:
                event = json.loads(await socket.receive())
                if event["type"] == "welcome":
                    for each in event["conversations"]:
                        self.answer_all(socket, each, seen)
                elif event["type"] == "opened":
                    self.answer_all(socket, event["conversation"], seen)
                elif event["type"] == "said" and event["message"]["from"] == "client":
                    self.answer(socket, event["conversation"], event["message"]["text"], seen)
                elif event["type"] == "error":
                    self.errors.append(event["text"])
                    self.undelivered += event["text"].startswith(UNDELIVERED)

        await stay_connected("operator", address, "/ws/operator", self.counts, conversation)

    def answer_all(self, socket, conversation, seen):
        """Answers the messages of an open conversation that have no answer yet."""
        if conversation["ending"] is not None:
            return
        answers = {each["text"] for each in conversation["messages"] if each["from"] != "client"}
        for each in conversation["messages"]:
            if each["from"] == "client" and ANSWER + each["text"] not in answers:
                self.answer(socket, conversation["id"], each["text"], seen)

    def answer(self, socket, conversation, text, seen):
        if text in seen:
            self.counts.wrong.append(f"an operator has seen {text} twice")
        seen.add(text)
        self.answers[text] += 1
        answer = {"type": "say", "conversation": conversation, "text": ANSWER + text}
        socket.send(json.dumps(answer))
