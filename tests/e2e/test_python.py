"""Python services: every promise of the SDK, seen from outside."""

import concurrent.futures
import json
import subprocess
import sys

import pytest

import harness
from harness import eventually, write_app


def seen(node):
    return node.get("/notes/seen").json


def test_sync_and_async_handlers_answer(lab):
    assert lab.call("shapes.greet").json == {"message": "Hello, world!"}
    assert lab.call("shapes.greet", {"name": "Ann"}).json == {"message": "Hello, Ann!"}
    assert lab.call("shapes.wave", {"times": 2}).json == {"name": "world", "times": 2, "loud": False}


def test_generators_stream(lab):
    assert [line["n"] for line in lab.call("shapes.count", {"to": 4}).lines] == [0, 1, 2, 3]
    assert [line["n"] for line in lab.call("shapes.count_async", {"to": 4}).lines] == [0, 1, 2, 3]
    assert len(lab.call("shapes.count", {"to": 20000}).lines) == 20000
    assert len(lab.call("shapes.count_async", {"to": 5000}).lines) == 5000


def test_request_streams(lab):
    assert lab.cli("call", "shapes.add", "-", stdin="1\n2\n3\n").json == {"sum": 6}
    assert lab.cli("call", "shapes.running", "-", stdin="1\n2\n3").lines == [1, 3, 6]


def test_bytes_in_and_out(lab):
    done = lab.cli("call", "shapes.reverse", "-", "--content-type", "application/octet-stream", stdin="abc")
    assert done.out == "cba"
    # The caller in between is Python too.
    assert lab.call("asker.reverse", {"text": "stressed"}).json == "desserts"


@pytest.mark.parametrize("command, request_, message", [
    ("greet", {"name": 5}, "name: expected a string, found an integer"),
    ("greet", {"nam": "x"}, 'nam: is not an argument of greet; did you mean "name"?'),
    ("count", {}, "to: is missing: expected an integer"),
    ("count", {"to": True}, "to: expected an integer"),
    ("order", {"items": [{"sku": "tea"}, {"sku": "tea", "count": "2"}]}, "items[1].count: expected an integer, found a string"),
    ("order", {"items": [{"sku": "tea", "colour": "blue"}]}, "items[0].colour: expected"),
    ("order", {"items": {}}, "items: expected an array"),
])
def test_a_wrong_argument_is_named_before_the_handler_runs(lab, command, request_, message):
    answer = lab.post(f"/shapes/{command}", request_)
    assert (answer.status, answer.json["code"], answer.json["id"]) == (400, "invalid_argument", "S1030")
    assert message in answer.json["message"]


def test_what_is_no_object_is_refused(lab):
    for body in ("[1]", "5", '"x"', "{", "nan", '{"name":"\\ud8'):
        answer = lab.http("POST", "/shapes/greet", body, {"Content-Type": "application/json"})
        assert answer.status == 400, body
    # Half a character is JSON on the way in; on the way out it has no form in UTF-8.
    answer = lab.http("POST", "/shapes/greet", '{"name":"\\ud800"}', {"Content-Type": "application/json"})
    assert (answer.status, answer.json["id"]) == (500, "S1032")


def test_an_error_answers_any_status(lab):
    done = lab.call("shapes.refuse", {"code": "not_found", "message": "no such thing"})
    assert (done.code, done.out) == (5, "") and "no such thing" in done.err
    assert lab.call("asker.catches", {"code": "aborted"}).json == {"code": "aborted", "message": "no", "details": [{"a": 1}]}
    # One that the handler between does not catch becomes its own.
    assert lab.post("/asker/relay", {"service": "shapes", "command": "refuse", "request": {"code": "aborted"}}).status == 409


@pytest.mark.parametrize("command", ["explode", "explode_async"])
def test_an_exception_is_internal_and_its_traceback_in_the_log(lab, command):
    answer = lab.post(f"/shapes/{command}", {"secret": f"swordfish-{command}"})
    assert (answer.status, answer.json["code"], answer.json["id"]) == (500, "internal", "S1031")
    for secret in (b"swordfish", b"Traceback", b"RuntimeError", b".py"):
        assert secret not in answer.body

    def logged():
        text = lab.cli("logs", "shapes", "-n", "1000").out
        return f"RuntimeError: boom swordfish-{command}" in text and "Traceback (most recent call last)" in text and "shapes.py" in text

    eventually("the traceback in the log", logged)
    assert lab.post("/shapes/greet").status == 200


def test_an_exception_in_a_stream_ends_it(lab):
    answer = lab.post("/shapes/explodes_late", {"after": 2})
    assert len(answer.lines) == 3 and answer.lines[2]["$error"]["code"] == "internal"
    assert b"secret-late" not in answer.body


def test_an_answer_without_a_form_in_json_is_internal(lab):
    answer = lab.post("/shapes/unspeakable")
    assert (answer.status, answer.json["id"]) == (500, "S1032")


def test_the_call_tells_of_itself(lab):
    told = lab.cli("call", "shapes.who", "-m", "tenant=blue", "-t", "5s").json
    assert told["kind"] == "operator" and told["metadata"]["tenant"] == "blue" and told["command"] == "who"
    assert 0 < told["remaining"] <= 5
    told = lab.post("/asker/relay", {"service": "shapes", "command": "who", "request": {}}).json
    assert (told["kind"], told["service"]) == ("service", "lab.asker")


@pytest.mark.parametrize("command", ["ask", "ask_async"])
def test_services_call_each_other(lab, command):
    assert lab.post(f"/asker/{command}", {"name": "Ann"}).json == {"message": "Hello, Ann!"}


def test_calls_of_every_form_between_services(lab):
    assert lab.post("/asker/ask_many", {"count": 50}).json == 50
    assert lab.post("/asker/collect", {"to": 300}).json == list(range(300))
    assert lab.post("/asker/collect_async", {"to": 300}).json == list(range(300))
    assert lab.post("/asker/add", {"to": 300}).json == {"sum": 44850}
    # Python to C++ in the node, to C++ in its own process; and C++ to Python.
    for command in ("relay", "relay_async"):
        for service in ("inside", "outside"):
            answer = lab.post(f"/asker/{command}", {"service": service, "command": "ask", "request": {"name": command}})
            assert answer.json == {"message": f"Hello, {command}!"}


def test_a_service_that_calls_back_into_its_caller(lab):
    """asker (async) → shapes' worker would wait for itself if calls shared a thread that waits."""
    answer = lab.post("/asker/relay_async", {"service": "asker", "command": "ask_async", "request": {"name": "twice"}})
    assert answer.json == {"message": "Hello, twice!"}


def test_deadlines_travel(lab):
    told = lab.http("POST", "/asker/remaining_there", {}, {"Connect-Timeout-Ms": "5000"}).json
    assert 0 < told["there"] <= told["here"] + 0.001 <= 5.001
    assert lab.post("/asker/with_timeout").json == {"code": "deadline_exceeded"}
    # Of a call with no deadline of its own: the default minute.
    assert 0 < lab.get("/shapes/who").json["remaining"] <= 60
    for command in ("hang_there", "hang_there_async"):
        answer = lab.http("POST", f"/asker/{command}", {"name": f"late-{command}"}, {"Connect-Timeout-Ms": "200"})
        assert answer.status == 504
        eventually("the call behind to be cancelled", lambda: f"late-{command} cancelled" in seen(lab))


def test_a_sync_handler_sees_its_cancellation(lab):
    answer = lab.http("POST", "/asker/spin", {"name": "spinning"}, {"Connect-Timeout-Ms": "100"})
    assert answer.status == 504
    eventually("the handler to see it", lambda: "spinning saw it" in lab.cli("logs", "asker", "-n", "1000").out)
    assert lab.post("/asker/ask", {"name": "x"}).status == 200


def test_async_handlers_run_at_the_same_time(lab):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: lab.post("/notes/meet", {"name": "eight", "count": 8}), range(8)))
    assert [answer.json["met"] for answer in answers] == [8] * 8


def test_beyond_its_concurrency_calls_wait_in_the_queue(lab):
    """Twenty at once for a worker that takes ten: all are answered."""
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: lab.post("/asker/ask_async", {"name": str(n)}), range(20)))
    assert {answer.json["message"] for answer in answers} == {f"Hello, {n}!" for n in range(20)}


def test_what_a_worker_prints_and_logs_is_in_the_log(lab):
    lab.call("shapes.say", {"text": "printed-line"})
    lab.call("shapes.say_log", {"text": "logged-line"})

    def entries():
        found = [line for line in lab.cli("logs", "shapes", "--json", "-n", "1000").lines
                 if line["text"].endswith(("printed-line", "logged-line"))]
        return len(found) >= 2 and found

    printed, logged = eventually("both lines", entries)
    assert (printed["service"], printed["level"]) == ("lab.shapes", "output")
    assert str(lab.worker("shapes")) in printed["instance"] or "shapes#1" in printed["instance"]
    assert logged["level"] == "warning"


def test_the_schema_and_the_docstring_come_from_the_code(lab):
    page = lab.get("/").body.decode()
    assert "Greets someone." in page and "Waves at someone." in page and "colour" in page


def test_the_users_virtualenv_is_honoured(start, tmp_path):
    folder = write_app(tmp_path / "venv-app", {
        "name": "venv-app", "type": "python", "args": "app.py", "python": ".venv/bin/python", "env": {"FLAVOUR": "mint"},
    }, app_py=(harness.APPS / "lab/shapes.py").read_text().replace("import shunt\n", "import only_here\nimport shunt\n", 1))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / ".venv")], check=True, timeout=120)
    [site] = folder.glob(".venv/lib/python*/site-packages")
    (site / "only_here.py").write_text("")
    node = start(folder)
    about = node.call("venv-app.about").json
    assert about["prefix"] == str(folder / ".venv") and about["flavour"] == "mint"


def test_a_file_run_by_hand_says_what_to_do(tmp_path):
    done = subprocess.run([sys.executable, str(harness.APPS / "lab/shapes.py")], capture_output=True, timeout=60,
                          env=harness.environment(PYTHONPATH=str(harness.BUILD / "python")), check=False)
    assert done.returncode == 2 and b"shunt run" in done.stderr


BROKEN = {
    "imports": ("import nowhere_to_be_found\n", "S2062", "nowhere_to_be_found"),
    "syntax": ("def f(:\n", "S2062", "SyntaxError"),
    "exits": ("import sys\nsys.exit(3)\n", "S20", "3"),
    "silent": ("x = 1\n", "S20", ""),
    "hint": ("import shunt\ns = shunt.Service()\n@s.command\ndef f(x: complex): ...\ns.run()\n", "S2062", "complex"),
}


def test_files_that_do_not_describe_themselves_are_told_and_harm_nobody(start, tmp_path):
    good = write_app(tmp_path / "good", {"type": "python", "args": "good.py"}, good_py=(harness.APPS / "lab/shapes.py").read_text())
    bad = write_app(tmp_path / "bad", {"name": "bad", "services": {name: {"type": "python", "args": f"{name}.py"} for name in BROKEN}},
                    **{f"{name}_py": text for name, (text, _, _) in BROKEN.items()})
    node = start(good, bad, wait=False)
    eventually("every service to be settled", lambda: "admin.sock" in [p.name for p in node.data.iterdir()] and
               node.cli("ps").code == 0 and all(s["state"] in ("ready", "failed") for s in node.ps()["services"]))
    assert node.call("good.greet").code == 0
    for name, (_, error, word) in BROKEN.items():
        service = node.service(f"bad.{name}")
        assert service["state"] == "failed" and service["last_error"].startswith(error), service
        assert word in node.output
        done = node.call(f"bad.{name}.anything")
        assert done.code == 14 and error in done.err
