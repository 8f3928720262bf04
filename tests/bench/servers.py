"""The servers that `compare` runs side by side, and their commands.

All of them forward to one upstream, a separate `echogate serve` with an `upper`
listener, except those that answer themselves.
"""

import glob
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))

# The timeout until a started server accepts connections, in seconds.
START_TIMEOUT = 15.0

NGINX = """
{module}
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
worker_processes auto;
events {{ worker_connections {connections}; }}
stream {{
    server {{
        listen 127.0.0.1:{port} backlog=4096{ssl};
        {certificate}
        proxy_pass 127.0.0.1:{upstream};
        tcp_nodelay on;
    }}
}}
"""

HAPROXY = """
global
    maxconn {connections}
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
frontend in
    bind 127.0.0.1:{port} backlog 4096 {ssl}
    default_backend out
backend out
    server upstream 127.0.0.1:{upstream}
"""


NGINX_HTTP = """
daemon off;
pid {folder}/nginx-http.pid;
error_log stderr error;
worker_processes auto;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_read_timeout 1h;
        }}
    }}
}}
"""

HAPROXY_HTTP = """
global
    maxconn {connections}
defaults
    mode http
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
frontend in
    bind 127.0.0.1:{port} backlog 4096
    default_backend out
backend out
    server upstream 127.0.0.1:{upstream}
"""


class Certificate:
    """A new certificate for localhost, in files of a folder."""

    def __init__(self, folder):
        self.cert, self.key, self.both = (
            os.path.join(folder, name) for name in ("cert.pem", "key.pem", "both.pem")
        )
        openssl = program("openssl", "apt install openssl") or sys.exit(1)
        command = [
            openssl, "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-addext", "basicConstraints=critical,CA:FALSE", "-days", "2",
            "-out", self.cert, "-keyout", self.key,
        ]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        with open(self.both, "wb") as both:
            for part in (self.cert, self.key):
                with open(part, "rb") as file:
                    both.write(file.read())
        # nginx drops root privileges before it reads the files.
        for path in (self.cert, self.key, self.both):
            os.chmod(path, 0o644)


class Server:
    """A server: its name in the tables, its command, and the URL for the load."""

    def __init__(self, name, url, command, announces=False, ca=None):
        self.name = name
        self.url = url
        self.command = command
        # The certificate that clients trust, for a server with TLS.
        self.ca = ca
        # Whether the server prints a line that begins with "listening".
        self.announces = announces
        self.process = None
        self.stderr = None

    @property
    def websocket(self):
        return self.url.startswith("ws")

    @property
    def port(self):
        return int(self.url.split("://")[1].split("/")[0].split(":")[1])

    def start(self, prefix=()):
        """Starts the server in a new session, as the leader of a process group."""
        self.stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [*prefix, *self.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self.announces else subprocess.DEVNULL,
            stderr=self.stderr,
            start_new_session=True,
        )

    def last_error_line(self):
        """The last line of the server's stderr."""
        self.stderr.seek(0)
        lines = self.stderr.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")

    def accepts(self):
        """Whether the server accepts a connection now."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def wait(self, nap=0.02):
        """Waits until the server accepts connections; returns the reason if it does not."""
        end = time.monotonic() + START_TIMEOUT
        while not self.accepts():
            if self.process.poll() is not None:
                return f"ended with status {self.process.returncode}: {self.last_error_line()}"
            if time.monotonic() > end:
                return "does not listen"
            time.sleep(nap)
        return None

    def stop(self):
        if self.process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sign)
            except ProcessLookupError:
                pass
            try:
                self.process.wait(3)
                break
            except subprocess.TimeoutExpired:
                continue
        if self.process.stdout:
            self.process.stdout.close()
        self.stderr.close()
        self.process = None


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def upstream(echogate):
    """The upstream of the other servers."""
    return upper("upstream", echogate)


def upper(name, echogate, tls=None):
    """An echogate with a listener, over TLS if there is a certificate."""
    port = free_port()
    url = f"{'tls' if tls else 'tcp'}://127.0.0.1:{port}"
    command = [echogate, "serve", "--http", "127.0.0.1:0", "--listen", f"upper={url}"]
    return Server(name, url, command + identity(tls), True, tls and tls.cert)


def gateway(name, echogate, target, tls=None):
    """An echogate with one route, `/ws`, over TLS if there is a certificate."""
    port = free_port()
    url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/ws"
    command = [echogate, "serve", "--http", f"127.0.0.1:{port}", "--route", f"/ws={target}"]
    return Server(name, url, command + identity(tls), True, tls and tls.cert)


def recorders(echogate, to, folder):
    """Gateways with the routes `/ws` and `/beside`: one that does not record, and others that
    record `/ws` in each format, into folders of their own."""
    for form in (None, "pcapng", "jsonl", "har"):
        target = f"tcp://127.0.0.1:{to}?framing=message"
        recorded = target + ("&record" if form else "")
        server = gateway(f"echogate --record ({form})" if form else "echogate", echogate, recorded)
        server.command += ["--route", f"/beside={target}"]
        if form:
            directory = os.path.join(folder, form)
            os.mkdir(directory)
            server.command += ["--record", directory, "--record-format", form]
        yield server


def identity(tls):
    return ["--tls-cert", tls.cert, "--tls-key", tls.key] if tls else []


def program(name, package):
    """The path of a program; if it is missing, prints the command that installs it."""
    # Debian installs servers in folders that a user's PATH may not have.
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        print(f"compare: no {name}: {package}", file=sys.stderr)
    return path


def all_servers(echogate, to, folder, framing="message", tls=None):
    """Every installed server; `to` is the upstream's port, and configuration files go to
    `folder`. With a certificate only servers with TLS support, which then use it."""
    yield gateway("echogate /ws", echogate, f"tcp://127.0.0.1:{to}?framing={framing}", tls)
    yield gateway("echogate service:", echogate, f"service:upper?framing={framing}", tls)
    yield upper("echogate upper", echogate, tls)
    yield from proxies(to, folder, tls)
    if tls:
        return
    if path := program("websockify", "apt install websockify"):
        port = free_port()
        command = [path, f"127.0.0.1:{port}", f"127.0.0.1:{to}"]
        yield Server("websockify", f"ws://127.0.0.1:{port}/", command)
    if path := program("websocat", "cargo install websocat"):
        port = free_port()
        command = [path, "--binary", f"ws-l:127.0.0.1:{port}", f"tcp:127.0.0.1:{to}"]
        yield Server("websocat", f"ws://127.0.0.1:{port}/", command)
    if has_websockets():
        port = free_port()
        command = [sys.executable, f"{HERE}/websockets_echo.py", str(port)]
        yield Server("Python websockets", f"ws://127.0.0.1:{port}/", command)


def most_connections():
    """The number of connections that the proxies are set up for."""
    # Each connection takes two file descriptors, and each server a few more.
    return min(16384, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 100)


def proxies(to, folder, tls):
    """Plain TCP proxies, which terminate TLS if there is a certificate."""
    most = most_connections()
    scheme, ca = ("tls", tls.cert) if tls else ("tcp", None)
    if path := program("nginx", "apt install nginx libnginx-mod-stream"):
        port = free_port()
        modules = glob.glob("/usr/lib*/nginx/modules/ngx_stream_module.so")
        module = "".join(f"load_module {module};" for module in modules)
        certificate = tls and f"ssl_certificate {tls.cert}; ssl_certificate_key {tls.key};"
        settings = NGINX.format(
            module=module, folder=folder, port=port, upstream=to, connections=most,
            ssl=" ssl" if tls else "", certificate=certificate or "",
        )
        command = [path, "-p", folder, "-c", write(folder, "nginx.conf", settings)]
        yield Server("nginx stream", f"{scheme}://127.0.0.1:{port}", command, ca=ca)
    if path := program("haproxy", "apt install haproxy"):
        port = free_port()
        ssl = f"ssl crt {tls.both}" if tls else ""
        settings = HAPROXY.format(port=port, upstream=to, connections=most, ssl=ssl)
        command = [path, "-db", "-f", write(folder, "haproxy.cfg", settings)]
        yield Server("haproxy tcp", f"{scheme}://127.0.0.1:{port}", command, ca=ca)


def forward(name, echogate, target):
    """An echogate that forwards a TCP port to any endpoint."""
    port = free_port()
    command = [echogate, "forward", f"127.0.0.1:{port}", target]
    return Server(name, f"tcp://127.0.0.1:{port}", command)


def websocket_upstream(echogate):
    """The upstream of pairs that end in a WebSocket. wstunnel adds `/events` to a path."""
    server = gateway("upstream", echogate, "service:upper")
    server.command += ["--route", "/ws/events=service:upper"]
    return server


def tcp_to_tcp(echogate, upstream, folder):
    """Byte streams on both sides."""
    yield forward("echogate forward", echogate, f"tcp://127.0.0.1:{upstream.port}")
    yield from proxies(upstream.port, folder, None)
    if path := program("socat", "apt install socat"):
        port = free_port()
        listen = f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,backlog=4096,nodelay"
        command = [path, listen, f"TCP:127.0.0.1:{upstream.port},nodelay"]
        yield Server("socat", f"tcp://127.0.0.1:{port}", command)


def ws_to_ws(echogate, upstream, folder):
    """WebSockets on both sides."""
    most = most_connections()
    yield gateway("echogate route", echogate, upstream.url)
    if path := program("nginx", "apt install nginx"):
        port = free_port()
        settings = NGINX_HTTP.format(
            folder=folder, port=port, upstream=upstream.port, connections=most
        )
        command = [path, "-p", folder, "-c", write(folder, "nginx-http.conf", settings)]
        yield Server("nginx http", f"ws://127.0.0.1:{port}/ws", command)
    if path := program("haproxy", "apt install haproxy"):
        port = free_port()
        settings = HAPROXY_HTTP.format(port=port, upstream=upstream.port, connections=most)
        command = [path, "-db", "-f", write(folder, "haproxy-http.cfg", settings)]
        yield Server("haproxy http", f"ws://127.0.0.1:{port}/ws", command)


def tcp_to_ws(echogate, upstream, folder):
    """A byte stream to a WebSocket server."""
    yield forward("echogate forward", echogate, upstream.url)
    if path := program("websocat", "cargo install websocat"):
        port = free_port()
        command = [path, "--binary", "-E", f"tcp-l:127.0.0.1:{port}", upstream.url]
        yield Server("websocat", f"tcp://127.0.0.1:{port}", command)
    if path := program("wstunnel", "https://github.com/erebe/wstunnel"):
        # The destination is for a server of wstunnel; echogate ignores it.
        port = free_port()
        command = [
            path, "--log-lvl", "WARN", "client", "--websocket-mask-frame",
            "--http-upgrade-path-prefix", "ws",
            "--local-to-remote", f"tcp://127.0.0.1:{port}:127.0.0.1:1",
            f"ws://127.0.0.1:{upstream.port}",
        ]
        yield Server("wstunnel client", f"tcp://127.0.0.1:{port}", command)


# The pairs of sides besides WebSocket to TCP: the upstream and the servers.
PAIRS = {
    "tcp-tcp": (upstream, tcp_to_tcp),
    "ws-ws": (websocket_upstream, ws_to_ws),
    "tcp-ws": (websocket_upstream, tcp_to_ws),
}


def has_websockets():
    probe = "import websockets.asyncio.server"
    found = subprocess.run([sys.executable, "-c", probe], stderr=subprocess.DEVNULL)
    if found.returncode != 0:
        print("compare: no Python websockets 13 or later: pip install websockets", file=sys.stderr)
    return found.returncode == 0


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path
