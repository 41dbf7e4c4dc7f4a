"""AsyncRuntime: the runtime in an asyncio loop. Imported only for services with async handlers."""

from __future__ import annotations

import asyncio

from ._call import EVENTS_MAX, SENT_ENDED, AsyncServiceClient, cancelled_error
from ._command import ASYNC_GENERATOR
from ._error import CANCELLED, Error
from ._runtime import Run, Runtime, fail, finish, send_metadata, trailers_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class AsyncRuntime(Runtime):
    """The worker's descriptor is a reader of the loop; each async call is a task; sync handlers run between them."""

    is_async = True

    def serve(self, service: Any) -> None:
        asyncio.run(self._main(service))

    async def _main(self, service: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self._flushing = False
        self._stepping = False
        self._timer: Any = None
        self._stopped = self.loop.create_future()
        self._starting = True
        # The second one wakes us when SIGTERM asks to drain.
        fds = [fd for fd in (self.worker.fd(), self.worker.signal_fd()) if fd >= 0]
        for fd in fds:
            self.loop.add_reader(fd, self._on_readable)
        try:
            for hook in service._on_start:
                await _maybe(hook())
            self._starting = False
            self._on_readable()
            await self._stopped
            if self.lost:
                for task in asyncio.all_tasks():
                    if task is not asyncio.current_task():
                        task.cancel()
            for hook in service._on_stop:
                await _maybe(hook())
        finally:
            for fd in fds:
                self.loop.remove_reader(fd)
            if self._timer is not None:
                self._timer.cancel()

    def _on_readable(self) -> None:
        try:
            self._turn()
        except BaseException as error:  # a bug of ours must end the worker, not spin
            if not self._stopped.done():
                self._stopped.set_exception(error)

    def _turn(self) -> None:
        events = self.events
        while True:
            fresh = self.worker.poll(0)
            if self._starting:
                for event in fresh:
                    self.route(event)  # new calls wait in `events` until the hooks have run
            else:
                events.extend(fresh)
                self._handle_events()
            if len(fresh) < EVENTS_MAX:
                break
        self._after()

    def _handle_events(self) -> None:
        events = self.events
        self.unsifted = True
        self.unsent = False
        while events:
            self.handle(events.popleft())

    def _after(self) -> None:
        """At the end of each turn: writes, sets the timer, steps generators, ends when drained."""
        worker = self.worker
        worker.flush()
        self.unsent = False
        if self.runnable and not self._stepping:
            self._stepping = True
            self.loop.call_soon(self._step)
        done = self.lost or (self.draining and worker.calls == 0)
        if done and not self._starting and not self._stopped.done():
            self._stopped.set_result(None)
        idle = worker.idle_ns()
        if idle >= 0:
            due = self.loop.time() + idle / 1e9
            if self._timer is not None:
                if self._timer.when() <= due:
                    return  # it comes early, and sets the next then: cheaper than a new one each turn
                self._timer.cancel()
            self._timer = self.loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._on_readable()

    def _step(self) -> None:
        self._stepping = False
        if self.runnable:
            self.step(self.runnable.popleft())
        if self.events:  # what came while the generator pumped
            self._handle_events()
        self._on_readable()

    def flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._after()

    def start_async(self, run: Run, arguments: dict[str, Any]) -> None:
        body = self._generate if run.command.kind == ASYNC_GENERATOR else self._answer
        run.task = self.loop.create_task(body(run, arguments))

    async def _answer(self, run: Run, arguments: dict[str, Any]) -> None:
        run.entered = True
        command = run.command
        handle = run.handle
        try:
            if command.takes_call:
                result = await command.function(run.call, **arguments)
            else:
                result = await command.function(**arguments)
            finish(command, handle, run.call, result)
        except BaseException as error:
            self._failed(run, error)
        finally:
            self.flush_soon()

    async def _generate(self, run: Run, arguments: dict[str, Any]) -> None:
        run.entered = True
        command = run.command
        handle = run.handle
        generator: Any = None
        try:
            function = command.function
            generator = function(run.call, **arguments) if command.takes_call else function(**arguments)
            async for value in generator:
                sent = run.send(value)
                self.flush_soon()
                if sent == SENT_ENDED:
                    run.check_cancelled()
                    handle.release()
                    return
                while run.held:
                    run.credit_waiter = self.loop.create_future()
                    await run.credit_waiter
            if not run.answered:
                send_metadata(handle, run.call, False)
            handle.end(trailers_of(run.call))
        except BaseException as error:
            self._failed(run, error)
        finally:
            self.flush_soon()
            close = getattr(generator, "aclose", None)
            if close is not None:
                await close()

    def _failed(self, run: Run, error: BaseException) -> None:
        handle = run.handle
        if isinstance(error, asyncio.CancelledError):
            reason = handle.cancelled
            fail(handle, cancelled_error(reason) if reason else Error(CANCELLED, "the handler was cancelled", id="S1012"))
        else:
            self.failed(run.command, handle, error, run.call)

    def service(self, name: str) -> Any:
        return AsyncServiceClient(self, name, None, None, (), False)


async def _maybe(result: Any) -> None:
    if hasattr(result, "__await__"):
        await result
