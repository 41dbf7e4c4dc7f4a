"""A node's side of a worker's link, in plain Python: enough of the frames to call a worker and to answer what it calls.

Written from spec/wire.md and nothing else of Shunt's: what it can do, any SDK without native code can.
"""

import collections
import os
import socket
import struct
import subprocess
import sys
import threading
import time

HELLO, OPEN, METADATA, MESSAGE, HALF_CLOSE, STATUS, CANCEL, CREDIT, REFUSED, PING, PONG, GOAWAY = range(1, 13)
MORE = 0x01
LAST = 0x02
HEADER = struct.Struct("<IBBHQ")
NO_DEADLINE = 2**63 - 1
MESSAGE_OVERHEAD = 64
FRAGMENT = 16 << 10
TEXTS = {1: "role", 2: "name", 3: "software", 4: "clock", 11: "definition"}
NUMBERS = {
    5: "message_bytes_max", 6: "calls_max", 7: "metadata_bytes_max", 8: "stream_credit", 9: "concurrency", 10: "pid",
}  # fmt: skip


def encode_hello(**fields):
    out = struct.pack("<IHH", 0x544E4853, 1, 0)
    for tag, name in TEXTS.items():
        if name in fields:
            text = fields[name].encode()
            out += struct.pack("<HI", tag, len(text)) + text
    for tag, name in NUMBERS.items():
        if name in fields:
            out += struct.pack("<HIQ", tag, 8, fields[name])
    return out


def decode_hello(payload):
    magic, major, _ = struct.unpack_from("<IHH", payload)
    assert (magic, major) == (0x544E4853, 1)
    at = 8
    fields = {}
    while at < len(payload):
        tag, size = struct.unpack_from("<HI", payload, at)
        at += 6
        value = payload[at : at + size]
        at += size
        if tag in TEXTS:
            fields[TEXTS[tag]] = value.decode()
        elif tag in NUMBERS:
            fields[NUMBERS[tag]] = struct.unpack("<Q", value)[0]
    return fields


def encode_metadata(pairs):
    if not pairs:
        return b""
    out = struct.pack("<H", len(pairs))
    for key, value in pairs:
        value = value if isinstance(value, bytes) else value.encode()
        out += struct.pack("<HI", len(key), len(value)) + key.encode() + value
    return out


def decode_metadata(block):
    pairs = []
    if block:
        (count,) = struct.unpack_from("<H", block)
        at = 2
        for _ in range(count):
            key_size, value_size = struct.unpack_from("<HI", block, at)
            at += 6
            key = block[at : at + key_size].decode()
            value = block[at + key_size : at + key_size + value_size]
            at += key_size + value_size
            pairs.append((key, value if key.endswith("-bin") else value.decode()))
    return pairs


OPEN_HEAD = struct.Struct("<qQBBHHHHHI")


def encode_open(service, command, deadline=NO_DEADLINE, kind=2, caller="", user="", token="", metadata=()):
    texts = [text.encode() for text in (service, command, caller, user, token)]
    block = encode_metadata(metadata)
    return OPEN_HEAD.pack(deadline, 0, 0, kind, *map(len, texts), len(block)) + b"".join(texts) + block


def decode_open(payload):
    deadline, grant, hops, kind, *sizes, block_size = OPEN_HEAD.unpack_from(payload)
    at = OPEN_HEAD.size
    texts = []
    for size in sizes:
        texts.append(payload[at : at + size].decode())
        at += size
    return dict(
        deadline=deadline, hops=hops, kind=kind, metadata=decode_metadata(payload[at : at + block_size]),
        **dict(zip(("service", "command", "caller", "user", "token"), texts)),
    )  # fmt: skip


STATUS_HEAD = struct.Struct("<BBHIII")


def encode_status(code=0, message="", id="", details="", retry=0, trailers=()):
    block = encode_metadata(trailers)
    texts = [text.encode() for text in (id, message, details)]
    return STATUS_HEAD.pack(code, retry, *map(len, texts), len(block)) + b"".join(texts) + block


def decode_status(payload):
    code, retry, *sizes, block_size = STATUS_HEAD.unpack_from(payload)
    at = STATUS_HEAD.size
    texts = []
    for size in sizes:
        texts.append(payload[at : at + size].decode())
        at += size
    return dict(
        code=code, retry=retry, id=texts[0], message=texts[1], details=texts[2],
        trailers=decode_metadata(payload[at : at + block_size]),
    )  # fmt: skip


class Call:
    """A call that this side made."""

    def __init__(self, peer, id):
        self.peer = peer
        self.id = id
        self.messages = []
        self.partial = b""
        self.metadata = []
        self.status = None
        self.hold_credit = False
        self.owed = 0

    def send(self, data, last=False):
        self.peer.send_message(self.id, data, last)
        return self

    def half_close(self):
        self.peer.frame(HALF_CLOSE, self.id)
        return self

    def cancel(self, reason=1):
        self.peer.frame(CANCEL, self.id, bytes([reason]))
        return self

    def credit(self):
        """Gives back what was held, and holds no more."""
        with self.peer.changed:
            self.hold_credit = False
            self.peer.frame(CREDIT, self.id, struct.pack("<Q", self.owed))
            self.owed = 0

    def end(self):
        """Waits for the status."""
        self.peer.wait(lambda: self.status is not None)
        return self

    def answer(self):
        self.end()
        assert self.status["code"] == 0, self.status
        return self.messages


class Peer:
    """A worker process and the link to it. `services` answer its calls: "service.command" -> function of the request's
    bytes, giving a list of messages, or raising ValueError((code, message))."""

    def __init__(self, file, services=None, **hello):
        ours, theirs = socket.socketpair()
        environment = {
            **os.environ,
            "SHUNT_LINKS": str(theirs.fileno()),
            "SHUNT_SERVICE": "tested",
            "PYTHONPATH": str(self.sdk()),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, str(file)], env=environment, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True
        )
        theirs.close()
        self.socket = ours
        self.services = services or {}
        self.calls = {}
        self.incoming = {}
        self.incoming_messages = collections.defaultdict(list)
        self.incoming_partial = collections.defaultdict(bytes)
        self.cancelled = []
        self.credited = collections.Counter()
        self.pongs = set()
        self.next_id = 1
        self.hello = None
        self.ended = False
        self.changed = threading.Condition(threading.RLock())
        self.errors = []
        self.said = hello
        self.log = ""
        threading.Thread(target=self.read_log, daemon=True).start()
        threading.Thread(target=self.read, daemon=True).start()
        self.wait(lambda: self.hello is not None)

    @staticmethod
    def sdk():
        from conftest import sdk_folder

        return sdk_folder()

    def read_log(self):
        for line in self.process.stderr:
            with self.changed:
                self.log += line
                self.changed.notify_all()

    def wait(self, condition):
        with self.changed:
            while not condition():
                assert not self.errors, self.errors
                assert not self.ended, f"the worker closed its link; its log: {self.log}"
                self.changed.wait()

    def wait_log(self, text):
        with self.changed:
            while text not in self.log:
                self.changed.wait()

    # Writing

    def frame(self, type, call=0, payload=b"", flags=0):
        with self.changed:
            try:
                self.socket.sendall(HEADER.pack(len(payload), type, flags, 0, call) + payload)
            except BrokenPipeError:
                pass  # it has ended; what it said before is still to be read

    def send_message(self, call, data, last=False):
        while True:
            part, data = data[:FRAGMENT], data[FRAGMENT:]
            self.frame(MESSAGE, call, part, MORE if data else LAST if last else 0)
            if not data:
                return

    def open(self, command, data=None, last=True, hold_credit=False, **fields):
        with self.changed:
            call = Call(self, self.next_id)
            call.hold_credit = hold_credit
            self.next_id += 2
            self.calls[call.id] = call
            if "timeout" in fields:
                fields["deadline"] = time.monotonic_ns() + int(fields.pop("timeout") * 1e9)
            self.frame(OPEN, call.id, encode_open("tested", command, **fields))
            if data is not None:
                self.send_message(call.id, data, last)
        return call

    def ping(self, number):
        self.frame(PING, number)
        self.wait(lambda: number in self.pongs)

    def drain(self):
        self.frame(GOAWAY)
        return self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.drain()
        self.socket.close()

    # Reading

    def read(self):
        try:
            buffer = b""
            while True:
                try:
                    chunk = self.socket.recv(1 << 16)
                except ConnectionResetError:  # it closed before it had read all of ours; what it wrote is behind this
                    continue
                if not chunk:
                    break
                buffer += chunk
                while len(buffer) >= HEADER.size:
                    length, type, flags, zero, call = HEADER.unpack_from(buffer)
                    assert zero == 0
                    if len(buffer) < HEADER.size + length:
                        break
                    payload = buffer[HEADER.size : HEADER.size + length]
                    buffer = buffer[HEADER.size + length :]
                    with self.changed:
                        self.on_frame(type, flags, call, payload)
                        self.changed.notify_all()
        except OSError:
            pass  # close() of ours
        except Exception as error:
            self.errors.append(error)
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def on_frame(self, type, flags, id, payload):
        call = self.calls.get(id)
        if type == HELLO:
            self.hello = decode_hello(payload)
            said = dict(role="node", name="peer", software="wire_peer", clock=self.hello["clock"], stream_credit=256 << 10,
                        message_bytes_max=16 << 20, calls_max=1000, metadata_bytes_max=64 << 10)  # fmt: skip
            self.frame(HELLO, 0, encode_hello(**{**said, **self.said}))
        elif type == OPEN:
            self.incoming[id] = decode_open(payload)
            if flags & LAST:
                self.serve(id)
        elif type == METADATA:
            call.metadata = decode_metadata(payload)
        elif type == MESSAGE and call is not None:
            call.partial += payload
            if not flags & MORE:
                cost = len(call.partial) + MESSAGE_OVERHEAD
                call.messages.append(call.partial)
                call.partial = b""
                if call.hold_credit:
                    call.owed += cost
                else:
                    self.frame(CREDIT, id, struct.pack("<Q", cost))
        elif type == MESSAGE:
            self.incoming_partial[id] += payload
            if not flags & MORE:
                message = self.incoming_partial.pop(id)
                self.incoming_messages[id].append(message)
                self.frame(CREDIT, id, struct.pack("<Q", len(message) + MESSAGE_OVERHEAD))
            if flags & LAST:
                self.serve(id)
        elif type == HALF_CLOSE:
            self.serve(id)
        elif type == STATUS:
            call.status = decode_status(payload)
        elif type == CANCEL:
            self.cancelled.append((id, payload[0]))
            if id in self.incoming:
                self.frame(STATUS, id, encode_status(1, "cancelled"))
        elif type == CREDIT:
            self.credited[id] += struct.unpack("<Q", payload)[0]
        elif type == REFUSED:
            call.status = decode_status(payload) if payload else dict(code=14, id="refused", message="refused")
        elif type == PING:
            self.frame(PONG, id)
        elif type == PONG:
            self.pongs.add(id)

    def serve(self, id):
        opened = self.incoming[id]
        function = self.services.get(f"{opened['service']}.{opened['command']}")
        if function is None:
            self.frame(STATUS, id, encode_status(5, f"no {opened['service']}", "S1002"))
            return
        try:
            answers = function(*self.incoming_messages[id])
        except ValueError as error:
            self.frame(STATUS, id, encode_status(*error.args[0]))
            return
        if answers is None:
            return  # never answered
        for answer in answers:
            self.send_message(id, answer)
        self.frame(STATUS, id, encode_status())
