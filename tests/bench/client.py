"""A client for loads that `echogate bench` does not have: idle connections, and one long
stream."""

import socket
import ssl
import threading

KEY = b"\x37\xfa\x21\x3d"


class Client:
    """A TCP or WebSocket connection to a server."""

    def __init__(self, server, timeout=10.0):
        self.websocket = server.websocket
        self.rest = b""
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if server.ca:
            context = ssl.create_default_context(cafile=server.ca)
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        if self.websocket:
            self.upgrade(server)

    def upgrade(self, server):
        path = "/" + server.url.split("/", 3)[3]
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self.rest:
            self.rest += self.receive()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise OSError(f"no upgrade: {head.splitlines()[0].decode(errors='replace')}")

    def receive(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise OSError("closed by the server")
        return data

    def exchange(self, payload):
        """Sends a message and reads as many bytes."""
        self.socket.sendall(message(payload) if self.websocket else payload)
        self.take(len(payload))

    def take(self, count):
        """Reads `count` bytes of payload."""
        while count > 0:
            if not self.websocket:
                count -= len(self.receive())
                continue
            while (frame := parse(self.rest)) is None:
                self.rest += self.receive()
            opcode, start, length = frame
            if opcode == 8:
                raise OSError("closed by the server")
            # The payload may be incomplete: the rest is read and discarded.
            left = start + length - len(self.rest)
            self.rest = self.rest[start + length:]
            while left > 0:
                data = self.receive()
                self.rest, left = data[left:], left - len(data)
            count -= length if opcode < 8 else 0

    def stream(self, chunk, times):
        """Sends `chunk` `times` times, and reads as many bytes at the same time."""
        data = message(chunk) if self.websocket else chunk
        failure = []

        def send():
            try:
                for _ in range(times):
                    self.socket.sendall(data)
            except OSError as error:
                failure.append(error)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            self.take(len(chunk) * times)
        except OSError:
            self.close()
            sender.join()
            raise
        sender.join()
        if failure:
            raise failure[0]

    def close(self):
        """Sends a Close frame or a FIN, and waits until the server ends its side."""
        try:
            if self.websocket:
                self.socket.sendall(b"\x88\x82" + KEY + masked(b"\x03\xe8"))
            else:
                self.socket.shutdown(socket.SHUT_WR)
            self.socket.settimeout(1.0)
            while self.socket.recv(1 << 16):
                pass
        except OSError:
            pass
        self.socket.close()


def message(payload):
    """A binary message in one masked frame."""
    length = len(payload)
    if length < 126:
        head = bytes([0x82, 0x80 | length])
    elif length < 1 << 16:
        head = b"\x82\xfe" + length.to_bytes(2, "big")
    else:
        head = b"\x82\xff" + length.to_bytes(8, "big")
    return head + KEY + masked(payload)


def masked(payload):
    key = (KEY * (len(payload) // 4 + 1))[: len(payload)]
    whole = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return whole.to_bytes(len(payload), "big")


def parse(data):
    """A frame's opcode, offset of the payload and length; None if the header is incomplete."""
    if len(data) < 2:
        return None
    opcode, length = data[0] & 0x0F, data[1]
    extra = {126: 2, 127: 8}.get(length, 0)
    if len(data) < 2 + extra:
        return None
    if extra:
        length = int.from_bytes(data[2 : 2 + extra], "big")
    return opcode, 2 + extra, length
