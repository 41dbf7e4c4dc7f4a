"""The runtime of a worker: takes events from the extension, runs handlers, sends what they answer.

Runtime serves a service of sync handlers, without asyncio. AsyncRuntime (in _async.py, imported only when there is an
async handler) puts the same into an asyncio loop. Sync handlers run one at a time, here, in the main thread. While one
waits for another service it pumps: events of calls in progress go to their owners, new calls stay in the queue.

Answers leave in batches: the next poll writes them. An answer must not wait for a slow handler after it, so before a
handler that was slow lately (`Command.slow`) what is unsent is written first.
"""

from __future__ import annotations

import os
import sys
from time import monotonic_ns

from ._call import (
    EVENT_BEGIN,
    EVENT_CALL,
    EVENT_CANCEL,
    EVENT_CREDIT,
    EVENT_DRAIN,
    EVENT_HALF_CLOSE,
    EVENT_LOST,
    EVENT_MESSAGE,
    FLAG_LAST,
    RAW,
    SENT_ENDED,
    SENT_HELD,
    Call,
    Stream,
    SyncServiceClient,
    cancelled_error,
    metadata_pairs,
    wake,
)
from ._command import ASYNC, SYNC_GENERATOR, Command
from ._error import INTERNAL, UNIMPLEMENTED, Error
from ._json import dumps, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any
else:
    from _collections import deque

#: A handler that took longer is slow, and for how many quick runs after it.
_SLOW_NS = 100_000
_SLOW_RUNS = 64


class Run:
    """One call in progress whose handler is not a plain function with its request at hand."""

    __slots__ = (
        "answered",
        "begun",
        "call",
        "command",
        "credit_waiter",
        "entered",
        "generator",
        "handle",
        "held",
        "inbox",
        "no_more",
        "queued",
        "runtime",
        "taken",
        "task",
        "waiter",
    )

    def __init__(self, runtime: Runtime, command: Command, handle: Any) -> None:
        self.runtime = runtime
        self.command = command
        self.handle = handle
        self.call: Any = None
        self.inbox: deque[tuple[bytes, int]] = deque()  # requests of a stream, not read yet
        self.taken = 0
        self.no_more = False  # the caller has sent its last
        self.begun = False  # the handler's turn has been queued
        self.entered = False  # async: its body runs
        self.answered = False  # the first message (and its metadata) has been sent
        self.held = False
        self.queued = False  # sync generator: stands in `runnable`
        self.generator: Any = None
        self.task: Any = None
        self.waiter: Any = None
        self.credit_waiter: Any = None

    def on_event(self, event: tuple[Any, ...]) -> None:
        kind = event[0]
        if kind == EVENT_MESSAGE:
            if event[4] & FLAG_LAST:
                self.no_more = True
            if self.command.stream_parameter:
                self.inbox.append((event[2], event[3]))
                wake(self, "waiter")
            else:
                self.handle.consume(event[3])
                self.begin(event[2])
        elif kind == EVENT_HALF_CLOSE:
            self.no_more = True
            wake(self, "waiter")
            self.begin(b"")
        elif kind == EVENT_CREDIT:
            self.held = False
            wake(self, "credit_waiter")
            if self.generator is not None:
                self.runtime.make_runnable(self)
        elif kind == EVENT_CANCEL:
            self.cancel()

    def begin(self, data: bytes) -> None:
        """Queues the handler's turn: an event may come while another handler runs."""
        if not self.begun:
            self.begun = True
            self.runtime.events.append((EVENT_BEGIN, self.handle, data))

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()
            if not self.entered:  # its body will never run
                self.finish_cancelled()
        elif self.generator is not None:
            self.held = False
            self.runtime.make_runnable(self)  # closed there: it may be the one that is running
        elif not self.begun:
            self.begun = True
            self.finish_cancelled()

    def finish_cancelled(self) -> None:
        fail(self.handle, cancelled_error(self.handle.cancelled))

    def check_cancelled(self) -> None:
        reason = self.handle.cancelled
        if reason:
            raise cancelled_error(reason)

    def arguments(self, data: bytes) -> dict[str, Any]:
        command = self.command
        if command.stream_parameter:
            return {command.stream_parameter: Stream(self, command.read_stream)}
        return command.read(data)

    def send(self, value: Any) -> int:
        """Sends one message of a streamed answer."""
        if isinstance(value, (bytes, bytearray, memoryview)):
            data = bytes(value)
            is_raw = not self.command.is_proto
        else:
            data = dumps_answer(self.command, value)
            is_raw = False
        if not self.answered:
            self.answered = True
            send_metadata(self.handle, self.call, is_raw)
        sent: int = self.handle.send(data)
        self.held = sent == SENT_HELD
        return sent


class Runtime:
    """A worker without an event loop of its own: for services of sync handlers."""

    is_async = False
    loop: Any = None

    def __init__(self, commands: dict[str, Command], worker: Any) -> None:
        from _thread import get_ident

        self.commands = commands
        self.worker = worker
        self.events: deque[Any] = deque()
        self.runnable: deque[Run] = deque()  # sync generators that may be stepped
        self.unsifted = False  # `events` may hold some for calls in progress
        self.unsent = False
        self.draining = False
        self.lost = False
        self._get_ident = get_ident
        self._thread = get_ident()

    # The main loop

    def run(self) -> None:
        events = self.events
        runnable = self.runnable
        worker = self.worker
        poll = worker.poll
        while True:
            while events:
                self.handle(events.popleft())
            if self.lost:
                return
            if runnable:
                self.step(runnable.popleft())
                events.extend(poll(0))
            elif self.draining and worker.calls == 0:
                return
            else:
                events.extend(poll(-1))
            self.unsifted = True
            self.unsent = False

    def handle(self, event: tuple[Any, ...]) -> None:
        """Handles one event, outside of any handler."""
        kind = event[0]
        if kind == EVENT_CALL:
            _, handle, name, data, flags = event
            command = self.commands.get(name)
            if command is None:
                self.no_such_command(handle, name)
            elif handle.cancelled:
                fail(handle, cancelled_error(handle.cancelled))
            elif data is not None and command.is_simple:
                self.answer(command, handle, data)
            else:
                run = Run(self, command, handle)
                handle.owner = run
                if flags & FLAG_LAST:
                    run.no_more = True
                if command.stream_parameter:
                    if data is not None:
                        run.inbox.append((data, 0))
                    data = b""
                if data is not None or run.no_more:
                    run.begun = True
                    self.start(run, data or b"")
        elif kind == EVENT_BEGIN:
            run = event[1].owner
            if run.handle.cancelled:
                run.finish_cancelled()
            else:
                self.start(run, event[2])
        elif kind == EVENT_DRAIN:
            self.draining = True
        elif kind == EVENT_LOST:
            self.lost = True
        else:
            owner = event[1].owner
            if owner is not None:
                owner.on_event(event)

    def answer(self, command: Command, handle: Any, data: bytes) -> None:
        """Runs a plain function from its request to its answer: the short way."""
        slow = command.slow
        if slow and self.unsent:
            self.worker.flush()
        call = None
        begin = monotonic_ns()
        try:
            arguments = command.read(data)
            if command.takes_call:
                call = Call(self, handle, command.name, False)
                result = command.function(call, **arguments)
            else:
                result = command.function(**arguments)
            if monotonic_ns() - begin > _SLOW_NS:
                command.slow = _SLOW_RUNS
            elif slow:
                command.slow = slow - 1
            self.unsent = True
            finish(command, handle, call, result)
        except BaseException as error:
            self.failed(command, handle, error, call)

    def start(self, run: Run, data: bytes) -> None:
        """Runs the handler of a call that is not simple."""
        command = run.command
        handle = run.handle
        if self.unsent:
            self.worker.flush()
        try:
            arguments = run.arguments(data)
            run.call = Call(self, handle, command.name, command.is_async)
            if command.is_async:
                self.start_async(run, arguments)
                return
            function = command.function
            result = function(run.call, **arguments) if command.takes_call else function(**arguments)
            self.unsent = True
            if command.kind == SYNC_GENERATOR:
                run.generator = iter(result)
                self.make_runnable(run)
            else:
                finish(command, handle, run.call, result)
        except BaseException as error:
            self.failed(command, handle, error, run.call)

    def start_async(self, run: Run, arguments: dict[str, Any]) -> None:
        raise AssertionError("an async handler needs AsyncRuntime")

    # Sync generators

    def make_runnable(self, run: Run) -> None:
        if not run.queued and not run.held:
            run.queued = True
            self.runnable.append(run)

    def step(self, run: Run) -> None:
        """Takes one message from a generator and sends it."""
        run.queued = False
        handle = run.handle
        generator = run.generator
        if not handle.is_open:
            return
        try:
            if handle.cancelled:
                run.generator = None
                close = getattr(generator, "close", None)
                if close is not None:
                    close()
                run.finish_cancelled()
                return
            try:
                value = next(generator)
            except StopIteration:
                run.generator = None
                if not run.answered:
                    send_metadata(handle, run.call, False)
                handle.end(trailers_of(run.call))
                return
            if run.send(value) == SENT_ENDED:
                run.generator = None
                generator.close()
                handle.release()
                return
        except BaseException as error:
            run.generator = None
            self.failed(run.command, handle, error, run.call)
            return
        self.make_runnable(run)

    # Waiting inside of a handler

    def pump(self, timeout_ns: int) -> None:
        """Waits for events (negative: until some come) and gives those of calls in progress to their owners. New calls
        stay in the queue: one sync handler runs at a time."""
        if self._get_ident() != self._thread:
            raise RuntimeError("a call is for the thread that the handler runs in: other threads can't use it")
        events = self.events
        if self.unsifted:
            self.unsifted = False
            routed = False
            for _ in range(len(events)):
                event = events.popleft()
                routed |= self.route(event)
            if routed:
                return
        for event in self.worker.poll(timeout_ns):
            self.route(event)
        self.unsent = False
        if self.lost:
            raise Error("unavailable", "the node is gone", id="S1008")

    def route(self, event: tuple[Any, ...]) -> bool:
        handle = event[1]
        if handle is None:
            if event[0] == EVENT_LOST:
                self.lost = True
            else:
                self.draining = True
            return False
        owner = handle.owner if event[0] != EVENT_BEGIN else None
        if owner is None:
            self.events.append(event)
            return False
        owner.on_event(event)
        return True

    def flush_soon(self) -> None:
        """What was sent leaves with the next poll; AsyncRuntime writes at the end of its loop's turn."""

    # Ends

    def no_such_command(self, handle: Any, name: str) -> None:
        from ._types import nearest

        known = ", ".join(sorted(self.commands)) or "none"
        hint = nearest(name, self.commands)
        fail(handle, Error(UNIMPLEMENTED, f'there is no command "{name}"{hint or "; there are: " + known}', id="S1005"))

    def failed(self, command: Command, handle: Any, error: BaseException, call: Any = None) -> None:
        """Answers for a handler that raised: its Error as it is, with the trailers that it had set; all else as internal,
        with the traceback in our log."""
        self.unsent = True
        if isinstance(error, Error):
            fail(handle, error, call)
            return
        report(command, error)
        fail(
            handle,
            Error(INTERNAL, f"{command.name} failed: an exception left its handler; the service's log has it", id="S1031"),
        )

    def service(self, name: str) -> Any:
        return SyncServiceClient(self, name, None, None, (), False)


def finish(command: Command, handle: Any, call: Any, result: Any) -> None:
    """Answers a unary call."""
    if isinstance(result, (bytes, bytearray, memoryview)):
        data = bytes(result)
        send_metadata(handle, call, not command.is_proto)
    else:
        data = dumps_answer(command, result)
        if call is not None and call.reply_metadata:
            send_metadata(handle, call, False)
    if call is not None and call.trailers:
        handle.answer(data, trailers_of(call))
    else:
        handle.answer(data)


def send_metadata(handle: Any, call: Any, is_raw: bool) -> None:
    metadata = call.reply_metadata if call is not None else {}
    if is_raw and "content-type" not in metadata:
        metadata = {"content-type": RAW, **metadata}
    if metadata:
        handle.send_metadata(metadata_pairs(metadata))


def trailers_of(call: Any) -> Any:
    return metadata_pairs(call.trailers) if call is not None and call.trailers else None


def dumps_answer(command: Command, value: Any) -> bytes:
    if command.is_proto:
        return serialize_answer(command, value)
    try:
        return dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        what = "it holds itself, or is nested too deeply" if isinstance(error, RecursionError) else str(error)
        print(f"shunt: {command.name}: the answer can't be written as JSON: {what}", file=sys.stderr, flush=True)
        raise Error(
            INTERNAL, f"{command.name} gave an answer that can't be written as JSON; the service's log says why", id="S1032"
        ) from None


def serialize_answer(command: Command, value: Any) -> bytes:
    expected = command.response_message
    what = ""
    if expected is not None and not isinstance(value, expected):
        what = f"it is a {type_name(type(value))}, not a {expected.DESCRIPTOR.full_name}"
    else:
        try:
            data: bytes = value.SerializeToString()
            return data
        except Exception as error:
            what = str(error)
    print(f"shunt: {command.name}: the answer can't be written as protobuf: {what}", file=sys.stderr, flush=True)
    raise Error(
        INTERNAL,
        f"{command.name} gave an answer that can't be written as protobuf; the service's log says why",
        id="S1032",
    )


def fail(handle: Any, error: Error, call: Any = None) -> None:
    details = ""
    if error.details:
        try:
            details = dumps(error.details).decode()
        except (TypeError, ValueError, RecursionError) as problem:
            print(f"shunt: the details of {error!r} can't be written as JSON: {problem}", file=sys.stderr, flush=True)
    try:
        trailers = trailers_of(call)
    except (TypeError, ValueError, AttributeError) as problem:
        print(f"shunt: the trailers beside {error!r} can't be sent: {problem}", file=sys.stderr, flush=True)
        trailers = None
    if trailers:
        handle.fail(error._number, error.message, error.id, details, error.retry, trailers)
    else:
        handle.fail(error._number, error.message, error.id, details, error.retry)


_HERE = os.path.dirname(os.path.abspath(__file__))


def report(command: Command, error: BaseException) -> None:
    """The traceback, without our own frames at its top, in the service's log."""
    import traceback

    trace = error.__traceback__
    while trace is not None and os.path.dirname(trace.tb_frame.f_code.co_filename) == _HERE:
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    print(f"shunt: {command.name} raised {type(error).__name__}\n{text}", end="", file=sys.stderr, flush=True)


def make(commands: dict[str, Command], worker: Any, hooks: tuple[Any, ...] = ()) -> Runtime:
    from ._command import kind_of_function

    if any(command.is_async for command in commands.values()) or any(
        kind_of_function(hook) >= ASYNC for hook in hooks
    ):
        from ._async import AsyncRuntime

        return AsyncRuntime(commands, worker)
    return Runtime(commands, worker)


def run(service: Any) -> None:
    """The life of a worker process."""
    try:
        from . import _shunt
    except ImportError as error:
        sys.exit(f"shunt: the extension _shunt can't be loaded by {sys.executable} ({sys.version.split()[0]}): {error}")
    from . import __version__

    from _signal import SIGINT, signal  # type: ignore[import-not-found]  # signal, without its enums

    # Ctrl-C in a terminal reaches the whole process group; the supervisor decides what it means for a worker.
    signal(SIGINT, _ignore)
    _shunt.catch_terminate()
    definition = dumps(service.definition())
    try:
        worker = _shunt.open_worker(f"python {__version__}", definition, 0)
    except RuntimeError as error:
        sys.exit(f"shunt: {error}")
    for name in ("SHUNT_LINKS", "SHUNT_CONTROL", "SHUNT_SERVICE"):  # taken: no child of ours is this worker
        os.environ.pop(name, None)
    runtime = make(service.commands, worker, (*service._on_start, *service._on_stop))
    service._runtime = runtime
    serve(service, runtime)
    worker.flush()
    worker.close()
    if runtime.lost:
        sys.exit(1)


def _ignore(number: int, frame: Any) -> None:
    pass


def serve(service: Any, runtime: Runtime) -> None:
    """From the first hook to the last."""
    if runtime.is_async:
        runtime.serve(service)  # type: ignore[attr-defined]
        return
    for hook in service._on_start:
        hook()
    runtime.run()
    for hook in service._on_stop:
        hook()


