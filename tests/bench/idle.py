"""Idle connections, held by processes of their own, which answer Pings."""

import multiprocessing
import select

from client import KEY, Client, masked, parse
from load import Failed, raise_file_limit

# Connections that are opened at once.
CHUNK = 500


class Holder:
    """A process that holds connections to a server, each after one exchange of 64 bytes."""

    def __init__(self, server):
        fork = multiprocessing.get_context("fork")
        self.pipe, end = fork.Pipe()
        self.process = fork.Process(target=hold, args=(server, end), daemon=True)
        self.process.start()
        end.close()

    def open(self, count):
        """Opens `count` more connections, with pauses for the Pings of the others."""
        for opened in range(0, count, CHUNK):
            self.ask(min(CHUNK, count - opened))

    def pings(self):
        """The number of Pings that have been answered."""
        return self.ask(0)

    def ask(self, count):
        try:
            self.pipe.send(count)
            answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise Failed("a process that holds idle connections has ended") from error
        if isinstance(answer, str):
            raise Failed(answer)
        return answer

    def stop(self):
        self.process.terminate()
        self.process.join()


def hold(server, pipe):
    raise_file_limit()
    clients, pings, failure = {}, 0, None
    readable = select.epoll()
    readable.register(pipe.fileno(), select.EPOLLIN)
    while True:
        for descriptor, _ in readable.poll():
            if descriptor != pipe.fileno():
                try:
                    pings += answer(clients[descriptor])
                except OSError as error:
                    failure = f"an idle connection has ended: {error}"
                    readable.unregister(descriptor)
                continue
            try:
                for _ in range(pipe.recv()):
                    client = Client(server)
                    client.exchange(b"x" * 64)
                    clients[client.socket.fileno()] = client
                    readable.register(client.socket.fileno(), select.EPOLLIN)
                pipe.send(failure or pings)
            except OSError as error:
                pipe.send(str(error))


def answer(client):
    """Answers the Pings that have arrived; returns their number."""
    client.rest += client.receive()
    pings = 0
    while (frame := parse(client.rest)) and len(client.rest) >= sum(frame[1:]):
        if client.rest[0] != 0x89:
            raise OSError(f"no Ping: {client.rest[:16]!r}")
        _, start, length = frame
        payload, client.rest = client.rest[start : start + length], client.rest[start + length :]
        client.socket.sendall(bytes([0x8A, 0x80 | length]) + KEY + masked(payload))
        pings += 1
    return pings
