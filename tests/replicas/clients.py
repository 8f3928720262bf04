"""Clients of the replicas: WebSocket connections, clients of `chat`, and their operators."""

import asyncio
import collections
import json
import os
import random
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bench"))
from client import message, parse

# The longest delay of the first attempt to reconnect, as in server/proto/src/backoff.rs.
FIRST_DELAY = 1.5

RESTART = 1012

# The offsets of tcpi_last_data_sent and tcpi_last_data_recv in `struct tcp_info`.
LAST_DATA = struct.Struct("=44xI4xI")


class Ended(Exception):
    """The end of a connection: the code of its Close, or none, the time `at` which it arrived, and
    the time in seconds from the last message to the Close."""

    def __init__(self, code=None, at=None, crossed=None):
        super().__init__(code)
        self.code, self.at, self.crossed = code, at or time.monotonic(), crossed


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
                sent, received = self.ages()
                self.writer.write(b"\x88\x82\0\0\0\0" + payload[:2])
                at = time.monotonic() - received
                raise Ended(int.from_bytes(payload[:2], "big"), at, sent - received)
            if opcode == 9:
                self.writer.write(bytes([0x8A, 0x80 | length]) + b"\0\0\0\0" + payload)
            elif opcode < 8:
                self.parts += payload
                if is_last:
                    payload, self.parts = self.parts, b""
                    return payload.decode()

    def ages(self):
        """The seconds since bytes were sent and since bytes arrived, by the kernel: this program may
        be late."""
        tcp = self.writer.get_extra_info("socket")
        info = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_DATA.size)
        return (milliseconds / 1000 for milliseconds in LAST_DATA.unpack(info))

    def close(self):
        self.writer.close()


class Counts:
    """What the clients have seen. `lag` is the longest delay of this program itself."""

    def __init__(self):
        self.open = collections.Counter()
        self.refusals = collections.Counter()
        self.replies = self.restarts = self.losses = 0
        # The times at which connections that ended are due to be made again.
        self.due = []
        # Of messages without a reply, the time until the Close.
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
        end = None
        try:
            socket = await WebSocket.connect(address, path)
        except Ended:
            counts.refusals[kind] += 1
        else:
            counts.open[kind] += 1
            try:
                await conversation(socket)
            except Ended as why:
                end = why
                counts.ended(end)
            finally:
                counts.open[kind] -= 1
                socket.close()
        due = (end.at if end else time.monotonic()) + random.random() * FIRST_DELAY
        if end:
            counts.due.append(due)
        await asyncio.sleep(due - time.monotonic())


async def echo_client(number, address, counts, interval):
    """A client that sends a message after each reply."""

    async def conversation(socket):
        for turn in range(1 << 30):
            text = f"client {number}: {turn}"
            socket.send(text)
            try:
                reply = await socket.receive()
            except Ended as end:
                if end.code == RESTART:
                    counts.crossed.append(end.crossed)
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
    """The clients of `chat` and an operator, who write their messages into a `ledger`."""

    def __init__(self, counts, ledger):
        self.counts, self.ledger = counts, ledger
        self.sending = True

    async def client(self, number, address, interval):
        connections = 0

        async def conversation(socket):
            nonlocal connections
            connections += 1
            name = f"{number}.{connections}"
            sender = asyncio.ensure_future(self.send(socket, name, interval))
            try:
                while True:
                    for line in (await socket.receive()).splitlines():
                        self.ledger.client_gets(name, line)
            finally:
                sender.cancel()
                self.ledger.conversation_ends(name)

        await asyncio.sleep(random.random() * interval)
        await stay_connected("chat", address, "/ws/chat", self.counts, conversation)

    async def send(self, socket, name, interval):
        for turn in range(1 << 30):
            if self.sending:
                text = f"{name}.{turn}"
                self.ledger.client_says(name, text)
                socket.send(text)
            await asyncio.sleep(random.uniform(0.5, 1.5) * interval)

    async def operator(self, address, token):
        """An operator, who answers each message."""
        connections = 0

        async def conversation(socket):
            nonlocal connections
            connections += 1
            me, seen = connections, set()
            socket.send(json.dumps({"type": "token", "token": token}))

            def answer(conversation, text):
                seen.add(text)
                answer = self.ledger.operator_answers(me, text)
                say = {"type": "say", "conversation": conversation, "text": answer}
                socket.send(json.dumps(say))

            def answer_all(conversation):
                """Answers the messages of a conversation that was open before."""
                texts = [each["text"] for each in conversation["messages"]]
                answered = {self.ledger.answers[text][1] for text in texts if text in self.ledger.answers}
                for text in texts:
                    is_answer = text in self.ledger.answers or text in answered
                    if conversation["ending"] is None and not is_answer and text not in seen:
                        answer(conversation["id"], text)

            try:
                while True:
                    event = json.loads(await socket.receive())
                    if event["type"] == "welcome":
                        for each in event["conversations"]:
                            answer_all(each)
                    elif event["type"] == "opened":
                        answer_all(event["conversation"])
                    elif event["type"] == "said" and event["message"]["from"] == "client":
                        text = event["message"]["text"]
                        self.ledger.operator_sees(seen, text)
                        answer(event["conversation"], text)
                    elif event["type"] == "error":
                        self.ledger.operator_gets(me, event["text"])
            finally:
                self.ledger.operator_ends(me)

        await stay_connected("operator", address, "/ws/operator", self.counts, conversation)
