"""Checks one thing about the gateway at a URL: `websockets.py FUNCTION URL`."""

import sys

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve as websocket_server

# The URL of the gateway, or the port of `serve`.
URL = sys.argv[2]


def client(path, **options):
    return connect(URL + path, proxy=None, **options)


def subprotocols():
    for offered, chosen in [
        (None, None),
        (["mqtt"], "mqtt"),
        (["mqtt", "binary"], "binary"),
        (["base64"], None),
        (["base64", "chat"], "chat"),
    ]:
        with client("/ws", subprotocols=offered) as ws:
            assert ws.subprotocol == chosen, (offered, ws.subprotocol)


def pings():
    with client("/ws/echo") as ws:
        pong = ws.ping(b"are you there?")
        ws.send("text, ß")
        assert ws.recv() == "text, ß"
        ws.send(b"\x00\xff")
        assert ws.recv() == b"\x00\xff"
        assert pong.wait(30)
        # A message in fragments.
        ws.send(piece for piece in ["a", "b", "c"])
        assert ws.recv() == "abc"


def endings():
    def ends(path, act, **options):
        """The code and the reason of the Close that the server sends first."""
        with client(path, **options) as ws:
            act(ws)
            try:
                while True:
                    ws.recv(timeout=30)
            except ConnectionClosed as closed:
                assert closed.rcvd_then_sent, closed
                return closed.rcvd.code, closed.rcvd.reason

    def assert_ends(path, act, code, reason, **options):
        seen = ends(path, act, **options)
        assert seen[0] == code and reason in seen[1], (path, seen)

    def nothing(ws):
        pass

    def go(ws):
        ws.send("go")

    assert_ends("/ends", go, 1000, "the upstream ended the stream")
    assert_ends("/breaks", go, 1011, "reset")
    # A program that says it is a page is refused by the status, a page by a Close.
    try:
        client("/ws", origin="http://evil.example")
        raise AssertionError("it is refused")
    except InvalidStatus as refused:
        assert refused.response.status_code == 403, refused
        assert b"http://evil.example" in refused.response.body, refused.response.body
    page = {"origin": "http://evil.example", "user_agent_header": "Mozilla/5.0"}
    assert_ends("/ws", nothing, 1008, "http://evil.example", **page)
    assert_ends("/ws", lambda ws: ws.send(b"x" * 1001), 1009, "1000")
    assert_ends("/ws", lambda ws: ws.send(b"\xff", text=True), 1007, "UTF-8")
    # Not masked.
    assert_ends("/ws", lambda ws: ws.socket.sendall(b"\x81\x01x"), 1002, "mask")
    # A close of the client's own is answered with its own code.
    ws = client("/ws")
    ws.close(4321, "enough")
    assert ws.close_code == 4321, ws.close_code


def serve():
    """An echo server on a port that ends at the message `end` and prints how clients end."""

    def echo(ws):
        try:
            for message in ws:
                if message == "end":
                    ws.close(4000, "told to")
                    return
                ws.send(message)
        finally:
            print("ended", ws.close_code, ws.close_reason, flush=True)

    with websocket_server(echo, "127.0.0.1", int(URL), subprotocols=["chat", "mqtt"]) as server:
        server.serve_forever()


def relayed():
    """A client of that server over the route `/relayed`."""
    with client("/relayed", subprotocols=["mqtt", "chat"]) as ws:
        # The server prefers it.
        assert ws.subprotocol == "chat", ws.subprotocol
        for message in ["text, ß", b"\x00\xff", "", b"", "x" * 200_000, b"\xff" * 1_000_000]:
            ws.send(message)
            assert ws.recv() == message
        ws.send(piece for piece in ["a", "b", "c"])
        assert ws.recv() == "abc"
        assert ws.ping(b"are you there?").wait(30)
        ws.close(4321, "enough")
    with client("/relayed", subprotocols=["mqtt"]) as ws:
        assert ws.subprotocol == "mqtt", ws.subprotocol
        ws.send("end")
        try:
            ws.recv()
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 4000 and closed.rcvd.reason == "told to", closed


globals()[sys.argv[1]]()
