"""Calls a service's commands in tests, without a node.

    from shunt.testing import Client
    import cart

    def test_total():
        client = Client(cart.service, services={"prices": {"get": lambda sku: {"cents": 995}}})
        assert client.call("total", items=[{"sku": "tea", "count": 2}]) == {"cents": 1990}

The service runs in the same runtime as in a worker; only the link to the node is played. Arguments and answers go through
JSON, hints are checked, errors come as shunt.Error.
"""

from __future__ import annotations

import os
import time
from collections import deque

from ._call import (
    CANCEL_CALLER,
    EVENT_CALL,
    EVENT_CANCEL,
    EVENT_CREDIT,
    EVENT_DRAIN,
    EVENT_END,
    EVENT_HALF_CLOSE,
    EVENT_MESSAGE,
    EVENT_METADATA,
    FLAG_LAST,
    SENT_ENDED,
    SENT_HELD,
    SENT_MORE,
    _KINDS,
    encode_message,
    metadata_pairs,
    parse_seconds,
    read_details,
)
from ._error import NAMES, Error
from ._json import dumps, loads
from ._runtime import make, serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ._service import Service


class FakeHandle:
    """One end of a call, as the extension's Handle."""

    def __init__(self, worker: FakeWorker, incoming: bool, deadline_ns: int | None = None) -> None:
        self.worker = worker
        self.incoming = incoming
        self.owner: Any = None
        self.deadline_ns = deadline_ns
        self.is_open = True
        self.cancel_reason = 0
        self.pairs: tuple[tuple[str, Any], ...] = ()
        self.caller: tuple[int, str, str] = (1, "tests", "")
        self.sent: list[bytes] = []
        self.reply_metadata: list[tuple[str, Any]] = []
        self.trailers: tuple[Any, ...] = ()
        self.status: tuple[int, str, str, str, int] | None = None
        self.credit: int | None = None  # messages that may be sent before SENT_HELD
        self.requests: list[bytes] = []  # outgoing: what was sent after the first
        self.consumed = 0
        self.on_sent: Callable[[FakeHandle], None] | None = None
        self.on_requests: Callable[[], None] | None = None
        self.cancelled_by_us = False

    @property
    def cancelled(self) -> int:
        if not self.cancel_reason and self.deadline_ns is not None and self.deadline_ns <= time.monotonic_ns():
            self.cancel_reason = 2
        return self.cancel_reason

    def metadata(self) -> tuple[tuple[str, Any], ...]:
        return self.pairs

    def principal(self) -> tuple[int, str, str]:
        return self.caller

    def send(self, data: bytes) -> int:
        assert isinstance(data, bytes)
        if not self.is_open or self.cancel_reason:
            return SENT_ENDED
        if not self.incoming:
            self.requests.append(data)
            return SENT_MORE
        self.sent.append(data)
        if self.on_sent is not None:
            self.on_sent(self)
        if self.credit is not None:
            self.credit -= 1
            if self.credit <= 0:
                return SENT_HELD
        return SENT_MORE

    def half_close(self) -> None:
        if self.on_requests is not None:
            self.on_requests()

    def consume(self, cost: int) -> None:
        self.consumed += cost

    def send_metadata(self, pairs: Iterable[tuple[str, Any]]) -> None:
        assert not self.sent, "metadata goes before the first message"
        self.reply_metadata.extend(pairs)

    def answer(self, data: bytes, trailers: Any = None) -> None:
        assert isinstance(data, bytes)
        if self.is_open:
            self.sent.append(data)
            self.end(trailers)

    def end(self, trailers: Any = None) -> None:
        if self.is_open:
            self.trailers = trailers or ()
            self.status = (0, "", "", "", 0)
            self.release()

    def fail(self, code: int, message: str, id: str, details: str, retry: int, trailers: Any = None) -> None:
        if self.is_open:
            self.trailers = trailers or ()
            self.status = (code, message, id, details, retry)
            self.release()

    def cancel(self, reason: int) -> None:
        self.cancelled_by_us = True

    def release(self) -> None:
        if self.is_open:
            self.is_open = False
            if self.incoming:
                self.worker.calls -= 1
            elif self.status is None:
                self.cancelled_by_us = True


class FakeWorker:
    """The extension's Worker, with a script of events in place of a node. When it has no more it drains."""

    def __init__(self, services: Mapping[str, Any] | None = None) -> None:
        self.queue: deque[Any] = deque()
        self.services = services or {}
        self.calls = 0
        self.flushes = 0
        self.logged: list[tuple[int, str]] = []
        self.opened: list[tuple[str, bytes | None, int | None, Any, Any]] = []
        self.drained = False
        self.drain_when_idle = True
        self._pipe: tuple[int, int] | None = None

    def now(self) -> int:
        return time.monotonic_ns()

    def poll(self, timeout_ns: int) -> list[Any]:
        if self.queue:
            events = list(self.queue)
            self.queue.clear()
            # What is in the script is not known before it is polled: that holds for a cancellation too.
            for event in events:
                if event[0] == EVENT_CANCEL:
                    event[1].cancel_reason = event[2]
            return events
        if (timeout_ns < 0 or self._pipe is not None) and self.drain_when_idle:
            if not self.drained:
                self.drained = True
                return [(EVENT_DRAIN, None)]
        if timeout_ns < 0:
            raise RuntimeError("the handler waits for something that never comes")
        return []

    def fd(self) -> int:
        if self._pipe is None:
            self._pipe = os.pipe()
            os.write(self._pipe[1], b"x")  # always readable: the script may go on at any time
        return self._pipe[0]

    def signal_fd(self) -> int:
        return -1

    def close(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe[0])
            os.close(self._pipe[1])
            self._pipe = None

    def idle_ns(self) -> int:
        return -1

    def flush(self) -> None:
        self.flushes += 1

    def log(self, level: int, text: str) -> None:
        self.logged.append((level, text))

    def incoming(self, command: str, data: bytes | None, *, last: bool = True, deadline_ns: int | None = None) -> FakeHandle:
        """Scripts a call."""
        handle = FakeHandle(self, True, deadline_ns)
        self.calls += 1
        self.queue.append((EVENT_CALL, handle, command, data, FLAG_LAST if last else 0))
        return handle

    def message(self, handle: FakeHandle, data: bytes, *, last: bool = False) -> None:
        self.queue.append((EVENT_MESSAGE, handle, data, len(data), FLAG_LAST if last else 0))

    def half_close(self, handle: FakeHandle) -> None:
        self.queue.append((EVENT_HALF_CLOSE, handle))

    def credit(self, handle: FakeHandle) -> None:
        self.queue.append((EVENT_CREDIT, handle))

    def cancel(self, handle: FakeHandle, reason: int = CANCEL_CALLER) -> None:
        self.queue.append((EVENT_CANCEL, handle, reason))

    def open(
        self, target: str, data: bytes | None, last: bool, deadline_ns: int | None, metadata: Any, parent: Any
    ) -> FakeHandle:
        self.opened.append((target, data, deadline_ns, metadata, parent))
        handle = FakeHandle(self, False)
        if last:
            self._answer(handle, target, data or b"")
        else:
            handle.on_requests = lambda: self._answer(handle, target, None)
        return handle

    def _answer(self, handle: FakeHandle, target: str, data: bytes | None) -> None:
        service, _, command = target.rpartition(".")
        status: tuple[int, str, str, str, int] = (0, "", "", "", 0)
        try:
            function = self._find(service, command)
            if data is None:
                result = function([loads(each.decode()) for each in handle.requests])
            else:
                try:
                    request = loads(data.decode()) if data else {}
                except ValueError:
                    request = data
                result = function(**request) if isinstance(request, dict) else function(request)
            if isinstance(result, (bytes, bytearray)):
                self.queue.append((EVENT_METADATA, handle, (("content-type", "application/octet-stream"),)))
            for message in result if hasattr(result, "__next__") else (result,):
                encoded = encode_message(message)
                self.queue.append((EVENT_MESSAGE, handle, encoded, len(encoded), 0))
        except Error as error:
            details = dumps(error.details).decode() if error.details else ""
            status = (error._number, error.message, error.id, details, error.retry)
        code, message, id, details, retry = status
        handle.status = status
        self.queue.append((EVENT_END, handle, code, id, message, details, retry, ()))

    def _find(self, service: str, command: str) -> Any:
        if service not in self.services:
            raise Error("not_found", f'no service "{service}" was given to the test client', id="S1002")
        commands = self.services[service]
        found = commands.get(command) if hasattr(commands, "get") else getattr(commands, command, None)
        if found is None:
            raise Error("unimplemented", f'the test\'s service "{service}" has no command "{command}"', id="S1005")
        return found


class Answer:
    """What came back: `messages`, and the `metadata` and `trailers` around them."""

    def __init__(self, handle: FakeHandle, parse: Any = None) -> None:
        self.metadata: dict[str, Any] = dict(handle.reply_metadata)
        self.trailers: dict[str, Any] = dict(handle.trailers)
        raw = "content-type" in self.metadata and self.metadata["content-type"] != "application/json"
        if parse is None:
            parse = bytes if raw else lambda each: loads(each.decode())
        self.messages: list[Any] = [parse(each) for each in handle.sent]


class Client:
    """Calls the commands of a service.

    `services` are the others that it may call: for each name a dict (or an object) of plain functions, which get the
    request as keyword arguments; a generator streams.
    """

    def __init__(self, service: Service, *, services: Mapping[str, Any] | None = None) -> None:
        self.service = service
        self.services = services
        self.log: list[tuple[int, str]] = []  #: what handlers wrote with call.log: (level, text)

    def call(self, command: str, /, *body: Any, **arguments: Any) -> Any:
        """The answer of a command: of one that streams, a list."""
        answer = self.request(command, body[0] if body else arguments)
        kind = self.service.commands[command].definition()["stream"]
        return answer.messages if kind in ("server", "both") else answer.messages[0]

    def request(
        self,
        command: str,
        request: Any = None,
        *,
        stream: Iterable[Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        timeout: float | str | None = None,
        principal: tuple[str, str, str] = ("service", "tests", ""),
    ) -> Answer:
        """One call with everything around it. `stream` gives the requests of a command that takes a stream; `principal` is
        the kind, service and user of the caller."""
        worker = FakeWorker(self.services)
        known = self.service.commands.get(command)
        encode: Any = encode_message
        parse: Any = None
        if known is not None and known.is_proto:  # messages of protobuf, or their bytes
            encode = lambda each: each.SerializeToString() if hasattr(each, "SerializeToString") else bytes(each or b"")
            parse = known.response_message.FromString if known.response_message is not None else bytes
        deadline = None if timeout is None else worker.now() + int(parse_seconds(timeout) * 1e9)
        if stream is None:
            data = encode({} if request is None else request)
            handle = worker.incoming(command, data, deadline_ns=deadline)
        else:
            handle = worker.incoming(command, None, last=False, deadline_ns=deadline)
            for each in stream:
                worker.message(handle, encode(each))
            worker.half_close(handle)
        handle.pairs = metadata_pairs(metadata or {})
        handle.caller = (_KINDS.index(principal[0]), principal[1], principal[2])
        self._run(worker)
        self.log += worker.logged
        assert handle.status is not None
        code, message, id, details, retry = handle.status
        if code != 0:
            raise Error(code if code < len(NAMES) else 2, message, read_details(details), id=id, retry=retry)
        return Answer(handle, parse)

    def _run(self, worker: FakeWorker) -> None:
        service = self.service
        runtime = make(service.commands, worker, (*service._on_start, *service._on_stop))
        service._runtime = runtime
        try:
            serve(service, runtime)
        finally:
            service._runtime = None
            worker.close()
