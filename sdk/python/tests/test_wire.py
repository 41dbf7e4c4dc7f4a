"""The real extension, over a real link whose other end is plain Python (wire_peer.py)."""

import json
import os
import pathlib
import signal

import pytest
from conftest import sdk_folder
from wire_peer import Peer

pytestmark = pytest.mark.skipif(
    not (sdk_folder() / "shunt/_shunt.abi3.so").exists(), reason="the extension is not built"
)
FILE = pathlib.Path(__file__).with_name("worker_file.py")


def get(request):
    return [json.dumps({"cents": len(json.loads(request)["sku"])}).encode()]


SERVICES = {
    "prices.get": get,
    "prices.count": lambda request: [b"%d" % n for n in range(json.loads(request)["to"])],
    "prices.upload": lambda *messages: [b"%d" % len(messages)],
    "prices.never": lambda request: None,
}


@pytest.fixture(params=["sync", "async"])
def peer(request, monkeypatch):
    monkeypatch.setenv("TEST_ASYNC", "1" if request.param == "async" else "0")
    peer = Peer(FILE, SERVICES)
    yield peer
    peer.close()
    assert not peer.errors


@pytest.fixture
def async_peer(monkeypatch):
    monkeypatch.setenv("TEST_ASYNC", "1")
    peer = Peer(FILE, SERVICES)
    yield peer
    peer.close()
    assert not peer.errors


def call(peer, command, /, **arguments):
    return [json.loads(each) for each in peer.open(command, json.dumps(arguments).encode()).answer()]


def test_hello_says_what_the_worker_is(peer):
    assert peer.hello["role"] == "worker"
    assert peer.hello["software"].startswith("python ")
    assert peer.hello["pid"] == peer.process.pid
    assert json.loads(peer.hello["definition"])["commands"]["greet"]["description"] == "Greets someone."


def test_unary_calls(peer):
    assert call(peer, "greet") == [{"message": "Hello, world!"}]
    assert call(peer, "greet", name="é") == [{"message": "Hello, é!"}]


def test_many_calls_at_once(peer):
    calls = [peer.open("greet", b'{"name": "%d"}' % n) for n in range(500)]
    for n, each in enumerate(calls):
        assert json.loads(each.answer()[0]) == {"message": f"Hello, {n}!"}


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 100_000, 3_000_000])
def test_bytes_of_every_size_pass_as_they_are(peer, size):
    body = bytes(range(256)) * (size // 256 + 1)
    found = peer.open("echo", body[:size])
    assert found.answer() == [body[:size]]
    assert found.metadata == [("content-type", "application/octet-stream")]


def test_who_calls_and_with_what(peer):
    found = peer.open("who", b"{}", kind=1, caller="shop.cart", user="ann", metadata=[("a", "1"), ("b-bin", b"\xff")], timeout=9)
    # bytes have no form in JSON but base64
    assert json.loads(found.answer()[0]) == ["service", "shop.cart", "ann", [["a", "1"], ["b-bin", "/w=="]], True]
    peer.wait_log("warning: asked")


def test_errors(peer):
    found = peer.open("find", b"{}").end().status
    assert (found["code"], found["id"], found["message"], found["details"]) == (5, "S1", "no such item", '[{"sku":"x"}]')
    found = peer.open("crash", b"{}").end().status
    assert (found["code"], found["id"]) == (13, "S1031")
    assert "secret" not in found["message"]
    peer.wait_log("KeyError: 'secret'")
    found = peer.open("greet", b'{"nam": 1}').end().status
    assert (found["code"], found["message"]) == (3, 'nam: is not an argument of greet; did you mean "name"?')
    found = peer.open("great", b"{}").end().status
    assert (found["code"], found["id"]) == (12, "S1005")


def test_a_generator_streams(peer):
    assert call(peer, "count", to=1000) == [{"n": n} for n in range(1000)]
    assert call(peer, "count", to=0) == []


def test_a_generator_waits_for_credit_and_others_are_served_meanwhile(peer):
    held = peer.open("blocks", b'{"to": 100, "size": 10000}', hold_credit=True)
    peer.wait(lambda: held.owed >= 256 << 10)
    assert call(peer, "greet") == [{"message": "Hello, world!"}]
    peer.ping(1)
    sent = len(held.messages)
    assert sent <= 27
    held.credit()
    assert len(held.answer()) == 100


def test_cancelling_a_held_generator_ends_it(peer):
    held = peer.open("blocks", b'{"to": 1000000, "size": 10000}', hold_credit=True)
    peer.wait(lambda: held.owed >= 256 << 10)
    held.cancel()
    assert call(peer, "greet") == [{"message": "Hello, world!"}]


def test_requests_stream(peer):
    found = peer.open("total")
    for n in range(100):
        found.send(b"%d" % n)
    found.half_close()
    assert found.answer() == [b"4950"]


def test_calls_to_another_service(peer):
    assert call(peer, "price", sku="abc") == [{"cents": 3}]
    assert call(peer, "prices", to=100) == [list(range(100))]
    assert call(peer, "upload", size=50_000, of=40) == [40]
    opened = list(peer.incoming.values())
    assert [(each["service"], each["command"]) for each in opened] == [
        ("prices", "get"), ("prices", "count"), ("prices", "upload"),
    ]  # fmt: skip


def test_a_deadline_and_a_user_travel_to_calls_made_on_behalf(peer):
    peer.open("price", b'{"sku": "a"}', timeout=50, user="ann", token="t", metadata=[("traceparent", "00-1")]).answer()
    (opened,) = peer.incoming.values()
    assert opened["deadline"] < 2**63 - 1
    assert opened["token"] == "t"
    assert ("traceparent", "00-1") in opened["metadata"]


def test_an_error_of_another_service_goes_on_to_the_caller(peer):
    def refuse(request):
        raise ValueError((9, "no", "S7", '[{"a":1}]'))

    peer.services = {"prices.get": refuse}
    found = peer.open("price", b'{"sku": "a"}').end().status
    assert (found["code"], found["message"], found["id"], found["details"]) == (9, "no", "S7", '[{"a":1}]')


def test_a_sync_handler_sees_its_cancellation(peer):
    found = peer.open("spin", b"{}")
    peer.wait_log("spin began")
    found.cancel()
    peer.wait_log("spin saw its cancellation")
    peer.open("spin", b"{}", timeout=0.5)
    peer.wait_log("spin began\nspin saw its cancellation\n" * 2)
    assert call(peer, "greet") == [{"message": "Hello, world!"}]


def test_new_calls_wait_while_a_sync_handler_waits_for_another_service(peer):
    late = []

    def get_late(request):
        late.append(peer.open("greet", b"{}"))
        return [b"1"]

    peer.services = {"prices.get": get_late}
    assert call(peer, "price", sku="a") == [1]
    assert len(late[0].answer()) == 1


def test_async_handlers_run_at_once_and_call_others(async_peer):
    peer = async_peer
    calls = [peer.open("aprice", json.dumps({"sku": "x" * n}).encode()) for n in range(200)]
    assert [json.loads(each.answer()[0])["cents"] for each in calls] == list(range(200))
    assert call(peer, "aupload", size=50_000, of=40) == [40]
    assert call(peer, "acount", to=100) == [{"n": n} for n in range(100)]


def test_async_request_streams_answer_as_they_come(async_peer):
    found = async_peer.open("running")
    for n, sum in ((1, 1), (2, 3), (3, 6)):
        found.send(b"%d" % n)
        async_peer.wait(lambda: len(found.messages) == n)
        assert found.messages[-1] == b"%d" % sum
    found.half_close()
    found.answer()


def test_cancel_and_deadline_reach_an_async_handler(async_peer):
    peer = async_peer
    found = peer.open("hang", b"{}")
    peer.wait_log("hang began")
    found.cancel()
    peer.wait_log("hang was cancelled: True")
    peer.open("hang", b"{}", timeout=0.5)
    peer.wait_log("hang was cancelled: True\nhang began\nhang was cancelled: True")


def test_cancelling_a_call_cancels_the_calls_made_on_its_behalf(async_peer):
    peer = async_peer
    found = peer.open("wait_for_price", b"{}")
    peer.wait(lambda: peer.incoming)
    found.cancel()
    peer.wait(lambda: peer.cancelled)


@pytest.mark.parametrize("how", ["goaway", "sigterm"])
def test_a_drained_worker_finishes_what_is_open_and_ends_well(peer, how):
    held = peer.open("blocks", b'{"to": 100, "size": 10000}', hold_credit=True)
    peer.wait(lambda: held.owed >= 256 << 10)
    if how == "goaway":
        peer.frame(12)
    else:
        peer.process.send_signal(signal.SIGTERM)
        refused = None
        while refused is None or refused.status is None:  # until the signal has been heard
            refused = peer.open("greet", b"{}").end()
            if refused.status["code"] == 0:
                refused = None
    held.credit()
    assert len(held.answer()) == 100
    assert peer.process.wait() == 0
    peer.wait_log("on_stop")


def test_sigint_is_for_the_supervisor(peer):
    peer.process.send_signal(signal.SIGINT)
    assert call(peer, "greet") == [{"message": "Hello, world!"}]


def test_a_worker_whose_node_is_gone_ends(peer):
    peer.socket.shutdown(2)
    assert peer.process.wait() == 1


def test_hooks_run_before_the_first_call_and_after_the_last(peer):
    call(peer, "greet")
    peer.wait_log("on_start")
    assert peer.drain() == 0
    peer.wait_log("on_stop")


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer keeps what is freed")
def test_a_worker_leaks_nothing_over_many_calls(peer):
    def memory():
        return int(pathlib.Path(f"/proc/{peer.process.pid}/statm").read_text().split()[1])

    def some():
        for each in [peer.open("greet", b'{"name": "x"}') for _ in range(1000)]:
            each.answer()
        for _ in range(50):
            call(peer, "price", sku="abc")
            call(peer, "count", to=10)
            peer.open("echo", bytes(100_000)).answer()
            peer.open("find", b"{}").end()
        peer.calls.clear()

    some()
    some()
    before = memory()
    for _ in range(5):
        some()
    assert memory() - before < 256  # pages: one call leaked would be thousands of handles
