"""One contract at every distance: each kind of caller calls each kind of callee, and hears the same, byte for byte."""

import itertools
import uuid

import pytest

from harness import eventually

SIZES = [0, 1, 64, 4096, 16384, 100_000, 1 << 20]


def pattern(size, seed=0):
    period = bytes((i * 31 + seed * 7) & 0xFF for i in range(256))
    return (period * (size // 256 + 1))[:size]


def checksum(data, total=1):
    for byte in data:
        total = (total * 31 + byte) % 4294967291
    return total


def zeros(size):
    """The checksum of so many zero bytes."""
    return pow(31, size, 4294967291)


# --- What is answered ---


@pytest.mark.parametrize("size", SIZES)
def test_a_request_is_answered_byte_for_byte(caller, callee, size):
    heard = caller.call(callee, "echo", pattern(size))
    assert (heard.messages, heard.code) == ([pattern(size)[::-1]], 0)


def test_large_requests_and_answers_come_whole(caller, callee):
    size = 5 << 20
    weighed = caller.call(callee, "weigh", bytes(size))
    assert weighed.messages == [f"{size} {zeros(size)}".encode()]
    made = caller.call(callee, "make", f"{size} 3".encode())
    assert made.messages == [pattern(size, 3)]


def test_a_streamed_answer_comes_in_order(caller, callee):
    heard = caller.call(callee, "count", b"50 3000 0")
    assert heard.messages == [pattern(3000, i) for i in range(50)]
    assert heard.code == 0


def test_a_streamed_answer_beyond_all_credit_comes_whole(caller, callee):
    heard = caller.call(callee, "count", b"40 50000 0")
    assert [len(message) for message in heard.messages] == [50000] * 40
    assert heard.messages[-1] == pattern(50000, 39)


def test_an_answer_of_no_messages_is_one(caller, callee):
    heard = caller.call(callee, "count", b"0 0 0")
    assert (heard.messages, heard.code) == ([], 0)


def test_a_streamed_request_comes_whole(caller, callee):
    messages = [pattern(size, i) for i, size in enumerate([0, 1, 2000, 70_000, 300_000, 0, 5])]
    total = 1
    for message in messages:
        total = checksum(message, total)
    heard = caller.call(callee, "sum", *messages, streams=True)
    assert heard.messages == [f"{len(messages)} {sum(map(len, messages))} {total}".encode()]


def test_an_empty_stream_is_a_request(caller, callee):
    assert caller.call(callee, "sum", streams=True).messages == [b"0 0 1"]


def test_both_directions_stream(caller, callee):
    messages = [pattern(size, 1) for size in range(0, 3000, 100)]
    heard = caller.call(callee, "chat", *messages, streams=True)
    assert (heard.messages, heard.code) == ([message[::-1] for message in messages], 0)


# --- How it fails ---


@pytest.mark.parametrize("code", range(1, 17))
def test_each_status_arrives_as_it_was_given(caller, callee, code):
    heard = caller.call(callee, "fail", str(code).encode())
    assert (heard.messages, heard.code, heard.text) == ([], code, "as asked")
    if caller.kind != "outside":
        assert heard.of("id", "details") == {"id": "", "details": '[{"why":"asked"}]'}


def test_a_stream_may_fail_after_its_messages(caller, callee):
    heard = caller.call(callee, "count", b"3 10 9")
    assert (heard.messages, heard.code, heard.text) == ([pattern(10, i) for i in range(3)], 9, "as asked")


def test_a_callee_may_have_heard_enough(caller, callee):
    heard = caller.call(callee, "chat", b"one", b"enough", b"two", streams=True)
    assert (heard.messages, heard.code) == ([b"eno"], 9)


def test_what_a_handler_throws_is_not_told(caller, callee):
    heard = caller.call(callee, "raise", b"")
    assert heard.code == 13
    assert "not for the caller" not in heard.text


def test_a_command_that_is_not_there_is_unimplemented(caller, callee):
    heard = caller.call(callee, "ecko", b"")
    assert heard.code == 12
    assert "echo" in heard.text
    if caller.kind != "outside":
        assert heard.id == "S1005"


def test_a_message_beyond_the_limit_is_refused(caller, callee):
    heard = caller.call(callee, "make", str((16 << 20) + 1).encode() + b" 0")
    assert (heard.messages, heard.code) == ([], 8)
    if caller.kind != "outside":
        assert heard.id == "S1007"


# --- What travels with a call ---


def test_metadata_and_trailers_travel(caller, callee):
    heard = caller.call(callee, "echo", b"ab", metadata={"x-asked": b"yes, please", "x-asked-bin": b"\x00\xff\n"})
    assert heard.messages == [b"ba"]
    if heard.metadata is not None:
        assert heard.metadata == {"x-reply": "yes, please", "x-reply-bin": b"\x00\xff\n"}
        assert heard.trailers == {"x-end": "told"}


def test_trailers_of_a_failure_travel(caller, callee):
    heard = caller.call(callee, "fail", b"5")
    assert heard.code == 5
    if heard.trailers is not None:
        assert heard.trailers == {"x-end": "failed"}


def test_the_callee_knows_who_calls(caller, callee):
    [said] = caller.call(callee, "who", b"", timeout_ms=20_000).messages
    kind = "gateway||" if caller.kind == "outside" else f"service|near.caller-{caller.kind}|"
    assert said.decode() == f"{kind}|deadline"


# --- Its end ---


def test_a_deadline_ends_the_call(caller, callee):
    heard = caller.call(callee, "wait", b"never asked for", timeout_ms=150)
    assert (heard.messages, heard.code) == ([], 4)
    if caller.kind != "outside":
        assert heard.id == "S1004"


def test_who_leaves_cancels_the_handler(caller, callee):
    key = uuid.uuid4().bytes.hex().encode()
    heard = caller.call(callee, "linger", key, leave_after=1)
    assert (heard.messages, heard.left) == ([b"here"], True)
    eventually("the handler to be cancelled", lambda: caller.call(callee, "how", key).messages == [b"cancelled"])


def test_a_deadline_cancels_the_handler(caller, callee):
    key = uuid.uuid4().bytes.hex().encode()
    heard = caller.call(callee, "linger", key, timeout_ms=700)
    assert (heard.messages, heard.code) == ([b"here"], 4)
    eventually("the handler to be cancelled", lambda: caller.call(callee, "how", key).messages == [b"cancelled"])


def test_who_leaves_a_stream_stops_it(caller, callee):
    heard = caller.call(callee, "count", b"1000000 1000 0", leave_after=3)
    assert heard.left
    assert heard.messages == [pattern(1000, i) for i in range(3)]
    # And the callee goes on with others.
    assert caller.call(callee, "echo", b"ab").messages == [b"ba"]


# --- Who may ---


def test_what_the_manifest_does_not_permit_is_refused_at_every_distance(callers):
    for name, caller in callers.items():
        if name == "outside":
            continue
        heard = caller.call("near.secret", "echo", b"")
        assert (heard.code, heard.id) == (7, "S1010"), name


def test_all_hear_the_same_of_a_failure(callers, nodes):
    """The texts too, but for names and places."""
    cases = [("echo", b"x"), ("fail", b"3"), ("raise", b""), ("count", b"2 2 5"), ("nothing-such", b"")]
    for command, message in cases:
        told = {}
        for name, callee in itertools.product(["thread", "process", "python"], ["thread", "process", "python"]):
            heard = callers[name].call(f"near.callee-{callee}", command, message)
            told[name, callee] = (heard.code, heard.id, heard.messages, heard.details)
        assert len(set(map(str, told.values()))) == 1, (command, told)


DISTANCES = {
    ("thread", "thread"): "local", ("thread", "process"): "shm", ("thread", "python"): "shm", ("thread", "peer"): "grpc",
    ("process", "thread"): "local", ("process", "process"): "shm", ("process", "python"): "shm", ("process", "peer"): "grpc",
    ("python", "thread"): "local", ("python", "process"): "shm", ("python", "python"): "shm", ("python", "peer"): "grpc",
}


def test_each_call_took_the_path_that_it_was_to_prove(callers, nodes):
    """Or the matrix would prove one path many times."""
    for (name, callee), distance in DISTANCES.items():
        service = "far.callee-peer" if callee == "peer" else f"near.callee-{callee}"
        assert callers[name].call(service, "echo", b"ab").messages == [b"ba"]
        told = nodes.cli("explain", f"near.caller-{name}", service, "--json").json
        [instance] = told["instances"]
        assert (told["outcome"], instance["distance"]) == ("goes", distance), (name, callee)
        if name != "thread" and distance == "shm":
            eventually("a link of the two workers' own", lambda: any(
                link["caller"] == f"near.caller-{name}#1" and link["callee"] == f"near.callee-{callee}#1" and link["link"] == "shm"
                for link in nodes.ps()["direct"]))
