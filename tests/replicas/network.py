"""Hosts in network namespaces of their own, which a bridge joins, and the programs on them."""

import ctypes
import os
import signal
import subprocess
import tempfile

CLONE_NEWNET = 0x40000000


class NotPermitted(Exception):
    """This user cannot make network namespaces."""


class Network:
    """Namespaces and a bridge, which are removed at the end."""

    def __init__(self):
        self.prefix = f"echogate-{os.getpid()}-"
        self.names = []

    def __enter__(self):
        try:
            self.bridge = self.add("bridge")
            run("ip", "-n", self.bridge, "link", "add", "br0", "type", "bridge")
            run("ip", "-n", self.bridge, "link", "set", "br0", "up")
        except subprocess.CalledProcessError as error:
            self.__exit__()
            raise NotPermitted(error.stderr.strip()) from error
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)

    def add(self, name):
        name = self.prefix + name
        run("ip", "netns", "add", name)
        self.names.append(name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def host(self, name, address):
        """Adds a host with an address."""
        namespace, port = self.add(name), f"v{len(self.names)}"
        run("ip", "-n", namespace, "link", "add", "eth0", "type", "veth",
            "peer", "name", port, "netns", self.bridge)
        run("ip", "-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", namespace, "link", "set", "eth0", "up")
        run("ip", "-n", self.bridge, "link", "set", port, "master", "br0", "up")
        return Host(namespace, address)


class Host:
    def __init__(self, namespace, address):
        self.namespace, self.address = namespace, address

    def enter(self):
        """Makes the sockets of this thread those of the host from now on."""
        with open(f"/run/netns/{self.namespace}", "rb") as namespace:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise NotPermitted(os.strerror(ctypes.get_errno()))


class Program:
    """A program on a host, which is killed at the end, and its output in a file."""

    def __init__(self, host, *command):
        self.host, self.command = host, ["ip", "netns", "exec", host.namespace, *command]
        self.output = tempfile.NamedTemporaryFile(prefix="echogate-replicas-")
        self.start()

    def start(self):
        # `ip netns exec` becomes the program: its process ID is that of the program.
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output
        )

    def stop(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        return self.process.wait(60)

    def close(self):
        if self.process.poll() is None:
            self.stop()

    def last_lines(self, count=20):
        with open(self.output.name, encoding="utf-8", errors="replace") as output:
            return "".join(output.readlines()[-count:])


def run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)
