"""What the end-to-end tests stand on: a node as a process, plain HTTP clients, and a way to wait for things.

Everything here is a real client of the real binary: nothing knows what is inside. No test sleeps to be in time; it waits
for what it needs with eventually(), whose limit is a generous bound for a busy machine and never a measure.
"""

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = pathlib.Path(os.environ.get("SHUNT_BUILD", ROOT / "build/release")).resolve()
SHUNT = os.environ.get("SHUNT_BIN", str(BUILD / "shunt"))
MODULES = BUILD / "tests/e2e"
APPS = HERE / "apps"
# A sanitized build keeps the shop's libraries to itself.
SHOP = BUILD / "examples/shop/app" if (BUILD / "examples/shop/app").exists() else ROOT / "examples/shop"

PATIENCE = float(os.environ.get("SHUNT_TEST_PATIENCE", "60"))


def eventually(what, condition, seconds=PATIENCE):
    """The first true value of condition(); fails, saying what was awaited, when there is none."""
    end = time.monotonic() + seconds
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s in vain for: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def environment(**more):
    """The tests' own, without what would steer the program, and with `more`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHUNT_") and key != "NO_COLOR"}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"} | more


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict  # Names in lower case.
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def lines(self):
        return [json.loads(line) for line in self.body.splitlines()]


@dataclasses.dataclass
class Ran:
    """What a command of the command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


def run(*arguments, stdin=b"", env=None, cwd=None, timeout=PATIENCE):
    if isinstance(stdin, str):
        stdin = stdin.encode()
    done = subprocess.run([SHUNT, *map(str, arguments)], input=stdin, capture_output=True, env=env or environment(),
                          cwd=cwd, timeout=timeout)
    return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def write_app(folder, manifest, **files):
    """An app's folder: shunt.json and the files given, with `_py` in a name for `.py`."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = manifest if isinstance(manifest, str) else json.dumps(manifest, indent=2)
    (folder / "shunt.json").write_text(text)
    for name, content in files.items():
        (folder / re.sub("_py$", ".py", name)).write_text(content)
    return folder


def copy_shop(folder, **backends):
    """The shop in a folder of its own, with some backends changed."""
    shutil.copytree(SHOP, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / "shunt.json").read_text()
    for service, backend in backends.items():
        text, count = re.subn(rf'("{service}": {{[^}}]*"backend": )"\w+"', rf'\1"{backend}"', text)
        assert count == 1
    (folder / "shunt.json").write_text(text)
    return folder


# --- Processes, as /proc tells of them ---


def is_alive(pid):
    try:
        # Behind the name, which may hold anything. A zombie has ended; nobody has fetched it yet.
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid):
    try:
        return [int(child) for task in os.listdir(f"/proc/{pid}/task")
                for child in pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


class Node:
    """A running `shunt run`. Made by the `start` fixture, which also ends it."""

    def __init__(self, data, *apps, listen=("127.0.0.1:0",), arguments=(), env=None, wait=True):
        self.data = pathlib.Path(data)
        self.data.mkdir(parents=True, exist_ok=True)
        self.log = self.data.with_name(self.data.name + ".log")
        command = [SHUNT, "run", *map(str, apps), "--data", str(self.data)]
        for address in listen:
            command += ["--listen", address]
        self._known = set()
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen([*command, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=subprocess.STDOUT, env=environment(**(env or {})),
                                            start_new_session=True)
        if wait:
            self.wait_ready()

    # --- life ---

    @property
    def pid(self):
        """Of the supervisor, which is what `shunt run` is first."""
        return self.process.pid

    @property
    def output(self):
        return self.log.read_text(errors="replace")

    @property
    def urls(self):
        ready = re.search(r"^ready (.*)$", self.output, re.M)
        return ready[1].split() if ready else []

    @property
    def url(self):
        return self.urls[0]

    @property
    def address(self):
        return urllib.parse.urlsplit(self.url).hostname, urllib.parse.urlsplit(self.url).port

    def wait_ready(self):
        def ready_or_dead():
            if self.process.poll() is not None:
                raise AssertionError(f"the node ended with {self.process.returncode} before it was ready:\n{self.output}")
            return self.urls

        eventually("the node to be ready", ready_or_dead)
        return self

    def processes(self):
        """Of this node, the supervisor first; those that live."""
        return [pid for pid in [self.pid, *descendants(self.pid)] if is_alive(pid)]

    def sigterm(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds=PATIENCE):
        return self.process.wait(seconds)

    def stop(self):
        """Ends it the ordinary way; the exit code."""
        if self.process.poll() is None:
            self.sigterm()
        return self.wait()

    def end(self):
        """For the fixture: whatever the test did, nothing stays behind."""
        family = self.processes()
        if self.process.poll() is None:
            self.sigterm()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        for pid in family:
            if pid != self.pid and is_alive(pid) and pid in self._strays(family):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _strays(self, family):
        """Those of the family that still are what they were: a PID may have been given away since."""
        return {pid for pid in family
                if b"shunt" in _command_line(pid) or b"python" in _command_line(pid)}

    # --- as its clients see it ---

    def http(self, method, path, body=None, headers=None, timeout=PATIENCE):
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers = {"Content-Type": "application/json"} | (headers or {})
        connection = http.client.HTTPConnection(*self.address, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, body=body.encode() if isinstance(body, str) else body, headers=headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())

    def get(self, path, **headers):
        return self.http("GET", path, headers=headers)

    def post(self, path, body=None, **headers):
        return self.http("POST", path, {} if body is None else body, headers)

    def call(self, target, request=None, *arguments):
        """Over the command line: `shunt call`."""
        given = [] if request is None else [request if isinstance(request, str) else json.dumps(request)]
        return self.cli("call", target, *given, *arguments)

    def cli(self, command, *arguments, **options):
        return run(command, *arguments, "--data", self.data, **options)

    def ps(self):
        done = self.cli("ps", "--json")
        assert done.code == 0, done.err
        return done.json

    def service(self, name):
        """What ps says of one service, by its full or short name."""
        return next(s for s in self.ps()["services"] if s["name"] == name or s["name"].endswith("." + name))

    def worker(self, name):
        """The PID of its one worker."""
        [instance] = self.service(name)["instances"]
        return instance["pid"]

    def is_ready(self, name):
        service = self.service(name)
        return service["state"] == "ready" and service

    def raw(self):
        return Raw(self.address)


def _command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


class Raw:
    """A connection on which one writes what one likes, and reads answers one by one."""

    def __init__(self, address, timeout=PATIENCE):
        self.socket = socket.create_connection(address, timeout=timeout)
        self.buffer = b""
        self.address = address

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())
        return self

    def request(self, method, path, *headers, body=b"", host="localhost"):
        body = body if isinstance(body, bytes) else body.encode()
        length = [f"Content-Length: {len(body)}"] if body or method == "POST" else []
        head = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *length, *headers])
        return self.send(head.encode() + b"\r\n\r\n" + body)

    def _more(self):
        piece = self.socket.recv(65536)
        self.buffer += piece
        return bool(piece)

    def until(self, mark):
        """What comes up to and with the mark."""
        while mark not in self.buffer:
            if not self._more():
                raise EOFError(f"the connection was closed; before it: {self.buffer[-500:]!r}")
        head, _, self.buffer = self.buffer.partition(mark)
        return head + mark

    def exactly(self, count):
        while len(self.buffer) < count:
            if not self._more():
                raise EOFError(f"the connection was closed {count - len(self.buffer)} bytes early")
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def head(self):
        status, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {}
        for line in filter(None, lines):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return Answer(int(status.split()[1]), headers, b"")

    def chunk(self):
        """The next chunk of a chunked answer; empty at its end."""
        size = int(self.until(b"\r\n"), 16)
        data = self.exactly(size)
        self.exactly(2)
        return data

    def answer(self, to="GET"):
        answer = self.head()
        if to == "HEAD" or answer.status in (100, 204, 304):
            return answer
        if answer.headers.get("transfer-encoding") == "chunked":
            while piece := self.chunk():
                answer.body += piece
        else:
            answer.body = self.exactly(int(answer.headers.get("content-length", 0)))
        return answer

    def is_closed(self):
        """Waits for the other side to close; anything else that comes is an error."""
        try:
            return self.socket.recv(65536) == b""
        except ConnectionResetError:
            return True


def lab(folder, **changes):
    """apps/lab as an app of its own; `changes` are merged into its services' entries."""
    files = {path.name: path.read_text() for path in (APPS / "lab").iterdir() if path.is_file()}
    manifest = json.loads(files.pop("shunt.json").replace("@MODULES@", str(MODULES)))
    for service, change in changes.items():
        manifest["services"][service] |= change
    folder = write_app(folder / "lab", manifest)
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder
