"""The runtime of a worker, against a link that is played: what is answered, in which order, and what is cancelled."""

import asyncio
import dataclasses
import enum
import math
import subprocess
import sys

import pytest
import shunt
from shunt._call import EVENT_CANCEL, EVENT_LOST
from shunt._json import dumps, loads
from shunt._runtime import make, serve
from shunt.testing import Client, FakeWorker


def run(service, worker):
    runtime = make(service.commands, worker)
    service._runtime = runtime
    serve(service, runtime)
    worker.close()
    assert worker.calls == 0, "every call is ended and let go"
    return runtime


def answer(handle):
    assert handle.status[0] == 0, handle.status
    return [loads(data.decode()) for data in handle.sent]


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Item:
    sku: str
    colour: Colour = Colour.RED


@pytest.fixture
def service():
    return shunt.Service()


# Requests and answers


def test_arguments_come_by_name_with_their_defaults(service):
    @service.command
    def greet(name: str = "world", *, times: int = 1) -> dict:
        return {"message": f"Hello, {name}!" * times}

    client = Client(service)
    assert client.call("greet") == {"message": "Hello, world!"}
    assert client.call("greet", name="you", times=2) == {"message": "Hello, you!Hello, you!"}


@pytest.mark.parametrize(
    "data, text",
    [
        (b'{"items": [{"sku": "a", "count": 1}, {"sku": "a", "count": "x"}]}',
         "items[1].count: expected an integer, found a string"),
        (b"{}", "items: is missing: expected an array"),
        (b'{"items": [], "itemz": 1}', 'itemz: is not an argument of total; did you mean "items"?'),
        (b"[]", "the request: expected an object, found an array"),
        (b"{", "the request is not JSON"),
        (b'{"items": NaN}', "the request is not JSON: NaN is not JSON"),
        (b"\xff", "the request is not JSON"),
        (b"[" * 100000, "nested too deeply"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_async", [False, True])
def test_a_request_that_does_not_fit_never_reaches_the_handler(service, data, text, is_async):
    def total(items: list[dict[str, int | str]]):
        raise AssertionError("called")

    @dataclasses.dataclass
    class Line:
        sku: str
        count: int

    total.__annotations__["items"] = list[Line]
    if is_async:
        inner = total

        async def total(items: list[Line]):
            inner(items)

    service.command(total)
    worker = FakeWorker()
    handle = worker.incoming("total", data)
    run(service, worker)
    code, message, id, _, _ = handle.status
    assert (code, id) == (3, "S1030")
    assert text in message
    assert not handle.sent


def test_an_empty_request_is_an_empty_object(service):
    service.command(name="ping")(lambda: "pong")
    worker = FakeWorker()
    a = worker.incoming("ping", b"")
    b = worker.incoming("ping", None)
    run(service, worker)
    assert answer(a) == answer(b) == ["pong"]


def test_a_request_may_come_after_its_opening(service):
    service.command(name="double")(lambda n: 2 * n)
    worker = FakeWorker()
    handle = worker.incoming("double", None, last=False)
    worker.message(handle, b'{"n": 4}')
    worker.half_close(handle)
    run(service, worker)
    assert answer(handle) == [8]


def test_answers_are_written_as_json(service):
    @service.command
    def everything() -> dict:
        return {"item": Item("tea"), "tuple": (1, 2), "set": {3}, "colour": Colour.RED, "é": None, "bytes": b"hi"}

    assert Client(service).call("everything") == {
        "item": {"sku": "tea", "colour": "red"},
        "tuple": [1, 2],
        "set": [3],
        "colour": "red",
        "é": None,
        "bytes": "aGk=",
    }


def test_a_keyword_of_python_is_written_with_an_underscore(service):
    @dataclasses.dataclass
    class Span:
        from_: int
        to: int = 9

    @service.command
    def shift(call, from_: int, span: Span) -> dict:
        found = call.service("other").get(from_=from_, in_=1, x_=2)
        return {"span": Span(span.from_ + from_), "found": found}

    client = Client(service, services={"other": {"get": lambda **request: sorted(request)}})
    assert client.call("shift", **{"from": 1, "span": {"from": 2}}) == {
        "span": {"from": 3, "to": 9},
        "found": ["from", "in", "x_"],
    }
    request = service.definition()["commands"]["shift"]["request"]
    assert request["required"] == ["from", "span"]
    assert request["$defs"]["Span"]["required"] == ["from"]


@pytest.mark.parametrize(
    "value, text",
    [
        (object(), "a value of type object can't be written as JSON"),
        ({"a": [math.nan]}, "not JSON compliant"),
        ({(1, 2): 3}, "keys must be str"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_an_answer_without_a_form_in_json_is_internal_and_the_log_names_it(service, value, text, capfd):
    service.command(name="get")(lambda: value)
    with pytest.raises(shunt.Error) as caught:
        Client(service).call("get")
    assert caught.value.code is shunt.Code.INTERNAL
    assert caught.value.id == "S1032"
    assert text in capfd.readouterr().err


def test_bytes_pass_as_they_are(service):
    @service.command
    def reverse(body: bytes) -> bytes:
        return body[::-1]

    found = Client(service).request("reverse", b"\x00\x01\xff")
    assert found.messages == [b"\xff\x01\x00"]
    assert found.metadata == {"content-type": "application/octet-stream"}


def test_a_handler_may_name_the_type_of_its_bytes_and_add_trailers(service):
    @service.command
    def picture(call):
        call.reply_metadata["content-type"] = "image/png"
        call.trailers["cost"] = "3"
        return b"PNG"

    found = Client(service).request("picture")
    assert (found.metadata, found.trailers, found.messages) == ({"content-type": "image/png"}, {"cost": "3"}, [b"PNG"])


def test_the_call_tells_who_and_how_long(service):
    @service.command
    def who(call):
        call.log.info("asked by %s", call.principal.service)
        return {
            "principal": [call.principal.kind, call.principal.service, call.principal.user],
            "metadata": dict(call.metadata),
            "left": call.remaining,
            "deadline": call.deadline,
            "cancelled": call.cancelled,
            "command": call.command,
        }

    client = Client(service)
    found = client.request("who", metadata={"X-Trace": "1"}, timeout="5s", principal=("gateway", "", "ann")).messages[0]
    assert found["principal"] == ["gateway", "", "ann"]
    assert found["metadata"] == {"x-trace": "1"}
    assert 0 < found["left"] <= 5
    assert found["deadline"] > 0
    assert found["cancelled"] is False
    assert found["command"] == "who"
    assert client.log == [(1, "asked by ")]
    assert client.request("who").messages[0]["left"] is None


def test_no_such_command_says_what_there_is(service):
    service.command(name="greet")(lambda: 1)
    worker = FakeWorker()
    handle = worker.incoming("great", b"{}")
    run(service, worker)
    assert handle.status[:3] == (12, 'there is no command "great"; did you mean "greet"?', "S1005")


# Errors


def test_an_exception_is_internal_to_the_caller_and_a_traceback_in_the_log(service, capfd):
    @service.command
    def crash(call):
        raise KeyError("secret")

    with pytest.raises(shunt.Error) as caught:
        Client(service).call("crash")
    assert caught.value.code is shunt.Code.INTERNAL
    assert "secret" not in str(caught.value)
    log = capfd.readouterr().err
    assert "shunt: crash raised KeyError" in log
    assert 'raise KeyError("secret")' in log
    assert "shunt/_runtime.py" not in log


def test_sys_exit_in_a_handler_fails_the_call_only(service, capfd):
    service.command(name="leave")(lambda: exit(3))
    service.command(name="ping")(lambda: "pong")
    worker = FakeWorker()
    a = worker.incoming("leave", b"{}")
    b = worker.incoming("ping", b"{}")
    run(service, worker)
    assert a.status[0] == 13
    assert answer(b) == ["pong"]
    assert "SystemExit" in capfd.readouterr().err


@pytest.mark.parametrize("is_async", [False, True])
def test_an_error_answers_its_status(service, is_async, capfd):
    def find(sku: str):
        raise shunt.Error("not_found", f"no item {sku}", [{"sku": sku}], id="S1002", retry=1)

    if is_async:
        inner = find

        async def find(sku: str):
            inner(sku)

    service.command(find)
    with pytest.raises(shunt.Error) as caught:
        Client(service).call("find", sku="x")
    error = caught.value
    assert (error.code, error.message, error.details, error.id, error.retry) == (
        shunt.Code.NOT_FOUND, "no item x", [{"sku": "x"}], "S1002", 1,
    )  # fmt: skip
    assert capfd.readouterr().err == ""


# Generators


def test_a_generator_is_stepped_only_with_credit(service):
    steps = []

    @service.command
    def count(to: int):
        for n in range(to):
            steps.append(n)
            yield {"n": n}

    worker = FakeWorker()
    handle = worker.incoming("count", b'{"to": 5}')
    handle.credit = 2
    seen = []

    def more():
        seen.append(len(steps))
        handle.credit = 10
        worker.credit(handle)

    idle = worker.poll

    def poll(timeout):
        if timeout < 0 and handle.is_open and handle.credit == 0:
            more()
        return idle(timeout)

    worker.poll = poll
    run(service, worker)
    assert seen == [2]
    assert answer(handle) == [{"n": n} for n in range(5)]


def test_other_calls_are_answered_between_the_steps_of_a_generator(service):
    order = []

    @service.command
    def count():
        for n in range(3):
            order.append(n)
            if n == 0:
                worker.incoming("ping", b"{}")
            yield n

    @service.command
    def ping():
        order.append("ping")

    worker = FakeWorker()
    worker.incoming("count", b"{}")
    run(service, worker)
    assert order == [0, "ping", 1, 2]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_generator_that_fails_ends_its_stream_with_the_status(service, is_async, capfd):
    if is_async:

        @service.command
        async def count():
            yield 1
            raise shunt.Error("aborted", "enough")
    else:

        @service.command
        def count():
            yield 1
            raise shunt.Error("aborted", "enough")

    worker = FakeWorker()
    handle = worker.incoming("count", b"{}")
    run(service, worker)
    assert handle.sent == [b"1"]
    assert handle.status[:2] == (10, "enough")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_cancelled_generator_is_closed(service, is_async):
    log = []

    def after(n):
        if n == 1:
            worker.cancel(handle)

    if is_async:

        @service.command
        async def count():
            try:
                for n in range(1000):
                    after(n)
                    yield n
                    await asyncio.sleep(0)
            finally:
                log.append("closed")
    else:

        @service.command
        def count():
            try:
                for n in range(1000):
                    after(n)
                    yield n
            finally:
                log.append("closed")

    worker = FakeWorker()
    handle = worker.incoming("count", b"{}")
    run(service, worker)
    assert log == ["closed"]
    assert handle.status[0] == 1
    assert len(handle.sent) < 100


def test_an_empty_stream_and_one_of_bytes(service):
    @service.command
    def nothing():
        yield from ()

    @service.command
    async def chunks():
        yield b"a"
        yield b"b"

    client = Client(service)
    assert client.call("nothing") == []
    found = client.request("chunks")
    assert found.messages == [b"a", b"b"]
    assert found.metadata == {"content-type": "application/octet-stream"}


# Streams of requests


def test_requests_stream_into_sync_and_async_handlers(service):
    @service.command
    def total(items: shunt.Stream[int]) -> int:
        return sum(items)

    @service.command
    async def running(items: shunt.Stream[int]):
        total = 0
        async for item in items:
            total += item
            yield total

    client = Client(service)
    assert client.request("total", stream=[1, 2, 3]).messages == [6]
    assert client.request("running", stream=[1, 2, 3]).messages == [1, 3, 6]
    assert client.request("running", stream=[]).messages == []


def test_what_a_stream_brings_is_checked_and_given_back_as_credit(service):
    @service.command
    async def total(items: shunt.Stream[int]) -> int:
        return sum([item async for item in items])

    worker = FakeWorker()
    handle = worker.incoming("total", b"1", last=False)
    worker.message(handle, b"22")
    worker.message(handle, b'"x"', last=True)
    run(service, worker)
    assert handle.status[0] == 3
    assert handle.status[1] == "items[2]: expected an integer, found a string"
    assert handle.consumed == 5


# Cancellation


def test_a_call_that_was_cancelled_in_the_queue_never_starts(service):
    ran = []

    @service.command
    def slow(n: int):
        ran.append(n)

    worker = FakeWorker()
    worker.incoming("slow", b'{"n": 1}')
    second = worker.incoming("slow", b'{"n": 2}')
    worker.cancel(second)
    third = worker.incoming("slow", b'{"n": 3}', deadline_ns=1)
    run(service, worker)
    assert ran == [1]
    assert second.status[0] == 1
    assert third.status[0] == 4


def test_a_sync_handler_sees_its_cancellation(service):
    @service.command
    def work(call):
        assert not call.cancelled
        worker.cancel(handle)
        assert call.cancelled

    worker = FakeWorker()
    handle = worker.incoming("work", b"{}")
    run(service, worker)


def test_an_async_handler_is_cancelled_by_asyncio(service):
    log = []

    @service.command
    async def work(call):
        worker.cancel(handle)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            log.append(call.cancelled)
            raise

    worker = FakeWorker()
    handle = worker.incoming("work", b"{}")
    run(service, worker)
    assert log == [True]
    assert handle.status[0] == 1


def test_a_task_that_is_cancelled_before_it_began_is_answered(service):
    @service.command
    async def work():
        raise AssertionError("began")

    worker = FakeWorker()
    handle = worker.incoming("work", None, last=False)
    worker.message(handle, b"{}")
    worker.queue.append((EVENT_CANCEL, handle, 2))
    run(service, worker)
    assert handle.status[0] == 4


def test_lost_ends_the_worker_and_cancels_what_runs(service):
    log = []

    @service.command
    async def work():
        worker.queue.append((EVENT_LOST, None))
        try:
            await asyncio.sleep(3600)
        finally:
            log.append("cancelled")

    worker = FakeWorker()
    worker.incoming("work", b"{}")
    runtime = run(service, worker)
    assert runtime.lost
    assert log == ["cancelled"]


def test_lost_ends_a_worker_of_sync_handlers_at_once(service):
    service.command(name="ping")(lambda: "pong")
    worker = FakeWorker()
    worker.drain_when_idle = False
    worker.queue.append((EVENT_LOST, None))
    assert run(service, worker).lost


# Calls to others

PRICES = {
    "get": lambda sku: {"cents": len(sku)},
    "get-all": lambda skus: [len(sku) for sku in skus],
    "count": lambda to: iter(range(to)),
    "raw": lambda body: body[::-1],
    "sum": lambda numbers: sum(numbers),
}


def fails(**_):
    raise shunt.Error("not_found", "no such item", [{"sku": "x"}], id="S1")


@pytest.mark.parametrize("is_async", [False, True])
def test_the_trailers_that_were_set_go_with_an_error_too(service, is_async):
    def refuse(call):
        call.trailers["seen"] = "yes"
        raise shunt.Error("not_found", "no such item")

    async def refuse_async(call):
        refuse(call)

    service.command(name="refuse")(refuse_async if is_async else refuse)
    worker = FakeWorker()
    handle = worker.incoming("refuse", b"{}")
    Client(service)._run(worker)
    assert (handle.status[:2], dict(handle.trailers)) == ((5, "no such item"), {"seen": "yes"})


def test_a_sync_handler_calls_and_waits(service):
    @service.command
    def total(call, skus: list[str]):
        prices = call.service("prices")
        return {
            "cents": sum(prices.get(sku=sku)["cents"] for sku in skus),
            "all": prices.call("get-all", skus=skus),
            "counted": list(prices.stream("count", to=3)),
            "by dict": prices.get({"sku": "abc"}),
            "raw": prices.raw(b"abc").decode(),
            "sum": prices.sum(iter([1, 2, 3])),
        }

    assert Client(service, services={"prices": PRICES}).call("total", skus=["a", "bb"]) == {
        "cents": 3,
        "all": [1, 2],
        "counted": [0, 1, 2],
        "by dict": {"cents": 3},
        "raw": "cba",
        "sum": 6,
    }


def test_an_async_handler_calls_and_awaits(service):
    async def numbers():
        for n in (1, 2, 3):
            yield n

    @service.command
    async def total(call, skus: list[str]):
        prices = call.service("prices")
        found = await asyncio.gather(*(prices.get(sku=sku) for sku in skus))
        return {
            "cents": sum(each["cents"] for each in found),
            "all": await prices.call("get-all", skus=skus),
            "counted": [n async for n in prices.stream("count", to=3)],
            "raw": (await prices.raw(b"abc")).decode(),
            "sum": await prices.sum(numbers()),
        }

    assert Client(service, services={"prices": PRICES}).call("total", skus=["a", "bb"]) == {
        "cents": 3,
        "all": [1, 2],
        "counted": [0, 1, 2],
        "raw": "cba",
        "sum": 6,
    }


def test_a_sync_handler_beside_async_ones_blocks_for_its_own_answer(service):
    @service.command
    async def other():
        return 1

    @service.command
    def total(call, sku: str):
        return call.service("prices").get(sku=sku)

    assert Client(service, services={"prices": PRICES}).call("total", sku="abc") == {"cents": 3}


@pytest.mark.parametrize("is_async", [False, True])
def test_an_error_of_another_service_can_be_caught_or_goes_on_to_the_caller(service, is_async):
    if is_async:

        @service.command
        async def get(call, catch: bool):
            try:
                return await call.service("prices").get(sku="x")
            except shunt.Error as error:
                if catch:
                    return [str(error.code), error.message, error.details, error.id]
                raise
    else:

        @service.command
        def get(call, catch: bool):
            try:
                return call.service("prices").get(sku="x")
            except shunt.Error as error:
                if catch:
                    return [str(error.code), error.message, error.details, error.id]
                raise

    client = Client(service, services={"prices": {"get": fails}})
    assert client.call("get", catch=True) == ["not_found", "no such item", [{"sku": "x"}], "S1"]
    with pytest.raises(shunt.Error, match="no such item"):
        client.call("get", catch=False)


def test_options_travel_with_calls(service):
    @service.command
    def get(call):
        prices = call.service("prices").with_options(timeout="250ms", metadata={"Tenant": "a"})
        prices.get(sku="x")
        prices.with_options(metadata={"more": "b"}).get(sku="x")

    worker = FakeWorker({"prices": PRICES})
    before = worker.now()
    handle = worker.incoming("get", b"{}")
    run(service, worker)
    (target, data, deadline, metadata, parent), second = worker.opened
    assert (target, data, metadata, parent) == ("prices.get", b'{"sku":"x"}', (("tenant", "a"),), handle)
    assert 0.2e9 < deadline - before < 20e9
    assert second[3] == (("tenant", "a"), ("more", "b"))


def test_new_calls_wait_while_a_sync_handler_waits(service):
    order = []

    @service.command
    def outer(call):
        order.append("outer begins")
        worker.incoming("inner", b"{}")
        call.service("prices").get(sku="x")
        order.append("outer ends")

    @service.command
    def inner():
        order.append("inner")

    worker = FakeWorker({"prices": PRICES})
    worker.incoming("outer", b"{}")
    run(service, worker)
    assert order == ["outer begins", "outer ends", "inner"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_stream_that_is_left_is_cancelled(service, is_async):
    if is_async:

        @service.command
        async def first(call):
            async for n in call.service("prices").stream("count", to=3):
                return n
    else:

        @service.command
        def first(call):
            for n in call.service("prices").stream("count", to=3):
                return n

    worker = FakeWorker({"prices": PRICES})
    opened = []
    open_call = worker.open
    worker.open = lambda *arguments: opened.append(open_call(*arguments)) or opened[-1]
    handle = worker.incoming("first", b"{}")
    run(service, worker)
    assert answer(handle) == [0]
    assert not opened[0].is_open


def test_cancelling_a_task_cancels_the_calls_it_made(service):
    @service.command
    async def get(call):
        opened = call.service("prices").get(sku="x")
        worker._answer = lambda *arguments: worker.cancel(handle)
        await opened

    worker = FakeWorker({"prices": PRICES})
    opened = []
    open_call = worker.open
    worker.open = lambda *arguments: opened.append(open_call(*arguments)) or opened[-1]
    handle = worker.incoming("get", b"{}")
    run(service, worker)
    assert handle.status[0] == 1
    assert not opened[0].is_open


def test_a_call_is_refused_in_another_thread(service):
    import threading

    @service.command
    def get(call):
        found = []

        def work():
            try:
                call.service("prices").get(sku="x")
            except RuntimeError as error:
                found.append(str(error))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return found

    assert "other threads" in Client(service, services={"prices": PRICES}).call("get")[0]


# The life of the process


@pytest.mark.parametrize("is_async", [False, True])
def test_hooks_run_around_the_calls(service, is_async):
    log = []

    @service.on_start
    def start():
        log.append("start")

    if is_async:

        @service.on_start
        async def start_async():
            log.append((await service.service("prices").get(sku="ab"))["cents"])

    service.on_stop(lambda: log.append("stop"))
    service.command(name="ping")(lambda: log.append("ping"))
    Client(service, services={"prices": PRICES}).call("ping")
    assert log == (["start", 2, "ping", "stop"] if is_async else ["start", "ping", "stop"])


def test_several_async_calls_run_at_once(service):
    started = []

    @service.command
    async def meet(n: int):
        started.append(n)
        while len(started) < 3:
            await asyncio.sleep(0)
        return n

    worker = FakeWorker()
    handles = [worker.incoming("meet", dumps({"n": n})) for n in range(3)]
    run(service, worker)
    assert [answer(handle) for handle in handles] == [[0], [1], [2]]


def test_a_slow_handler_does_not_hold_back_the_answer_before_it(service):
    flushed = []

    @service.command
    def slow():
        flushed.append(worker.flushes)

    worker = FakeWorker()
    worker.incoming("slow", b"{}")
    worker.incoming("slow", b"{}")
    service.commands["slow"].slow = 64
    run(service, worker)
    assert flushed == [0, 1]


def test_broken_json_is_a_value_error_where_nobody_has_imported_json():
    """The C scanner needs json.decoder for its error; a worker imports it only when it must."""
    program = f"""
import sys
sys.path[:] = {sys.path!r}
from shunt._json import loads
assert "json.decoder" not in sys.modules
for text in ('{{', '{{"a":', '["\\\\ud8', '{{"a" 1}}', 'nan', ''):
    try:
        loads(text)
    except ValueError:
        continue
    raise AssertionError(text)
"""
    subprocess.run([sys.executable, "-S", "-c", program], check=True, timeout=60)
