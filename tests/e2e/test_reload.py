"""A running node takes up its manifests again: services come, go and move under load, and not one call fails."""

import contextlib
import http.client
import json
import shutil
import signal
import threading

import harness
import pytest
from harness import eventually, run, write_app

PLACES = [{"backend": "thread"}, {"backend": "process"}, {"backend": "thread", "threads": 2},
          {"backend": "process", "pool-limit": 2}]

COUNTER = """
import os
import shunt

service = shunt.Service()

@service.command
def get(n: int) -> dict:
    return {"version": %d, "pid": os.getpid(), "n": n}

if __name__ == "__main__":
    service.run()
"""


def mover(folder, engine, version=1, **more):
    """An app whose library is a file of its own, so that it can be replaced."""
    folder.mkdir(exist_ok=True)
    if not (folder / "libmover.so").exists():
        shutil.copy(harness.MODULES / f"libmover{version}.so", folder / "libmover.so")
    return write_app(folder, {"name": "lab", "services": {
        "mover": {"type": "c++", "args": "libmover.so", "engine": engine} | more}})


class Load:
    """Clients that call all the time, each over a connection of its own, and remember what was wrong."""

    def __init__(self, node, path="/lab.mover/get", clients=4):
        self.node, self.path = node, path
        self.done = threading.Event()
        self.wrong, self.answers, self.places = [], 0, set()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def _run(self):
        connection = http.client.HTTPConnection(*self.node.address, timeout=harness.PATIENCE)
        with contextlib.closing(connection):
            n = 0
            while not self.done.is_set():
                n += 1
                try:
                    connection.request("POST", self.path, json.dumps({"n": n}), {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    body = answer.read()
                    good = answer.status == 200 and json.loads(body)["n"] == n
                except (OSError, http.client.HTTPException) as error:
                    good, body = False, repr(error).encode()
                with self.lock:
                    self.answers += 1
                    if good:
                        told = json.loads(body)
                        self.places.add((told["version"], told["pid"]))
                    else:
                        self.wrong.append(body)
                if not good:
                    return

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.more(100)
        return self

    def more(self, count):
        """Waits for so many calls from now on, so that they are under way."""
        want = self.answers + count
        eventually("calls to go on", lambda: self.answers >= want or self.wrong)

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


def reload(node):
    done = node.cli("reload", "--json")
    assert done.code == 0, done.out + done.err
    return {service["name"]: service for service in done.json["services"]}


def test_a_service_moves_back_and_forth_under_load_and_no_call_fails(start, tmp_path):
    app = mover(tmp_path / "lab", PLACES[0])
    node = start(app)
    with Load(node) as load:
        for engine in PLACES[1:] + PLACES:
            mover(app, engine)
            told = reload(node)["lab.mover"]
            assert told["change"] == "replaced" and "engine." in told["what"][0], told
            load.more(200)
        # Whoever began before the last move is done: what was replaced goes.
        eventually("what was replaced to be gone",
                   lambda: not [i for i in node.service("mover")["instances"] if i["state"] == "draining"])
    assert load.wrong == []
    assert len(load.places) >= 5
    assert node.service("mover")["calls"] == load.answers  # Counted on over all moves.
    assert node.stop() == 0


def test_a_stream_that_is_open_over_a_move_ends_as_if_nothing_had_been(start, tmp_path):
    app = mover(tmp_path / "lab", PLACES[0])
    node = start(app)
    for engine in [PLACES[1], PLACES[0]]:
        answers = {}

        def follow():
            answers["http"] = node.post("/lab.mover/count", {"to": 60, "pause_ms": 20}, Accept="application/x-ndjson")

        def follow_grpc():
            answers["grpc"] = run("call", "lab.mover.count", '{"to": 60, "pause_ms": 20}', "--at",
                                  node.url.replace("http://", "grpc://"))

        threads = [threading.Thread(target=each) for each in (follow, follow_grpc)]
        for thread in threads:
            thread.start()
        eventually("the streams to be open", lambda: node.service("mover")["in_flight"] >= 2)
        mover(app, engine)
        reload(node)
        for thread in threads:
            thread.join()
        for lines in (answers["http"].lines, answers["grpc"].lines):
            assert [int(line.get("n", 0)) for line in lines] == list(range(60))
            assert len({line["pid"] for line in lines}) == 1


def test_who_waits_in_the_queue_moves_to_what_takes_its_place(start, tmp_path):
    app = mover(tmp_path / "lab", {"backend": "process", "concurrency": 1})
    node = start(app)
    naps = [{"to": n, "pause_ms": 3000 if n == 0 else 1} for n in range(8)]
    answers = [None] * len(naps)

    def ask(n):
        answers[n] = node.post("/lab.mover/nap", naps[n])

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(naps))]
    threads[0].start()
    eventually("the first call to run", lambda: node.service("mover")["in_flight"] == 1)
    for thread in threads[1:]:
        thread.start()
    eventually("the others to wait", lambda: node.service("mover")["queued"] == len(naps) - 1)
    mover(app, {"backend": "process", "concurrency": 4})
    reload(node)
    for thread in threads:
        thread.join()
    assert [answer.json["n"] for answer in answers] == list(range(len(naps)))
    # The first was at work; the others did not wait for it.
    assert answers[0].json["pid"] not in {answer.json["pid"] for answer in answers[1:]}


def test_a_library_that_was_built_again_is_what_runs(start, tmp_path):
    app = mover(tmp_path / "lab", PLACES[0])
    node = start(app)
    with Load(node) as load:
        for version in (2, 1, 2):
            # In place, as cp does it: what runs must not feel that.
            shutil.copy(harness.MODULES / f"libmover{version}.so", app / "libmover.so")
            load.more(100)
            assert reload(node)["lab.mover"]["what"] == ["code"]
            assert node.post("/lab.mover/get", {"n": 1}).json["version"] == version
            load.more(100)
    assert load.wrong == []
    assert {version for version, _ in load.places} == {1, 2}


def test_a_python_file_that_was_changed_is_what_runs(start, tmp_path):
    app = write_app(tmp_path / "lab", {"name": "lab", "services": {"mover": {"type": "python", "args": "counter.py"}}},
                    counter_py=COUNTER % 1)
    node = start(app)
    with Load(node, clients=2) as load:
        (app / "counter.py").write_text(COUNTER % 2)
        assert reload(node)["lab.mover"]["what"] == ["code"]
        load.more(50)
        assert reload(node)["lab.mover"]["change"] == "same"
    assert load.wrong == []
    assert {version for version, _ in load.places} == {1, 2}


def test_a_broken_manifest_leaves_what_runs_and_says_what_is_wrong(start, tmp_path):
    app = mover(tmp_path / "lab", PLACES[1])
    node = start(app)
    pid = node.worker("mover")
    text = (app / "shunt.json").read_text()
    (app / "shunt.json").write_text(text.replace('"engine"', '"egnine"'))
    done = node.cli("reload", "--json")
    assert done.code == 1 and not done.json["applied"]
    checked = run("check", app, "--json")
    assert done.json["diagnostics"] == checked.json["diagnostics"]
    assert done.json["diagnostics"][0]["line"] > 1
    done = node.cli("reload")
    assert done.code == 1 and "S2010" in done.err and "^^^" in done.err and "S5080" in done.err
    assert node.worker("mover") == pid and node.post("/lab.mover/get", {"n": 1}).status == 200
    (app / "shunt.json").write_text(text)
    assert reload(node)["lab.mover"]["change"] == "same"
    assert node.worker("mover") == pid


@pytest.mark.parametrize("code, words", [
    ("raise RuntimeError('no such day')\n", "no such day"),
    (COUNTER % 2 + "    # never here\n", None),
    ("import os, sys\nif 'SHUNT_LINKS' in os.environ: sys.exit('lost my way')\n" + COUNTER % 2, "lost my way"),
    ("import os, sys, threading\nif 'SHUNT_LINKS' in os.environ: threading.Timer(0.1, lambda: os._exit(3)).start()\n"
     + COUNTER % 2, "exited with status 3"),
])
def test_a_new_version_that_does_not_stay_up_replaces_nothing(start, tmp_path, code, words):
    app = write_app(tmp_path / "lab", {"name": "lab", "services": {"mover": {"type": "python", "args": "counter.py"}}},
                    counter_py=COUNTER % 1)
    node = start(app)
    (app / "counter.py").write_text(code)
    with Load(node, clients=2) as load:
        done = node.cli("reload", "--json")
        load.more(20)
    assert load.wrong == []
    if words is None:
        assert done.code == 0
        return
    assert done.code == 1 and words in done.json["refused"], done.out
    assert {version for version, _ in load.places} == {1}
    assert words in node.service("mover")["last_error"]
    # Nothing of the attempt stays, and the old one is not marked for ever.
    (app / "counter.py").write_text(COUNTER % 1)
    reload(node)
    assert node.service("mover")["last_error"] == ""
    assert len(node.service("mover")["instances"]) == 1


def test_services_come_and_go(start, tmp_path):
    app = mover(tmp_path / "lab", PLACES[1])
    node = start(app)
    manifest = json.loads((app / "shunt.json").read_text())
    (app / "counter.py").write_text(COUNTER % 1)
    manifest["services"]["other"] = {"type": "python", "args": "counter.py"}
    write_app(app, manifest)
    pid = node.worker("mover")
    told = reload(node)
    assert (told["lab.other"]["change"], told["lab.mover"]["change"]) == ("added", "same")
    assert node.post("/lab.other/get", {"n": 1}).status == 200
    del manifest["services"]["mover"]
    write_app(app, manifest)
    with Load(node, "/lab.other/get", clients=1) as load:
        assert reload(node)["lab.mover"]["change"] == "removed"
    assert load.wrong == []
    assert node.post("/lab.mover/get", {"n": 1}).status == 404
    eventually("the worker to be gone", lambda: not harness.is_alive(pid))


def test_who_may_call_is_routed_anew_and_nothing_is_started(start, tmp_path):
    app = mover(tmp_path / "lab", PLACES[1])
    node = start(app, arguments=("--no-dev",))
    pid = node.worker("mover")
    assert node.post("/lab.mover/get", {"n": 1}).status != 200
    mover(app, PLACES[1], expose=True, auth="none")
    told = reload(node)["lab.mover"]
    assert told["change"] == "updated" and "expose" in told["what"]
    assert node.post("/lab.mover/get", {"n": 1}).status == 200
    mover(app, PLACES[1])
    reload(node)
    assert node.post("/lab.mover/get", {"n": 1}).status != 200
    assert node.worker("mover") == pid


def test_a_signal_reloads_too(start, tmp_path):
    app = mover(tmp_path / "lab", PLACES[0])
    node = start(app)
    mover(app, PLACES[1])
    node.process.send_signal(signal.SIGHUP)
    eventually("the service to move", lambda: node.service("mover")["backend"] == "process")
    (app / "shunt.json").write_text("{")
    node.process.send_signal(signal.SIGHUP)
    eventually("the log to say it", lambda: "S5080" in node.cli("logs", "node").out)
    assert node.post("/lab.mover/get", {"n": 1}).status == 200


def test_who_reloads_at_once_shares_or_waits(start, tmp_path):
    app = mover(tmp_path / "lab", PLACES[1])
    node = start(app)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(node.cli("reload", "--json"))) for _ in range(6)]
    mover(app, PLACES[0])
    with Load(node) as load:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert load.wrong == [] and [answer.code for answer in answers] == [0] * 6
    assert len(node.service("mover")["instances"]) == 1


def test_only_the_operator_reloads(start, tmp_path):
    node = start(mover(tmp_path / "lab", PLACES[1]))
    assert node.post("/manager/reload").status == 403


def test_stopping_in_the_middle_of_a_reload_ends_well(start, tmp_path):
    app = write_app(tmp_path / "lab", {"name": "lab", "services": {"mover": {"type": "python", "args": "counter.py"}}},
                    counter_py=COUNTER % 1)
    node = start(app)
    slow = "import os, time\nif 'SHUNT_LINKS' in os.environ: time.sleep(4)\n"
    (app / "counter.py").write_text(slow + COUNTER % 2)
    asked = threading.Thread(target=lambda: node.cli("reload"))
    asked.start()
    eventually("the new worker to start", lambda: len(node.processes()) > 3)
    assert node.stop() == 0
    asked.join()
    assert node.processes() == []
