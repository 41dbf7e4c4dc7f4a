"""HTTP as clients speak it: forms, statuses, streams, limits, and what a web page may not do."""

import concurrent.futures
import contextlib
import http.client
import json
import re
import socket
import subprocess
import time

import pytest

import harness
from harness import Raw, eventually, write_app

STATUSES = {
    "cancelled": 499,
    "unknown": 500,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data_loss": 500,
    "unauthenticated": 401,
}
JSON = "Content-Type: application/json"
LINES = "Content-Type: application/x-ndjson"


def seen(node, service="notes"):
    answer = node.get(f"/{service}/seen").json
    return answer if isinstance(answer, list) else answer["notes"]


# --- answers and errors ---


@pytest.mark.parametrize("code", STATUSES)
def test_each_code_has_its_status_and_a_connect_error_body(lab, code):
    answer = lab.post("/shapes/refuse", {"code": code, "message": "so it is", "details": [{"a": 1}]})
    assert answer.status == STATUSES[code]
    assert answer.headers["content-type"] == "application/json"
    # Connect's spelling of this one is its own.
    assert answer.json["code"] == code.replace("cancelled", "canceled") and answer.json["message"] == "so it is"
    assert {"a": 1} in [detail.get("debug", detail.get("value", detail)) for detail in answer.json["details"]]


def test_a_deadline_is_504(lab):
    answer = lab.post("/notes/hang", {"name": "too-late"}, **{"Connect-Timeout-Ms": "50"})
    assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")
    eventually("the handler to be cancelled", lambda: "too-late cancelled" in seen(lab))


@pytest.mark.parametrize("timeout", ["x", "-1", "12345678901", "1.5"])
def test_a_malformed_timeout_is_refused(lab, timeout):
    answer = lab.post("/shapes/greet", {}, **{"Connect-Timeout-Ms": timeout})
    assert (answer.status, answer.json["id"]) == (400, "S4012")


def test_get_reads_its_arguments_from_the_query(lab):
    assert lab.get("/shapes/wave?name=J%C3%BCrgen+K&times=3&loud=true").json == {
        "name": "Jürgen K", "times": 3, "loud": True}
    wrong = lab.get("/shapes/wave?times=many")
    assert wrong.status == 400 and "times" in wrong.json["message"]
    assert lab.get("/shapes/wave?speed=1").status == 400


def test_a_connect_get(lab):
    answer = lab.get("/shapes/wave?connect=v1&encoding=json&message=%7B%22name%22%3A%22Ann%22%7D")
    assert answer.status == 200 and answer.json["name"] == "Ann"


def test_what_may_change_something_needs_post(lab):
    answer = lab.get("/shapes/greet")
    assert answer.status == 405 and answer.headers["allow"] == "POST, OPTIONS" and answer.json["id"] == "S4009"
    answer = lab.http("PUT", "/shapes/wave")
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD, POST, OPTIONS"
    assert lab.http("DELETE", "/").headers["allow"] == "GET, HEAD, OPTIONS"


def test_options_tells_the_methods(lab):
    assert lab.http("OPTIONS", "/shapes/greet").headers["allow"] == "POST, OPTIONS"
    assert lab.http("OPTIONS", "/shapes/wave").headers["allow"] == "GET, HEAD, POST, OPTIONS"
    assert lab.http("OPTIONS", "*").status in (200, 204)


def test_head_is_get_without_the_body(lab):
    with lab.raw() as client:
        client.request("HEAD", "/shapes/wave")
        head = client.answer("HEAD")
        client.request("GET", "/shapes/wave")
        get = client.answer()
        assert (head.status, head.headers["content-length"]) == (200, str(len(get.body)))


def test_what_is_not_there_tells_what_is(lab):
    answer = lab.post("/shape/greet", {})
    assert answer.status == 404 and "lab.shapes" in answer.json["message"]
    answer = lab.post("/shapes/gret", {})
    assert answer.status == 501 and "greet" in answer.json["message"]
    assert lab.get("/nowhere").status == 404
    assert lab.get("/a/b/c").status == 404


def test_bytes_pass_as_they_are(lab):
    body = bytes(range(256)) * 300
    answer = lab.http("POST", "/shapes/reverse", body, {"Content-Type": "application/octet-stream"})
    assert answer.status == 200 and answer.body == body[::-1]
    assert answer.headers["content-type"] == "application/octet-stream"
    assert lab.post("/shapes/pixel").headers["content-type"] == "image/gif"


def test_metadata_travels_both_ways(lab):
    answer = lab.get("/shapes/who", **{"X-Tenant": "blue", "traceparent": "00-1-2-3"})
    assert answer.json["metadata"]["x-tenant"] == "blue"
    assert answer.json["kind"] == "gateway"
    # Nobody says who he is in a header.
    forged = lab.get("/shapes/who", **{"Shunt-Principal": "operator", "Shunt-User": "root"})
    assert (forged.json["kind"], forged.json["user"]) == ("gateway", "")


# --- streams ---


def test_a_stream_is_ndjson(lab):
    answer = lab.get("/shapes/count?to=3")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.lines == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert lab.get("/shapes/count?to=0").body == b""


def test_a_stream_is_server_sent_events_when_asked_for(lab):
    answer = lab.get("/shapes/count?to=2", Accept="text/event-stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body == b'retry: 2000\n\nid: 1\ndata: {"n": 0}\n\nid: 2\ndata: {"n": 1}\n\nevent: end\ndata: {}\n\n'.replace(b'": ', b'":')


def test_an_error_before_the_first_line_has_its_status(lab):
    answer = lab.post("/shapes/breaks_off", {"after": 0})
    assert answer.status == 400 and answer.json["code"] == "failed_precondition"


def test_an_error_after_the_first_line_ends_the_stream(lab):
    answer = lab.post("/shapes/breaks_off", {"after": 2})
    assert answer.status == 200 and answer.lines[:2] == [{"n": 0}, {"n": 1}]
    assert answer.lines[2]["$error"]["code"] == "failed_precondition"
    events = lab.post("/shapes/breaks_off", {"after": 1}, Accept="text/event-stream").body.decode()
    assert re.search(r'event: error\ndata: \{"code":"failed_precondition".*\n\n$', events)


def test_a_stream_arrives_while_it_is_made(lab):
    with lab.raw() as client:
        client.request("POST", "/notes/drip", JSON, body='{"name": "dripping"}')
        assert client.head().status == 200
        assert json.loads(client.chunk()) == {"drop": 1}
    eventually("the generator to be closed", lambda: "dripping cancelled" in seen(lab))


@pytest.mark.parametrize("service", ["shapes", "inside", "outside"])
def test_a_request_streams(lab, service):
    """Both ways at once: each line is answered before the next is sent."""
    line = (lambda n: f"{n}\n") if service == "shapes" else (lambda n: f'{{"n":{n}}}\n')
    value = (lambda text: json.loads(text)) if service == "shapes" else (lambda text: json.loads(text)["n"])

    def chunk(text):
        return f"{len(text):x}\r\n{text}\r\n"

    with lab.raw() as client:
        client.send(f"POST /{service}/running HTTP/1.1\r\nHost: localhost\r\n{LINES}\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(chunk(line(1)))
        assert client.head().status == 200
        assert value(client.chunk()) == 1
        for number, total in ((2, 3), (3, 6)):
            client.send(chunk(line(number)))
            assert value(client.chunk()) == total
        client.send("0\r\n\r\n")
        assert client.chunk() == b""
        client.request("GET", "/shapes/wave")  # The connection goes on.
        assert client.answer().status == 200


def test_a_streamed_request_has_one_answer(lab):
    many = "".join(f"{n}\n" for n in range(5000))
    assert lab.http("POST", "/shapes/add", many, {"Content-Type": "application/x-ndjson"}).json == {"sum": sum(range(5000))}
    wrong = lab.http("POST", "/shapes/add", "1\ntwo\n", {"Content-Type": "application/x-ndjson"})
    assert wrong.status == 400


def test_a_chunked_body_of_a_unary_call(lab):
    with lab.raw() as client:
        client.send(f"POST /shapes/greet HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n"
                    '8\r\n{"name":\r\n6\r\n"Ann"}\r\n0\r\n\r\n')
        assert client.answer().json == {"message": "Hello, Ann!"}


def test_a_slow_reader_holds_up_nobody_else(lab):
    with lab.raw() as slow:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.request("POST", "/notes/flood", JSON, body='{"name": "flooding"}')
        assert slow.head().status == 200
        for _ in range(20):
            assert lab.post("/notes/note", {"text": "meanwhile"}).status == 200
    eventually("the flood to end", lambda: "flooding cancelled" in seen(lab))


# --- the connection ---


def test_keep_alive(lab):
    with lab.raw() as client:
        for n in range(20):
            client.request("POST", "/shapes/greet", JSON, body=json.dumps({"name": str(n)}))
            assert client.answer().json == {"message": f"Hello, {n}!"}
        client.request("GET", "/livez", "Connection: close")
        assert client.answer().headers["connection"] == "close"
        assert client.is_closed()


def test_pipelining_keeps_the_order(lab):
    with lab.raw() as client:
        for n in range(30):
            path = ("/shapes/wave", "/inside/ping", "/outside/ping")[n % 3]
            client.request("GET", path + (f"?times={n}" if n % 3 == 0 else ""))
        for n in range(30):
            answer = client.answer()
            assert answer.status == 200
            assert n % 3 or answer.json["times"] == n


def test_expect_100_continue(lab):
    body = '{"name": "Ann"}'
    with lab.raw() as client:
        head = f"POST {{}} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
        client.send(head.format("/shapes/greet"))
        assert client.answer().status == 100
        client.send(body)
        assert client.answer().json == {"message": "Hello, Ann!"}
    with lab.raw() as client:  # What is refused anyway is refused before the body.
        client.send(head.format("/nothing/here"))
        assert client.answer().status == 404


def test_curl_sends_a_large_body(lab, tmp_path):
    (tmp_path / "body").write_bytes(b"x" * 3_000_000)
    done = subprocess.run(["curl", "-sS", "-H", "Content-Type: application/octet-stream", "--data-binary", f"@{tmp_path}/body",
                           f"{lab.url}/shapes/reverse"], capture_output=True, check=True, timeout=60)
    assert done.stdout == b"x" * 3_000_000


@pytest.mark.parametrize("service", ["shapes", "inside", "outside"])
def test_bodies_of_many_megabytes_pass(lab, service):
    body = bytes(range(256)) * (40 * 1024) + b"end"  # 10 MiB
    answer = lab.http("POST", f"/{service}/reverse", body, {"Content-Type": "application/octet-stream"})
    assert answer.status == 200 and answer.body == body[::-1]
    for size in (16 * 1024 - 1, 16 * 1024 + 1, 70_000, 300_000):  # Around the size of a frame, and of what is sent at once.
        answer = lab.http("POST", f"/{service}/reverse", body[:size], {"Content-Type": "application/octet-stream"})
        assert answer.body == body[:size][::-1], size
    with lab.raw() as client:
        client.send(f"POST /{service}/reverse HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
                    f"Content-Length: {16 * 1024 * 1024 + 1}\r\n\r\n")
        assert client.answer().status == 413


def test_a_stream_to_a_command_that_takes_one_request_is_refused(lab):
    for service in ("shapes", "inside"):
        answer = lab.http("POST", f"/{service}/refuse", '{"code":"aborted"}\n', {"Content-Type": "application/x-ndjson"})
        assert answer.status == 415 and "application/json" in answer.json["message"]


def test_http_1_0(lab):
    with lab.raw() as client:
        client.send("GET /shapes/wave HTTP/1.0\r\n\r\n")
        answer = client.head()
        assert answer.status == 200 and answer.headers["connection"] == "close"
    with lab.raw() as client:
        client.send("GET /shapes/count?to=2 HTTP/1.0\r\n\r\n")
        assert "transfer-encoding" not in client.head().headers
        assert client.exactly(len(b'{"n":0}\n{"n":1}\n')).count(b"\n") == 2
        assert client.is_closed()


@pytest.mark.parametrize("junk", [
    "GARBAGE\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",  # No Host.
    "GET / HTTP/3.0\r\nHost: localhost\r\n\r\n",
    "POST /shapes/greet HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "POST /shapes/greet HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /shapes/greet HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "POST /shapes/greet HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
    f"POST /shapes/greet HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: 1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\n folded: 1\r\n\r\n",
])
def test_what_is_no_request_is_refused_and_closed(lab, junk):
    with lab.raw() as client:
        client.send(junk)
        answer = client.answer()
        assert answer.status in (400, 501, 505)
        assert answer.json["id"] == "S4001"
        assert client.is_closed()


def test_a_client_that_vanishes_cancels_its_call(lab):
    for service, notes in (("notes", "notes"), ("inside", "inside"), ("outside", "outside")):
        name = f"vanishing-{service}"
        with lab.raw() as client:
            client.request("POST", f"/{service}/hang", JSON, body=json.dumps({"name": name}))
            eventually("the call to begin", lambda: f"{name} began" in seen(lab, notes))
        eventually("the handler to notice", lambda: f"{name} cancelled" in seen(lab, notes))


def test_a_cancellation_travels_on(lab):
    for command in ("hang_there", "hang_there_async"):
        with lab.raw() as client:
            client.request("POST", f"/asker/{command}", JSON, body=json.dumps({"name": command}))
            eventually("the call to begin", lambda: f"{command} began" in seen(lab))
        eventually("the handler behind to notice", lambda: f"{command} cancelled" in seen(lab))


# --- limits ---


@pytest.fixture(scope="module")
def small(start_shared, tmp_path_factory):
    """A node with small limits: some from flags, some from its manifest."""
    folder = write_app(tmp_path_factory.mktemp("small"), {
        "name": "small", "type": "python", "args": "small.py",
        "http": {"body-limit": "4KiB", "connection-limit": 8, "body-timeout": "300ms"},
    }, small_py=(harness.APPS / "lab/shapes.py").read_text())
    return start_shared(folder, arguments=["--header-limit", "2KiB", "--header-timeout", "300ms", "--idle-timeout", "300ms"])


def test_a_body_without_a_known_type_is_415(lab):
    assert lab.http("POST", "/shapes/greet", b"{}", {"Content-Type": "text/plain"}).status == 415
    assert lab.http("POST", "/shapes/greet", b"{}", {"Content-Type": "application/x-www-form-urlencoded"}).status == 415
    with lab.raw() as client:
        client.request("POST", "/shapes/greet", body=b"{}")
        answer = client.answer()
        assert (answer.status, answer.json["id"]) == (415, "S4008")


def test_a_body_that_is_too_large_is_413(small):
    answer = small.post("/small/greet", {"name": "x" * 5000})
    assert (answer.status, answer.json["id"]) == (413, "S4003")
    with small.raw() as client:  # Also when its length is not told before.
        client.send(f"POST /small/greet HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send("1400\r\n" + "x" * 0x1400 + "\r\n")
        assert client.answer().status == 413
    with small.raw() as client:  # And so is one line of a stream; the whole may be longer.
        client.request("POST", "/small/add", LINES, body="1\n" * 5000)
        assert client.answer().json == {"sum": 5000}
        client.request("POST", "/small/add", LINES, body="1" * 5000)
        assert client.answer().status == 413


def test_headers_that_are_too_large_are_431_and_a_line_414(small, lab):
    assert small.get("/livez", **{"X-Long": "x" * 3000}).status == 431
    assert lab.get("/livez?" + "x" * 9000).status == 414
    assert lab.http("GET", "/livez", headers={f"X-{n}": "1" for n in range(200)}).status == 431


def test_headers_that_do_not_come_are_408(small):
    with small.raw() as client:
        client.send("GET /livez HTT")
        answer = client.answer()
        assert (answer.status, answer.json["id"]) == (408, "S4004")
        assert client.is_closed()


def test_a_body_that_does_not_come_is_408(small):
    with small.raw() as client:
        client.send(f"POST /small/greet HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: 100\r\n\r\n{{")
        assert client.answer().status == 408


def test_an_idle_connection_is_closed(small):
    with small.raw() as client:
        client.request("GET", "/livez")
        assert client.answer().status == 200
        assert client.is_closed()


def test_connections_beyond_the_limit_are_503(small):
    def refused():
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(small.raw()) for _ in range(12)]
            answers = []
            for client in clients:
                with contextlib.suppress(OSError):
                    client.request("GET", "/livez")
            for client in clients:
                with contextlib.suppress(OSError, EOFError):
                    answers.append(client.answer())
            return [answer for answer in answers if answer.status == 503]

    answers = eventually("a connection to be refused", refused)
    assert answers[0].json["id"] == "S4005"
    eventually("connections to be taken again", lambda: small.get("/livez").status == 200)


# --- pages of its own ---


def test_health(lab):
    assert lab.get("/livez").status == 200
    assert lab.get("/readyz").status == 200
    assert lab.get("/healthz").status == 200


def test_metrics(lab):
    lab.post("/shapes/greet", {})
    text = lab.get("/metrics")
    assert text.headers["content-type"].startswith("text/plain")
    assert re.search(r'^shunt_\w+_total\{[^}]*service="lab.shapes"[^}]*command="greet"[^}]*\} \d+$', text.body.decode(), re.M)
    for line in text.body.decode().splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|[a-z_]+(\{.*\})? [-+.eE\d]+|\+Inf', line), line


def test_the_page(lab):
    page = lab.get("/")
    assert "Greets someone." in page.body.decode()
    assert "content-security-policy" in page.headers


# --- web pages and who may come in ---


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"},
    {"Host": "evil.example:8080"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
])
@pytest.mark.parametrize("path", ["/notes/note", "/livez", "/metrics"])
def test_a_foreign_page_is_refused(lab, headers, path):
    body = None if path != "/notes/note" else {"text": "from a web page"}
    answer = lab.http("POST" if body else "GET", path, body, headers)
    assert answer.status == (421 if "Host" in headers else 403)
    assert answer.json["id"] == ("S4006" if "Host" in headers else "S4007")
    assert not any(name.startswith("access-control") for name in answer.headers)
    assert "from a web page" not in seen(lab)


def test_what_is_ours_may(lab):
    port = lab.address[1]
    for headers in ({"Host": f"localhost:{port}"}, {"Host": "[::1]"}, {"Host": "127.0.0.1"}, {"Sec-Fetch-Site": "none"},
                    {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}", "Sec-Fetch-Site": "same-origin"}):
        assert lab.http("POST", "/shapes/greet", {}, headers).status == 200


EXPOSED = {
    "name": "doors",
    "services": {
        "open": {"type": "python", "args": "shapes.py", "expose": True, "auth": "none"},
        "guarded": {"type": "python", "args": "shapes.py", "expose": True, "auth": "token", "tokens": "tokens"},
        "hidden": {"type": "python", "args": "shapes.py"},
    },
}


@pytest.fixture(scope="module")
def doors_app(tmp_path_factory):
    folder = write_app(tmp_path_factory.mktemp("doors"), EXPOSED, shapes_py=(harness.APPS / "lab/shapes.py").read_text())
    (folder / "tokens").write_text("# who, and by which word\nann 0123456789abcdef0123\nbob bbbbbbbbbbbbbbbbbbbb\n")
    (folder / "tokens").chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def doors(start_shared, doors_app):
    # Beyond loopback: every address of this machine.
    return start_shared(doors_app, listen=["0.0.0.0:0"])


def test_only_what_is_exposed_is_reached(doors):
    assert doors.post("/open/greet", {}).status == 200
    hidden, absent = doors.post("/hidden/greet", {}), doors.post("/absent/greet", {})
    assert (hidden.status, absent.status) == (404, 404)
    assert hidden.body.replace(b"hidden", b"") == absent.body.replace(b"absent", b"")
    assert doors.post("/manager/stop", {}).status == 404
    assert b"hidden" not in doors.get("/").body
    assert doors.get("/metrics").status in (403, 404)
    # The operator's socket reaches everything.
    assert doors.call("hidden.greet").code == 0


def test_a_token_opens_what_is_guarded(doors):
    path = "/guarded/who"
    for header in ({}, {"Authorization": "Bearer wrong-wrong-wrong-wrong"}, {"Authorization": "Basic YTpi"},
                   {"Authorization": "Bearer "}):
        answer = doors.get(path, **header)
        assert (answer.status, answer.json["id"]) == (401, "S4010")
        assert "Bearer" in answer.headers["www-authenticate"]
    answer = doors.get(path, Authorization="Bearer 0123456789abcdef0123")
    assert answer.status == 200 and answer.json["user"] == "ann"
    assert doors.get("/open/who").json["user"] == ""
    assert "0123456789abcdef0123" not in doors.output


def test_a_token_on_the_command_line(doors):
    url = doors.url.replace("0.0.0.0", "127.0.0.1")
    assert harness.run("call", "guarded.who", "--at", url).code == 16
    done = harness.run("call", "guarded.who", "--at", url, "-m", "authorization=Bearer bbbbbbbbbbbbbbbbbbbb")
    assert done.code == 0 and done.json["user"] == "bob", done


def test_no_dev_closes_what_loopback_opens(start, doors_app):
    node = start(doors_app, arguments=["--no-dev"])
    assert node.post("/open/greet", {}).status == 200
    assert node.post("/hidden/greet", {}).status == 404
    assert node.get("/guarded/who").status == 401


def test_dev_opens_everything_and_says_so(start, doors_app):
    node = start(doors_app)
    assert node.post("/hidden/greet", {}).status == 200
    eventually("a word about it", lambda: re.search("^dev: every command", node.output, re.M))


def test_beyond_loopback_auth_must_be_said(start, tmp_path):
    folder = write_app(tmp_path / "unsaid", {"name": "unsaid", "type": "python", "args": "a.py", "expose": True},
                       a_py=(harness.APPS / "lab/shapes.py").read_text())
    node = start(folder, listen=["0.0.0.0:0"], wait=False)
    assert node.wait() != 0
    assert "S2044" in node.output


def test_calls_between_services_need_both_sides(lab):
    answer = lab.post("/asker/forbidden", {})
    assert answer.status == 403 and "uses" in answer.json["message"]
    assert lab.post("/outside/forbidden", {}).status == 403
    assert lab.post("/inside/forbidden", {}).status == 403
