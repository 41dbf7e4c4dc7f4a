"""What a handler sees: its Call, the services that it calls, and streams in and out.

Each object here is the `owner` of a handle of the extension, or stands before one: the runtime routes an event to
`handle.owner.on_event(event)`. Everything runs on the thread of the runtime.
"""

from __future__ import annotations


from ._error import CANCELLED, DEADLINE_EXCEEDED, INTERNAL, NAMES, Error
from ._json import dumps, loads, renamed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping
    from typing import Any, Generic, TypeVar

    from ._runtime import Runtime

    T = TypeVar("T")
else:
    from _collections import deque  # without the rest of collections: a worker's start pays for each import

    GenericAlias = type(list[int])


# The numbers of shunt.h.
EVENT_CALL = 1
EVENT_MESSAGE = 2
EVENT_HALF_CLOSE = 3
EVENT_CANCEL = 4
EVENT_CREDIT = 5
EVENT_END = 6
EVENT_METADATA = 7
EVENT_DRAIN = 8
EVENT_LOST = 9
EVENT_BEGIN = 100  # our own: the request of a call that waits for it has come

EVENTS_MAX = 64  # of one poll

FLAG_LAST = 2

SENT_MORE = 0
SENT_HELD = 1
SENT_ENDED = 2

CANCEL_CALLER = 1
CANCEL_DEADLINE = 2

RAW = "application/octet-stream"

_KINDS = ("none", "service", "gateway", "operator", "node")
_LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3}


class Principal:
    """Who is calling: set by the receiving side from the link, never from what the caller says of itself."""

    __slots__ = ("kind", "service", "user")

    def __init__(self, kind: str, service: str, user: str) -> None:
        self.kind = kind  #: "service", "gateway", "operator" (the command line), "node" or "none"
        self.service = service  #: the caller's full name, of kind "service"
        self.user = user  #: on whose behalf, or ""

    def __repr__(self) -> str:
        return f"Principal(kind={self.kind!r}, service={self.service!r}, user={self.user!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Principal):
            return NotImplemented
        return (self.kind, self.service, self.user) == (other.kind, other.service, other.user)


class Log:
    """The service's log: what is written here and what goes to stdout and stderr stand in `shunt logs`."""

    __slots__ = ("_worker",)

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def debug(self, text: str, *arguments: Any) -> None:
        self._write(0, text, arguments)

    def info(self, text: str, *arguments: Any) -> None:
        self._write(1, text, arguments)

    def warning(self, text: str, *arguments: Any) -> None:
        self._write(2, text, arguments)

    def error(self, text: str, *arguments: Any) -> None:
        self._write(3, text, arguments)

    def _write(self, level: int, text: str, arguments: tuple[Any, ...]) -> None:
        self._worker.log(level, str(text) % arguments if arguments else str(text))


class Call:
    """The call that a handler serves: its first parameter, when that is named `call`."""

    __slots__ = ("_handle", "_is_async", "_metadata", "_runtime", "command", "reply_metadata", "trailers")

    def __init__(self, runtime: Runtime, handle: Any, command: str, is_async: bool) -> None:
        self._runtime = runtime
        self._handle = handle
        self._is_async = is_async
        self._metadata: dict[str, str | bytes] | None = None
        self.command = command  #: the command's name
        #: Metadata to send before the answer, such as {"content-type": "image/png"} for one of bytes.
        self.reply_metadata: dict[str, str | bytes] = {}
        #: Metadata to send after the answer.
        self.trailers: dict[str, str | bytes] = {}

    @property
    def deadline(self) -> float | None:
        """When the caller stops waiting, in seconds of time.monotonic(); None without one."""
        nanoseconds: int | None = self._handle.deadline_ns
        return None if nanoseconds is None else nanoseconds / 1e9

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, at least 0; None without one."""
        nanoseconds: int | None = self._handle.deadline_ns
        if nanoseconds is None:
            return None
        now: int = self._runtime.worker.now()
        return max(0.0, (nanoseconds - now) / 1e9)

    @property
    def cancelled(self) -> bool:
        """True when nobody waits for the answer any more: the caller gave up, or the deadline has passed.

        An async handler is cancelled by asyncio and seldom needs it; a long sync handler reads it now and then.
        """
        if not self._handle.cancelled and not self._is_async and self._handle.is_open:
            self._runtime.pump(0)
        return bool(self._handle.cancelled)

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """What came with the call: the first value of each key; bytes for keys that end in -bin."""
        if self._metadata is None:
            self._metadata = {}
            for key, value in self._handle.metadata():
                self._metadata.setdefault(key, value)
        return self._metadata

    @property
    def metadata_all(self) -> tuple[tuple[str, str | bytes], ...]:
        """The same in the order it came, with every value of repeated keys."""
        pairs: tuple[tuple[str, str | bytes], ...] = self._handle.metadata()
        return pairs

    @property
    def principal(self) -> Principal:
        """Who is calling."""
        kind, service, user = self._handle.principal()
        return Principal(_KINDS[kind] if kind < len(_KINDS) else "none", service, user)

    @property
    def log(self) -> Log:
        """The service's log."""
        return Log(self._runtime.worker)

    def service(self, name: str) -> ServiceClient:
        """Another service, to be called on behalf of this call: its deadline, its user and its trace travel along, and
        when it is cancelled so are the calls it made. What a service may call stands in `uses` in its manifest."""
        kind = AsyncServiceClient if self._is_async else SyncServiceClient
        return kind(self._runtime, name, self._handle, None, (), False)

    def __repr__(self) -> str:
        return f"<shunt.Call {self.command}>"


# Calls to others ------------------------------------------------------------------------------------------------------


def parse_seconds(value: float | str) -> float:
    """Seconds from a number of them, or from a text with its unit: "250ms", "2s", "1m", "1h"."""
    if isinstance(value, str):
        for unit, factor in (("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
            if value.endswith(unit):
                try:
                    seconds = float(value.removesuffix(unit)) * factor
                except ValueError:
                    break
                if seconds > 0:
                    return seconds
                break
        raise ValueError(f'{value!r} is no duration: write seconds, or a text with its unit such as "250ms" or "2s"')
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
        raise ValueError(f'{value!r} is no duration: write seconds, or a text with its unit such as "250ms" or "2s"')
    return float(value)


def metadata_pairs(metadata: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]]) -> tuple[Any, ...]:
    items = metadata.items() if hasattr(metadata, "items") else metadata
    return tuple((key.lower(), value) for key, value in items)


def wake(of: Any, slot: str) -> None:
    """Ends the wait of whoever stored a future in that slot."""
    waiter = getattr(of, slot)
    if waiter is not None:
        setattr(of, slot, None)
        if not waiter.done():
            waiter.set_result(None)


class Outgoing:
    """One call to another service: what has come of it and has not been read yet."""

    __slots__ = (
        "credit_waiter",
        "failure",
        "handle",
        "held",
        "inbox",
        "is_raw",
        "is_stream",
        "runtime",
        "status",
        "target",
        "waiter",
    )

    def __init__(self, runtime: Runtime, target: str, is_stream: bool, is_raw: bool) -> None:
        self.runtime = runtime
        self.target = target
        self.is_stream = is_stream
        self.is_raw = is_raw
        self.inbox: deque[tuple[bytes, int]] = deque()
        self.status: Any = None  # the END event
        self.held = False
        self.waiter: Any = None  # the future of who waits for an answer: async only
        self.credit_waiter: Any = None  # and of who waits to send
        self.failure: BaseException | None = None  # of the iterator that gives the requests
        self.handle: Any = None

    def on_event(self, event: tuple[Any, ...]) -> None:
        kind = event[0]
        if kind == EVENT_MESSAGE:
            self.inbox.append((event[2], event[3]))
            if not self.is_stream:
                return  # END is near
        elif kind == EVENT_END:
            self.status = event
            self.handle.release()
        elif kind == EVENT_METADATA:
            for key, value in event[2]:
                if key == "content-type" and not value.startswith("application/json"):
                    self.is_raw = True
            return
        elif kind == EVENT_CREDIT:
            self.held = False
            wake(self, "credit_waiter")
            return
        self.wake()

    def wake(self) -> None:
        wake(self, "waiter")
        if self.status is not None:
            wake(self, "credit_waiter")

    def abandon(self) -> None:
        """Nobody reads it any more: cancels what has not ended."""
        if self.status is None and self.handle is not None:
            self.status = (EVENT_END, self.handle, CANCELLED, "", "abandoned", "", 0, ())
            self.handle.release()
            self.runtime.flush_soon()

    def take(self) -> Any:
        data, cost = self.inbox.popleft()
        self.handle.consume(cost)
        return self.decode(data)

    def decode(self, data: bytes) -> Any:
        if self.is_raw:
            return data
        if not data:
            return None
        try:
            return loads(data.decode())
        except (ValueError, RecursionError) as error:
            raise Error(INTERNAL, f"the answer of {self.target} is not JSON: {error}") from None

    def check_status(self) -> None:
        """Raises what the call ended with, unless that was ok."""
        _, _, code, id, message, details, retry, _ = self.status
        if code != 0:
            raise Error(code if 0 < code < len(NAMES) else 2, message, read_details(details), id=id, retry=retry)

    def result(self) -> Any:
        """Of a unary call that has ended."""
        if self.failure is not None:
            raise self.failure
        self.check_status()
        if not self.inbox:
            return None
        if len(self.inbox) > 1:
            raise Error(INTERNAL, f"{self.target} answered {len(self.inbox)} messages; use .stream() to read them")
        return self.take()


def read_details(text: str) -> list[Any] | None:
    if not text:
        return None
    try:
        found = loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else [found]


class ServiceClient:
    """A service that can be called: `call.service("prices")`. Its commands are its methods."""

    __slots__ = ("_deadline", "_handle", "_is_raw", "_metadata", "_name", "_runtime")

    def __init__(
        self, runtime: Runtime, name: str, handle: Any, timeout: float | None, metadata: tuple[Any, ...], is_raw: bool
    ) -> None:
        self._runtime = runtime
        self._name = name
        self._handle = handle
        self._deadline = timeout
        self._metadata = metadata
        self._is_raw = is_raw

    def with_options(
        self,
        *,
        timeout: float | str | None = None,
        metadata: Mapping[str, str | bytes] | None = None,
        raw: bool | None = None,
    ) -> Any:
        """The same service with another time limit for each call (seconds, or "250ms"), with metadata to send along, or
        with `raw=True`, which gives answers as the bytes that came. The caller's own deadline holds in any case."""
        return type(self)(
            self._runtime,
            self._name,
            self._handle,
            self._deadline if timeout is None else parse_seconds(timeout),
            self._metadata if metadata is None else self._metadata + metadata_pairs(metadata),
            self._is_raw if raw is None else raw,
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Method(self, name)

    def __repr__(self) -> str:
        return f"<shunt service {self._name}>"

    def _open(self, command: str, body: tuple[Any, ...], arguments: dict[str, Any], is_stream: bool) -> tuple[Any, Any]:
        """The call, opened, and the iterator of its requests when they stream."""
        if len(body) > 1 or (body and arguments):
            raise TypeError(f"{self._name}.{command}: give either one request or named arguments")
        metadata = self._metadata
        requests = None
        data: bytes | None
        if not body:
            if any(name.endswith("_") for name in arguments):
                arguments = renamed(arguments)
            data = dumps(arguments)
        else:
            request = body[0]
            if isinstance(request, (bytes, bytearray, memoryview)):
                data = bytes(request)
                if not any(key == "content-type" for key, _ in metadata):
                    metadata = (*metadata, ("content-type", RAW))
            elif hasattr(request, "__anext__") or hasattr(request, "__aiter__") or hasattr(request, "__next__"):
                requests = request
                data = None
            else:
                data = dumps(request)
        runtime = self._runtime
        target = f"{self._name}.{command}"
        outgoing = Outgoing(runtime, target, is_stream, self._is_raw)
        deadline = None if self._deadline is None else runtime.worker.now() + int(self._deadline * 1e9)
        handle = runtime.worker.open(target, data, requests is None, deadline, metadata or None, self._handle)
        outgoing.handle = handle
        handle.owner = outgoing
        return outgoing, requests


class Method:
    """One command of a service, bound: `prices.get`."""

    __slots__ = ("_client", "_name")

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def __call__(self, *body: Any, **arguments: Any) -> Any:
        return self._client._unary(self._name, body, arguments)

    def __repr__(self) -> str:
        return f"<shunt command {self._client._name}.{self._name}>"


def encode_message(value: Any) -> bytes:
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else dumps(value)


class SyncServiceClient(ServiceClient):
    """A service as a sync handler calls it: a call blocks until it is answered."""

    __slots__ = ()

    def call(self, command: str, /, *body: Any, **arguments: Any) -> Any:
        """Calls a command whose name is no identifier, or is chosen at run time."""
        return self._unary(command, body, arguments)

    def stream(self, command: str, /, *body: Any, **arguments: Any) -> Iterator[Any]:
        """Calls a command that streams its answer; iterate over it."""
        outgoing, requests = self._open(command, body, arguments, True)
        return SyncAnswers(outgoing, iter(requests) if requests is not None else None)

    def _unary(self, command: str, body: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
        outgoing, requests = self._open(command, body, arguments, False)
        pump = self._runtime.pump
        try:
            if requests is not None:
                for request in requests:
                    while outgoing.held and outgoing.status is None:
                        pump(-1)
                    if outgoing.status is not None:
                        break
                    outgoing.held = outgoing.handle.send(encode_message(request)) == SENT_HELD
                if outgoing.status is None:
                    outgoing.handle.half_close()
            while outgoing.status is None:
                pump(-1)
        except BaseException:
            outgoing.abandon()
            raise
        return outgoing.result()


class SyncAnswers:
    """The streamed answer of a call made by a sync handler."""

    __slots__ = ("_outgoing", "_requests")

    def __init__(self, outgoing: Outgoing, requests: Iterator[Any] | None) -> None:
        self._outgoing = outgoing
        self._requests = requests

    def __iter__(self) -> SyncAnswers:
        return self

    def __next__(self) -> Any:
        outgoing = self._outgoing
        while not outgoing.inbox:
            if outgoing.status is not None:
                outgoing.check_status()
                raise StopIteration
            if self._requests is not None and not outgoing.held:
                self._send_one(outgoing)
            else:
                outgoing.runtime.pump(-1)
        return outgoing.take()

    def _send_one(self, outgoing: Outgoing) -> None:
        try:
            request = next(self._requests)  # type: ignore[arg-type]
        except StopIteration:
            self._requests = None
            outgoing.handle.half_close()
            return
        except BaseException:
            outgoing.abandon()
            raise
        outgoing.held = outgoing.handle.send(encode_message(request)) == SENT_HELD
        outgoing.runtime.pump(0)

    def close(self) -> None:
        """Gives up on what has not come yet: the other service sees a cancellation."""
        self._outgoing.abandon()

    def __del__(self) -> None:
        self._outgoing.abandon()


class AsyncServiceClient(ServiceClient):
    """A service as an async handler calls it: a call is awaited."""

    __slots__ = ()

    def call(self, command: str, /, *body: Any, **arguments: Any) -> Awaitable[Any]:
        """Calls a command whose name is no identifier, or is chosen at run time."""
        return self._unary(command, body, arguments)

    def stream(self, command: str, /, *body: Any, **arguments: Any) -> AsyncIterator[Any]:
        """Calls a command that streams its answer; iterate over it with `async for`."""
        return AsyncAnswers(self, command, body, arguments)

    async def _unary(self, command: str, body: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
        outgoing, requests = self._open(command, body, arguments, False)
        runtime = self._runtime
        runtime.flush_soon()
        sender = None
        try:
            if requests is not None:
                sender = runtime.loop.create_task(_send_all(outgoing, requests))
                sender.add_done_callback(outgoing_sender_done)
            while outgoing.status is None and outgoing.failure is None:
                outgoing.waiter = runtime.loop.create_future()
                await outgoing.waiter
        except BaseException:
            outgoing.abandon()
            raise
        finally:
            if sender is not None and not sender.done():
                sender.cancel()
        return outgoing.result()


def outgoing_sender_done(task: Any) -> None:
    if not task.cancelled():
        task.exception()  # seen: _send_all has kept it in outgoing.failure


async def _send_all(outgoing: Outgoing, requests: Any) -> None:
    """Sends the requests of a streaming call as its credit allows."""
    runtime = outgoing.runtime
    try:
        if hasattr(requests, "__aiter__"):
            async for request in requests:
                if not await _send_one(outgoing, request):
                    return
        else:
            for request in requests:
                if not await _send_one(outgoing, request):
                    return
        if outgoing.status is None:
            outgoing.handle.half_close()
            runtime.flush_soon()
    except BaseException as error:
        outgoing.failure = error
        outgoing.abandon()
        outgoing.wake()


async def _send_one(outgoing: Outgoing, request: Any) -> bool:
    runtime = outgoing.runtime
    while outgoing.held and outgoing.status is None:
        outgoing.credit_waiter = runtime.loop.create_future()
        await outgoing.credit_waiter
    if outgoing.status is not None:
        return False
    sent: int = outgoing.handle.send(encode_message(request))
    runtime.flush_soon()
    outgoing.held = sent == SENT_HELD
    return sent != SENT_ENDED


class AsyncAnswers:
    """The streamed answer of a call made by an async handler. The call is opened when it is first read."""

    __slots__ = ("_begin", "_outgoing", "_sender")

    def __init__(self, client: AsyncServiceClient, command: str, body: tuple[Any, ...], arguments: dict[str, Any]) -> None:
        self._begin: Any = (client, command, body, arguments)
        self._outgoing: Any = None
        self._sender: Any = None

    def __aiter__(self) -> AsyncAnswers:
        return self

    async def __anext__(self) -> Any:
        outgoing = self._outgoing
        if outgoing is None:
            outgoing = self._open()
        while not outgoing.inbox:
            if outgoing.failure is not None:
                raise outgoing.failure
            if outgoing.status is not None:
                outgoing.check_status()
                raise StopAsyncIteration
            outgoing.waiter = outgoing.runtime.loop.create_future()
            try:
                await outgoing.waiter
            except BaseException:
                self._stop()
                raise
        value = outgoing.take()
        outgoing.runtime.flush_soon()  # the credit
        return value

    def _open(self) -> Outgoing:
        client, command, body, arguments = self._begin
        if client is None:
            raise StopAsyncIteration
        self._begin = (None, "", (), {})
        outgoing: Outgoing
        outgoing, requests = client._open(command, body, arguments, True)
        self._outgoing = outgoing
        outgoing.runtime.flush_soon()
        if requests is not None:
            self._sender = outgoing.runtime.loop.create_task(_send_all(outgoing, requests))
            self._sender.add_done_callback(outgoing_sender_done)
        return outgoing

    def _stop(self) -> None:
        self._begin = (None, "", (), {})
        if self._sender is not None and not self._sender.done():
            self._sender.cancel()
        if self._outgoing is not None:
            self._outgoing.abandon()

    async def aclose(self) -> None:
        """Gives up on what has not come yet: the other service sees a cancellation."""
        self._stop()

    def __del__(self) -> None:
        self._stop()


# Streams coming in ----------------------------------------------------------------------------------------------------


if TYPE_CHECKING:

    class Stream(Generic[T]):
        """The requests of a call whose caller streams."""

        def __init__(self, run: Any, read: Any) -> None: ...
        def __aiter__(self) -> AsyncIterator[T]: ...
        def __iter__(self) -> Iterator[T]: ...
        async def __anext__(self) -> T: ...
        def __next__(self) -> T: ...

else:

    class Stream:  # typing.Generic would cost an import at a worker's start
        """The requests of a call whose caller streams: iterate with `async for` in an async handler, `for` in a sync one.

        As a hint, `Stream[Item]` says that each message is an Item.
        """

        __slots__ = ("_read", "_run")
        __class_getitem__ = classmethod(GenericAlias)

        def __init__(self, run, read):
            self._run = run
            self._read = read

        def __aiter__(self):
            return self

        def __iter__(self):
            return self

        async def __anext__(self):
            run = self._run
            while not run.inbox:
                if run.no_more:
                    raise StopAsyncIteration
                run.check_cancelled()
                run.waiter = run.runtime.loop.create_future()
                await run.waiter
            value = self._take()
            run.runtime.flush_soon()  # the credit
            return value

        def __next__(self):
            run = self._run
            while not run.inbox:
                if run.no_more:
                    raise StopIteration
                run.check_cancelled()
                run.runtime.pump(-1)
            return self._take()

        def _take(self):
            run = self._run
            index = run.taken
            run.taken += 1
            data, cost = run.inbox.popleft()
            run.handle.consume(cost)
            return self._read(data, index)


def cancelled_error(reason: int) -> Error:
    if reason == CANCEL_DEADLINE:
        return Error(DEADLINE_EXCEEDED, "the call's deadline has passed", id="S1004")
    return Error(CANCELLED, "the caller gave up", id="S1012")


for _class in (Principal, Log, Call, ServiceClient, Stream):
    _class.__module__ = "shunt"
