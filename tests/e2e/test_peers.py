"""Nodes among nodes: services of peers are called like local ones, and what happens when nodes come, drain, die and lie."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import threading

import pytest

import harness
from harness import eventually, write_app

BACK = '''
import asyncio
import os
import shunt

service = shunt.Service()
running = 0


@service.command(effect="none")
async def hello(name: str = "you") -> dict:
    return {"text": f"hello {name}", "from": os.environ.get("SHUNT_SERVICE", ""), "pid": os.getpid()}


@service.command
async def once(name: str = "you") -> dict:
    await asyncio.sleep(0.002)
    return {"text": f"once {name}"}


@service.command
async def hang() -> dict:
    global running
    running += 1
    try:
        await asyncio.sleep(600)
    finally:
        running -= 1
    return {}


@service.command(effect="none")
async def hanging() -> dict:
    return {"running": running}


@service.command(effect="none")
async def who(call) -> dict:
    return {
        "kind": call.principal.kind,
        "service": call.principal.service,
        "user": call.principal.user,
        "metadata": {key: value for key, value in call.metadata.items() if isinstance(value, str)},
        "remaining": call.remaining,
    }


@service.command(effect="none")
async def count(to: int):
    for n in range(to):
        yield {"n": n}


@service.command(effect="none")
async def size(body: bytes) -> dict:
    return {"bytes": len(body)}


@service.command
async def fail() -> dict:
    raise shunt.Error("failed_precondition", "as asked", [{"why": "a test"}])


if __name__ == "__main__":
    service.run()
'''

FRONT = '''
import shunt

service = shunt.Service()


@service.command
async def ask(call, name: str = "x") -> dict:
    return await call.service("back").hello(name=name)


@service.command
async def ask_who(call) -> dict:
    return await call.service("back").who()


if __name__ == "__main__":
    service.run()
'''

STRANGER = FRONT


def app(folder, name, code, **manifest):
    manifest = {"name": name, "type": "python", "args": "app.py", "expose": True, "auth": "none"} | manifest
    return write_app(folder / name, manifest, app_py=code)


@pytest.fixture(scope="module")
def apps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("apps")
    engine = {"engine": {"concurrency": 64}}
    return {
        "back": app(folder, "back", BACK, allow=["front"], **engine),
        "front": app(folder, "front", FRONT, uses=["back"]),
        "stranger": app(folder, "stranger", STRANGER, uses=["back"]),
    }


def peer_url(node, scheme="grpc"):
    return f"{scheme}://127.0.0.1:{node.address[1]}"


def joined(start, app, *others, name, arguments=(), **options):
    """A node that was told of the others."""
    given = ["--node-name", name, "--loops", "2"]
    for other in others:
        given += ["--peer", other if isinstance(other, str) else peer_url(other)]
    return start(app, arguments=[*given, *arguments], **options)


def peer_of(node, name):
    return next((peer for peer in node.ps()["peers"] if peer["name"] == name), None)


def reaches(node, target, request=None):
    return eventually(f"{target} to be reached", lambda: node.call(target, request).code == 0)


def logs(node):
    return node.cli("logs", "node", "-n", "1000").out + node.output


class Load:
    """Clients that call without a pause, and write down what fails."""

    def __init__(self, node, path, clients=4):
        self.node, self.path = node, path
        self.failed, self.done = [], 0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def _run(self):
        connection = http.client.HTTPConnection(*self.node.address, timeout=harness.PATIENCE)
        with contextlib.closing(connection):
            while not self.stopping.is_set():
                connection.request("POST", self.path, body=b"{}", headers={"Content-Type": "application/json"})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    self.failed.append((answer.status, body))
                self.done += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def more(self, count=200):
        """Waits until so many more are done."""
        goal = self.done + count
        eventually(f"{count} more calls", lambda: self.done >= goal)


# --- Calls ---


@pytest.fixture(scope="module")
def pair(start_shared, apps):
    """front, which was told of back."""
    back = joined(start_shared, apps["back"], name="host-b")
    front = joined(start_shared, apps["front"], back, name="host-a")
    reaches(front, "back.hello")
    return front, back


def test_a_service_that_only_a_peer_has_is_called_like_one_of_ones_own(pair):
    front, _ = pair
    assert front.call("back.hello", {"name": "ann"}).json["text"] == "hello ann"
    assert front.get("/back/hello?name=web").json["text"] == "hello web"
    assert front.call("front.ask", {"name": "via"}).json["text"] == "hello via"
    assert [line["n"] for line in front.call("back.count", {"to": 5}).lines] == [0, 1, 2, 3, 4]


def test_peers_know_each_other_both_ways(pair):
    front, back = pair
    eventually("the way back", lambda: peer_of(back, "host-a"))
    assert back.call("front.ask", {"name": "round"}).json["text"] == "hello round"
    one = peer_of(front, "host-b")
    assert one["state"] == "ready" and one["address"].startswith("grpc://") and one["services"] == ["back"]
    assert one["links"] == 2
    eventually("a round trip", lambda: peer_of(front, "host-b")["round_trip_us"] > 0)
    assert "host-b" in front.cli("ps").out
    assert front.ps()["services"][0]["name"] == "front"


def test_a_large_message_passes(pair):
    front, _ = pair
    body = b"x" * (3 << 20)
    answer = front.http("POST", "/back/size", body=body, headers={"Content-Type": "application/octet-stream"})
    assert answer.json == {"bytes": len(body)}


def test_who_calls_what_it_says_and_how_long_it_waits_arrive(pair):
    front, _ = pair
    who = front.call("front.ask_who").json
    assert who["kind"] == "service" and who["service"] == "front"
    who = front.post("/back/who", {}, **{"x-trace": "abc", "Connect-Timeout-Ms": "5000"}).json
    assert who["kind"] == "gateway" and who["metadata"]["x-trace"] == "abc"
    assert 0 < who["remaining"] <= 5
    # The operator there is not the operator here.
    assert front.call("back.who").json["kind"] == "node"


def test_a_deadline_ends_a_call_there_too(pair):
    front, back = pair
    answer = front.call("back.hang", {}, "--timeout", "200ms")
    assert answer.code == 4 and "S1004" in answer.err
    eventually("the handler to be cancelled", lambda: back.call("back.hanging").json["running"] == 0)


def test_a_caller_that_goes_cancels_the_handler_there(pair):
    front, back = pair
    connection = http.client.HTTPConnection(*front.address, timeout=harness.PATIENCE)
    connection.request("POST", "/back/hang", body=b"{}", headers={"Content-Type": "application/json"})
    eventually("the handler to run", lambda: back.call("back.hanging").json["running"] == 1)
    connection.close()
    eventually("the handler to be cancelled", lambda: back.call("back.hanging").json["running"] == 0)


def test_an_error_arrives_as_it_was(pair):
    front, _ = pair
    answer = front.call("back.fail")
    assert answer.code == 9 and "as asked" in answer.err


def test_what_the_callee_does_not_allow_is_refused(start, apps, pair):
    _, back = pair
    stranger = joined(start, apps["stranger"], back, name="host-s")
    reaches(stranger, "back.hello")
    answer = stranger.call("stranger.ask")
    assert answer.code == 7 and "allow" in answer.err


def test_reflection_and_schemas_of_a_peers_service_are_here_too(pair):
    front, _ = pair
    page = front.get("/")
    assert page.status == 200 and b"back" in page.body


# --- Ends ---


def test_a_peer_that_is_killed_in_mid_call(start, apps):
    back = joined(start, apps["back"], name="host-b")
    front = joined(start, apps["front"], back, name="host-a")
    reaches(front, "back.hello")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(front.post("/back/hang", {})))
    thread.start()
    eventually("the handler to run", lambda: back.call("back.hanging").json["running"] == 1)
    address = back.address
    for pid in back.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    back.process.wait()
    thread.join()
    assert answers[0].status == 503 and answers[0].json["code"] == "unavailable"
    answer = front.call("back.hello")
    assert answer.code == 14 and "host-b" in answer.err
    eventually("the peer to be lost", lambda: peer_of(front, "host-b")["state"] == "lost")

    again = joined(start, apps["back"], name="host-b", listen=(f"127.0.0.1:{address[1]}",))
    reaches(front, "back.hello")
    assert front.ps()["peers"][0]["state"] == "ready"
    assert again.call("back.hello").code == 0


def test_a_peer_that_is_not_there_yet_is_awaited(start, apps):
    back = joined(start, apps["back"], name="host-b")
    address = peer_url(back)
    port = back.address[1]
    back.stop()
    front = joined(start, apps["front"], address, name="host-a")
    eventually("an error", lambda: "refused" in front.ps()["peers"][0]["last_error"])
    assert front.call("back.hello").code == 5
    joined(start, apps["back"], name="host-b", listen=(f"127.0.0.1:{port}",))
    reaches(front, "back.hello")


def test_a_node_drains_under_load_without_a_failed_call(start, apps):
    first = joined(start, apps["back"], name="host-b")
    second = joined(start, apps["back"], name="host-c")
    front = joined(start, apps["front"], first, second, name="host-a")
    for name in ("host-b", "host-c"):
        eventually(name, lambda name=name: (peer_of(front, name) or {}).get("services") == ["back"])
    reaches(front, "back.hello")
    with Load(front, "/back/once") as load:
        load.more()
        assert first.stop() == 0
        load.more()
    assert load.failed == []
    assert front.call("back.hello").code == 0


def test_a_peer_is_added_under_load_without_a_failed_call(start, apps):
    first = joined(start, apps["back"], name="host-b")
    front = joined(start, apps["front"], first, name="host-a")
    reaches(front, "back.hello")
    with Load(front, "/back/once") as load:
        load.more()
        second = joined(start, apps["back"], front, name="host-c")
        eventually("the new one to be called", lambda: (peer_of(front, "host-c") or {}).get("served", 0) > 10)
        load.more()
        assert second.stop() == 0
        load.more()
    assert load.failed == []


def test_what_both_have_is_called_here(start, apps):
    far = joined(start, apps["back"], name="host-b")
    near = joined(start, apps["back"], far, name="host-a")
    eventually("the peer", lambda: (peer_of(near, "host-b") or {}).get("services") == ["back"])
    worker = near.worker("back")
    for _ in range(20):
        assert near.call("back.hello").json["pid"] == worker
    assert peer_of(near, "host-b")["served"] == 0


def test_two_definitions_of_one_service_are_told(start, apps, tmp_path):
    far = joined(start, apps["back"], name="host-b")
    other = app(tmp_path, "back", FRONT, allow=["front"])
    near = joined(start, other, far, name="host-a")
    told = eventually("a warning", lambda: re.search(r"back is defined in two ways: (\w+) on this node, (\w+) on node host-b",
                                                     logs(near)))
    assert told[1] != told[2]


def test_a_node_that_is_told_of_itself_says_so(start, apps):
    back = joined(start, apps["back"], name="host-b")
    port = back.address[1]
    back.stop()
    again = joined(start, apps["back"], f"grpc://127.0.0.1:{port}", name="host-b", listen=(f"127.0.0.1:{port}",))
    eventually("it to notice", lambda: again.ps()["peers"][0]["state"] == "itself")
    assert "S5063" in again.ps()["peers"][0]["last_error"]


# --- Who may come in ---


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text("a secret that both know\n")
    path.chmod(0o600)
    return path


def test_peers_with_one_key_find_each_other(start, apps, key_file):
    key = ("--peer-key", key_file)
    back = joined(start, apps["back"], name="host-b", arguments=("--no-dev", *key))
    front = joined(start, apps["front"], back, name="host-a", arguments=key)
    reaches(front, "back.hello")
    assert front.call("front.ask").code == 0


def test_a_wrong_key_is_refused_and_both_sides_say_so(start, apps, key_file, tmp_path):
    other = tmp_path / "other"
    other.write_text("another secret of the same length\n")
    other.chmod(0o600)
    back = joined(start, apps["back"], name="host-b", arguments=("--peer-key", key_file))
    front = joined(start, apps["front"], back, name="host-a", arguments=("--peer-key", other))
    error = eventually("the refusal", lambda: front.ps()["peers"][0]["last_error"])
    assert "unauthenticated" in error and "S5060" in error and "--peer-key" in error
    assert "S5060" in eventually("a line in the log", lambda: logs(back) if "S5060" in logs(back) else None)
    assert front.call("back.hello").code == 5
    assert back.ps()["peers"] == []


def test_who_has_no_key_is_refused_by_who_has_one(start, apps, key_file):
    back = joined(start, apps["back"], name="host-b", arguments=("--peer-key", key_file))
    front = joined(start, apps["front"], back, name="host-a")
    error = eventually("the refusal", lambda: front.ps()["peers"][0]["last_error"])
    assert "S5060" in error and "--peer-key" in error


def test_without_a_key_nobody_comes_in_but_in_dev(start, apps):
    back = joined(start, apps["back"], name="host-b", arguments=("--no-dev",))
    front = joined(start, apps["front"], back, name="host-a")
    error = eventually("the refusal", lambda: front.ps()["peers"][0]["last_error"])
    assert "S5060" in error and "--peer-key" in error


def test_a_key_that_others_may_read_is_no_key(apps, key_file, tmp_path):
    key_file.chmod(0o644)
    done = harness.run("run", apps["back"], "--data", tmp_path / "d", "--listen", "127.0.0.1:0", "--peer-key", key_file)
    assert done.code != 0 and "S5065" in done.err


def test_an_address_that_is_none_is_refused_at_once(apps, tmp_path):
    for address in ("127.0.0.1", "http://127.0.0.1:1", "grpc://127.0.0.1", "grpc://:80"):
        done = harness.run("run", apps["back"], "--data", tmp_path / "d", "--peer", address)
        assert done.code == 64 and "S5064" in done.err


def test_peers_over_tls(start, apps, key_file):
    back = joined(start, apps["back"], name="host-b", listen=("https://127.0.0.1:0",),
                  arguments=("--tls", "self", "--peer-key", key_file))
    authority = back.data / "tls" / "ca.pem"
    front = joined(start, apps["front"], peer_url(back, "grpcs"), name="host-a",
                   arguments=("--peer-ca", authority, "--peer-key", key_file))
    reaches(front, "back.hello")
    body = b"x" * (1 << 20)
    answer = front.http("POST", "/back/size", body=body, headers={"Content-Type": "application/octet-stream"})
    assert answer.json == {"bytes": len(body)}


def test_a_certificate_that_nobody_signed_is_not_believed(start, apps):
    back = joined(start, apps["back"], name="host-b", listen=("https://127.0.0.1:0",), arguments=("--tls", "self"))
    front = joined(start, apps["front"], peer_url(back, "grpcs"), name="host-a")
    error = eventually("the refusal", lambda: front.ps()["peers"][0]["last_error"])
    assert "S5032" in error


def test_the_way_in_is_plain_grpc_that_refuses_strangers(pair):
    _, back = pair
    # curl speaks HTTP/2 by prior knowledge; a message of gRPC has five bytes before it.
    done = subprocess.run(
        ["curl", "-sS", "--http2-prior-knowledge", "-i", "-X", "POST", "-H", "content-type: application/grpc", "-H",
         "te: trailers", "--data-binary", "@/dev/null",
         f"http://127.0.0.1:{back.address[1]}/shunt.interconnect.v1.Interconnect/Link"],
        capture_output=True, timeout=harness.PATIENCE)
    assert b"grpc-status: 3" in done.stdout and b"HTTP/2 200" in done.stdout, done.stdout + done.stderr


def test_a_hostile_peer_harms_nobody_else(pair):
    """Garbage where frames should be, for a stream that was let in: that stream ends, calls of others go on."""
    front, back = pair
    done = subprocess.run(
        ["curl", "-sS", "--http2-prior-knowledge", "-i", "-X", "POST", "-H", "content-type: application/grpc", "-H",
         "te: trailers", "-H", "shunt-interconnect: 1", "-H", "shunt-node: " + "e" * 32, "-H",
         "shunt-node-name-bin: ZXZpbA", "-H", "shunt-epoch: 1", "-H", "shunt-software: evil", "-H",
         "shunt-challenge: " + "0" * 32, "-H", "shunt-auth: open", "--data-binary", "@-",
         f"http://127.0.0.1:{back.address[1]}/shunt.interconnect.v1.Interconnect/Link"],
        input=b"\0\0\0\0\x0b\x0a\x09" + b"not frames"[:9] + b"\xff" * 64, capture_output=True, timeout=harness.PATIENCE)
    assert b"HTTP/2 200" in done.stdout
    assert front.call("back.hello").code == 0
    assert back.call("back.hello").code == 0
    eventually("the stranger to be gone", lambda: all(p["name"] != "evil" or p["state"] == "lost" for p in back.ps()["peers"]))
