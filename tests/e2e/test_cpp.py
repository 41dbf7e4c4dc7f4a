"""C++ services: the same library in each backend, threads of its own, and what a broken one costs."""

import concurrent.futures

import pytest

import harness
from harness import eventually, write_app

BACKENDS = ["inside", "outside", "threads"]


@pytest.mark.parametrize("service", BACKENDS)
def test_every_form_of_call(lab, service):
    assert [line["n"] for line in lab.call(f"{service}.count", {"to": 300}).lines] == list(range(300))
    assert lab.cli("call", f"{service}.add", "-", stdin='{"n":1}\n{"n":2}\n{"n":3}').json == {"n": 6}
    assert lab.cli("call", f"{service}.running", "-", stdin='{"n":1}\n{"n":2}').lines == [{"n": 1}, {"n": 3}]
    assert lab.http("POST", f"/{service}/reverse", b"abc", {"Content-Type": "application/octet-stream"}).body == b"cba"
    assert lab.post(f"/{service}/ask", {"name": "Ann"}).json == {"message": "Hello, Ann!"}
    assert lab.post(f"/{service}/collect", {"to": 100}).json == {"n": 4950}
    assert lab.post(f"/{service}/refuse", {"name": "not now"}).json["message"] == "not now"


def test_where_they_run(lab):
    node = lab.ps()["node"]["pid"]
    assert lab.get("/inside/ping").json["pid"] == node
    assert lab.get("/threads/ping").json["pid"] == node
    assert lab.get("/outside/ping").json["pid"] == lab.worker("outside") != node
    # A call from one to the other crosses over.
    assert lab.post("/outside/ask_inside").json["pid"] == node
    assert lab.post("/inside/ask_inside").json["pid"] == node


def test_a_module_has_threads_of_its_own(lab):
    """Three handlers that block their threads at the same time, while the loops go on serving."""
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        meetings = [pool.submit(lab.post, "/threads/meet", {"count": 3}) for _ in range(2)]
        eventually("two of them to be in", lambda: lab.service("threads")["in_flight"] == 2)
        assert lab.get("/inside/ping").status == 200
        meetings.append(pool.submit(lab.post, "/threads/meet", {"count": 3}))
        assert [meeting.result().json for meeting in meetings] == [{"count": 3}] * 3
    threads = {lab.get("/threads/ping").json["thread"] for _ in range(60)}
    assert len(threads) > 1


@pytest.mark.parametrize("service", BACKENDS)
@pytest.mark.parametrize("command", ["throws", "throws_later"])
def test_an_exception_is_internal_and_in_the_log(lab, service, command):
    answer = lab.post(f"/{service}/{command}", {"name": f"swordfish-{command}"})
    assert (answer.status, answer.json["code"]) == (500, "internal")
    assert b"swordfish" not in answer.body
    eventually("what() in the log", lambda: f"boom swordfish-{command}" in lab.cli("logs", service, "-n", "1000").out)
    assert lab.get(f"/{service}/ping").status == 200


@pytest.mark.parametrize("service", BACKENDS)
def test_a_wrong_argument_is_named(lab, service):
    answer = lab.post(f"/{service}/count", {"to": "many"})
    assert answer.status == 400 and "to: expected" in answer.json["message"]
    answer = lab.post(f"/{service}/count", {"too": 1})
    assert answer.status == 400 and "too" in answer.json["message"]


@pytest.mark.parametrize("service", BACKENDS)
def test_its_log(lab, service):
    lab.post(f"/{service}/says", {"name": f"a word of {service}"})
    eventually("it in the log", lambda: any(
        line["text"] == f"a word of {service}" and line["level"] == "warning"
        for line in lab.cli("logs", service, "--json", "-n", "1000").lines))


@pytest.mark.parametrize("service", BACKENDS)
def test_a_deadline_cancels_the_coroutine(lab, service):
    answer = lab.post(f"/{service}/hang", {"name": f"late-{service}"}, **{"Connect-Timeout-Ms": "50"})
    assert answer.status == 504
    eventually("the handler to notice", lambda: f"late-{service} cancelled" in lab.get(f"/{service}/seen").json["notes"])


def test_a_segfault_in_the_node_costs_a_restart_and_ps_says_whose(start, tmp_path):
    node = start(harness.lab(tmp_path))
    before = {name: node.worker(name) for name in ("shapes", "notes", "asker", "outside")}
    first = node.ps()["node"]
    node.post("/notes/note", {"text": "still here"})
    node.post("/outside/says", {"name": "still here"})

    def answered(command):
        try:
            return node.post(f"/inside/{command}").status
        except (OSError, EOFError, __import__("http.client").client.HTTPException):
            return None

    assert answered("crash") in (None, 503)
    eventually("calls to work again", lambda: answered("ping") == 200)
    after = eventually("all to be ready", lambda: (ps := node.cli("ps", "--json")).code == 0 and
                       all(s["state"] == "ready" for s in ps.json["services"]) and ps.json)
    assert after["node"]["pid"] != first["pid"] and after["node"]["restarts"] == 1
    assert "SIGSEGV" in after["node"]["last_crash"] and "lab.inside" in after["node"]["last_crash"]
    told = {service["name"]: service for service in after["services"]}
    assert "SIGSEGV" in told["lab.inside"]["last_error"]
    assert told["lab.outside"]["last_error"] == told["lab.threads"]["last_error"] == ""
    assert "lab.inside" in node.cli("ps").out and "SIGSEGV" in node.cli("ps").out
    # The others' workers were adopted, not started again: they remember.
    assert {name: node.worker(name) for name in before} == before
    assert "still here" in node.get("/notes/seen").json
    assert node.post("/asker/relay", {"service": "outside", "command": "ask", "request": {"name": "b"}}).status == 200
    assert node.stop() == 0


def test_a_segfault_in_a_worker_costs_that_worker(start, tmp_path):
    node = start(harness.lab(tmp_path))
    pid, house = node.worker("outside"), node.ps()["node"]["pid"]
    answer = node.post("/outside/crash")
    assert (answer.status, answer.json["code"]) == (503, "unavailable")
    assert "SIGSEGV" in answer.json["message"]
    service = eventually("it to be back", lambda: node.is_ready("outside"))
    assert service["restarts"] == 1 and "SIGSEGV" in service["last_error"]
    assert service["instances"][0]["pid"] != pid and node.ps()["node"]["pid"] == house
    assert node.get("/outside/ping").status == 200


def test_libraries_that_are_no_modules_are_told_and_harm_nobody(start, tmp_path):
    """A library without the entry point, one of another ABI, one that is no library; beside one that is good."""
    testdata = harness.BUILD / "src/library"
    text = tmp_path / "text.so"
    text.write_text("no library at all")
    services = {
        "good": harness.MODULES / "libunruly.so",
        "entry": testdata / "liblibrary_test_no_entry.so",
        "abi": testdata / "liblibrary_test_other_abi.so",
        "text": text,
    }
    app = write_app(tmp_path / "modules", {
        "name": "modules", "services": {name: {"type": "c++", "args": str(path)} for name, path in services.items()}})
    node = start(app, wait=False)
    eventually("every service to be settled", lambda: (node.data / "admin.sock").exists() and node.cli("ps").code == 0 and
               all(s["state"] in ("ready", "failed") for s in node.ps()["services"]))
    assert node.call("good.ping").code == 0
    for name, error in {"entry": "S2060", "abi": "S2061", "text": "S2065"}.items():
        assert node.service(f"modules.{name}")["last_error"].startswith(error)
