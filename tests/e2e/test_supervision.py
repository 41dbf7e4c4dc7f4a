"""What dies, hangs and is told to end; and that nothing is lost and nothing is left behind."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

import harness
from harness import Raw, children, eventually, is_alive, open_files, resident_kib, write_app

KILLS = 200 if os.environ.get("SHUNT_LONG") else 20
SICK = (harness.APPS / "sick.py").read_text()


def sick(folder, how="", **service):
    return write_app(folder, {"name": "sick", "type": "python", "args": ["sick.py", how] if how else "sick.py"} | service,
                     sick_py=SICK)


@contextlib.contextmanager
def wrk(url, connections=8, script=None):
    """Load, for as long as the block runs; what it measured is in the list that is given."""
    report = []
    command = ["wrk", "-t1", f"-c{connections}", "-d600s", "--timeout", "30s"] + (["-s", str(script)] if script else []) + [url]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield report
    finally:
        child.send_signal(signal.SIGINT)  # It then reports what it has.
        report.append(child.communicate(timeout=60)[0].decode())


def test_a_killed_python_worker_costs_its_calls_and_nothing_leaks(start, tmp_path):
    """kill -9 of a worker under load, again and again."""
    script = tmp_path / "post.lua"
    script.write_text('wrk.method = "POST"\nwrk.body = "{}"\nwrk.headers["Content-Type"] = "application/json"\n')
    app = harness.write_app(tmp_path / "pair", {
        "name": "pair",
        "services": {
            "victim": {"type": "python", "args": "sick.py", "engine": {"pool-limit": 8}},
            "other": {"type": "python", "args": "sick.py"},
        },
    }, sick_py=SICK)
    node = start(app)
    house = node.ps()["node"]["pid"]
    bystander = node.worker("other")
    answers = {}
    stop = threading.Event()

    def ask(service):
        """A client of its own beside wrk, which reads what it is told."""
        while not stop.is_set():
            answer = node.post(f"/{service}/ping")
            code = answer.json.get("code", "ok")
            if code != "ok":
                answers.setdefault((service, "said"), answer.json["message"])
            answers[service, answer.status, code] = answers.get((service, answer.status, code), 0) + 1

    def victim():
        """The worker that was killed least often, so that it need not back off for long; one other is to serve."""
        up = [instance for instance in node.service("victim")["instances"] if
              instance["state"] in ("ready", "busy") and is_alive(instance["pid"])]
        return len(up) > 1 and min(up, key=lambda instance: instance["restarts"])["pid"]

    def all_up():
        states = {instance["state"] for instance in node.service("victim")["instances"]}
        return states <= {"ready", "busy"}

    files = processes = memory = None
    askers = [threading.Thread(target=ask, args=(service,)) for service in ("victim", "other")]
    with wrk(f"{node.url}/victim/ping", script=script) as report:
        for asker in askers:
            asker.start()
        try:
            for killed in range(KILLS):
                if killed == KILLS // 4:  # What is made once has been made by now.
                    eventually("all workers to serve", all_up)
                    files, processes, memory = open_files(house), len(node.processes()), resident_kib(house)
                pid = eventually("workers to serve", victim)
                os.kill(pid, signal.SIGKILL)
                eventually("the worker to be gone", lambda: not is_alive(pid))
            eventually("all workers to serve", all_up)
        finally:
            stop.set()
            for asker in askers:
                asker.join()
    # Its calls failed as they should, some of them; nobody else's did.
    kinds = {key for key in answers if len(key) == 3}
    assert {(status, code) for service, status, code in kinds if service == "victim"} <= {(200, "ok"), (503, "unavailable")}
    assert {(status, code) for service, status, code in kinds if service == "other"} == {(200, "ok")}
    assert answers["victim", 200, "ok"] > 0
    if ("victim", "said") in answers:
        assert re.search(r"SIGKILL|worker|instance", answers["victim", "said"])
    assert re.search(r"requests in", report[0]), report[0]
    # The house is the same, and no larger.
    assert node.ps()["node"]["pid"] == house and node.worker("other") == bystander
    service = node.service("victim")
    assert service["restarts"] >= KILLS and "SIGKILL" in service["last_error"]
    eventually("descriptors to be given back", lambda: open_files(house) <= files + 4)
    eventually("processes to be given back", lambda: len(node.processes()) <= processes)
    assert not [pid for pid in children(node.pid) if not is_alive(pid)], "no zombies"
    assert resident_kib(house) < memory * 1.5 + 16 * 1024
    assert node.stop() == 0


def test_a_call_whose_worker_is_killed_is_unavailable_and_names_its_end(start, tmp_path):
    node = start(sick(tmp_path / "sick"))
    pid = node.worker("sick")
    with node.raw() as client:
        client.request("POST", "/sick/wait", "Content-Type: application/json", body="{}")
        eventually("the call to run", lambda: node.service("sick")["in_flight"] == 1)
        os.kill(pid, signal.SIGKILL)
        answer = client.answer()
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        assert "SIGKILL" in answer.json["message"]
    assert eventually("it to be back", lambda: node.is_ready("sick"))["restarts"] == 1


def test_a_stream_whose_worker_is_killed_ends_with_the_error(start, tmp_path):
    node = start(sick(tmp_path / "sick"))
    with node.raw() as client:
        client.request("POST", "/sick/drip", "Content-Type: application/json", body="{}")
        assert client.head().status == 200 and json.loads(client.chunk()) == {"drop": 1}
        os.kill(node.worker("sick"), signal.SIGKILL)
        error = json.loads(client.chunk())["$error"]
        assert error["code"] == "unavailable" and "SIGKILL" in error["message"]
        assert client.chunk() == b""


@pytest.mark.parametrize("command", ["peek", "poke"])
def test_only_what_changes_nothing_is_tried_again(start, tmp_path, command):
    """A call whose worker is killed moves to another if its effect is none, and else fails; it never runs twice then."""
    node = start(sick(tmp_path / "sick", engine={"pool-limit": 2}))
    flag, pids = tmp_path / "flag", tmp_path / "flag.pids"
    with node.raw() as client:
        client.request("POST", f"/sick/{command}", "Content-Type: application/json", body=json.dumps({"path": str(flag)}))
        victim = int(eventually("the call to run", lambda: pids.exists() and pids.read_text().split())[0])
        os.kill(victim, signal.SIGKILL)
        if command == "peek":
            ran = eventually("the call to run again", lambda: (who := pids.read_text().split())[1:] and who)
            flag.touch()
            answer = client.answer()
            assert answer.status == 200 and [victim, answer.json["pid"]] == [int(pid) for pid in ran]
        else:
            assert client.answer().status == 503
            flag.touch()
            eventually("it to be back", lambda: node.is_ready("sick"))
            assert pids.read_text().split() == [str(victim)]


def test_a_killed_node_is_restarted_and_its_workers_are_adopted(start, tmp_path):
    node = start(harness.copy_shop(tmp_path / "shop"))
    first = node.ps()["node"]["pid"]
    workers = [node.worker("stock"), node.worker("cart")]
    node.post("/stock/reserve", {"sku": "tea", "count": 10})
    os.kill(first, signal.SIGKILL)

    def back():
        done = node.cli("ps", "--json")
        return done.code == 0 and done.json["node"]["pid"] != first and all(s["state"] == "ready" for s in done.json["services"])

    eventually("the node to be back", back)
    assert [node.worker("stock"), node.worker("cart")] == workers
    told = node.ps()["node"]
    assert told["restarts"] == 1 and "SIGKILL" in told["last_crash"]
    # The same port, and the same worker, which remembers.
    assert node.get("/stock/check?sku=tea").json == {"sku": "tea", "left": 990}
    assert node.post("/cart/total", {"items": [{"sku": "tea"}]}).json == {"cents": 250}
    assert node.stop() == 0


def test_nothing_survives_a_killed_supervisor(start, tmp_path):
    node = start(harness.copy_shop(tmp_path / "shop"))
    family = node.processes()
    assert len(family) >= 4
    os.kill(node.pid, signal.SIGKILL)
    node.wait()
    eventually("all to be gone", lambda: not any(is_alive(pid) for pid in family))


class Sender(threading.Thread):
    """A raw client that keeps its connection, and counts what it sent whole and what was answered."""

    def __init__(self, node, path, body):
        super().__init__()
        self.node, self.path, self.body = node, path, body
        self.sent = self.answered = 0
        self.statuses = set()
        self.first = threading.Event()

    def run(self):
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                with Raw(self.node.address) as client:
                    if self._use(client):
                        continue
                return

    def _use(self, client):
        """Until the connection ends; True when it was ended between two requests."""
        while True:
            try:
                client.request("POST", self.path, "Content-Type: application/json", body=self.body)
            except OSError:
                return False
            # Written whole before its reply was known: a request that the node has not closed the door on.
            self.sent += 1
            answer = client.answer()
            self.answered += 1
            self.statuses.add(answer.status)
            self.first.set()
            if answer.headers.get("connection") == "close":
                return False


@pytest.mark.parametrize("pipelined", [False, True])
def test_sigterm_under_load_loses_no_accepted_call(start, tmp_path, pipelined):
    app = harness.write_app(tmp_path / "pair", {
        "name": "pair",
        "services": {
            "python": {"type": "python", "args": "sick.py", "engine": {"concurrency": 64}},
            "here": {"type": "c++", "args": str(harness.MODULES / "libunruly.so")},
        },
    }, sick_py=SICK)
    node = start(app)
    family = node.processes()
    if pipelined:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(node.raw()) for _ in range(8)]
            for client in clients:
                client.send("".join(
                    f"POST /python/sleep HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
                    '{"ms": 30}' for _ in range(5)))
            for client in clients:
                client.answer()  # Its others have been read, or wait in the kernel.
            node.sigterm()
            for client in clients:
                assert [client.answer().status for _ in range(4)] == [200] * 4
    else:
        senders = [Sender(node, path, body) for path, body in
                   [("/python/sleep", '{"ms":20}'), ("/python/ping", "{}"), ("/here/ask", '{"name":"x"}'), ("/here/ping", "{}")] * 2]
        senders = [s for s in senders if s.path != "/here/ask"]
        for sender in senders:
            sender.start()
        for sender in senders:
            assert sender.first.wait(harness.PATIENCE)
        node.sigterm()
        for sender in senders:
            sender.join(harness.PATIENCE)
            assert not sender.is_alive()
        assert [(s.path, s.sent - s.answered, s.statuses) for s in senders] == [(s.path, 0, {200}) for s in senders]
    assert node.wait(40) == 0
    eventually("nothing to be left", lambda: not any(is_alive(pid) for pid in family))


def test_sigterm_waits_for_a_call_that_runs_and_a_second_signal_does_not(start, tmp_path):
    node = start(sick(tmp_path / "sick"), arguments=["--drain-timeout", "50s"])
    with node.raw() as client, node.raw() as other:
        client.request("POST", "/sick/wait", "Content-Type: application/json", body="{}")
        eventually("the call to run", lambda: node.service("sick")["in_flight"] == 1)
        node.sigterm()
        eventually("it to drain", lambda: "draining" in node.output)
        assert node.process.poll() is None
        node.sigterm()
        answer = client.answer()
        assert answer.status == 503 and other.is_closed()
    assert node.wait(40) == 0


def test_beyond_the_drain_timeout_calls_are_cancelled(start, tmp_path):
    node = start(sick(tmp_path / "sick"), arguments=["--drain-timeout", "300ms"])
    with node.raw() as client:
        client.request("POST", "/sick/wait", "Content-Type: application/json", body="{}")
        eventually("the call to run", lambda: node.service("sick")["in_flight"] == 1)
        node.sigterm()
        assert client.answer().status == 503
    assert node.wait(40) == 0


def test_a_worker_that_heeds_nothing_is_killed_at_its_limit(start, tmp_path):
    node = start(sick(tmp_path / "sick", engine={"termination-timeout": "500ms"}), arguments=["--drain-timeout", "300ms"])
    pid = node.call("sick.deaf").json["pid"]
    with node.raw() as client:
        client.request("POST", "/sick/block", "Content-Type: application/json", body="{}")
        eventually("the call to run", lambda: node.service("sick")["in_flight"] == 1)
        assert node.stop() == 0
    assert not is_alive(pid)


def test_a_handler_that_blocks_beyond_its_deadline_does_not_hold_the_worker_for_ever(start, tmp_path):
    """One that blocks within its deadline is let be; beyond it, the worker's silence is its end."""
    node = start(sick(tmp_path / "sick", engine={"heartbeat-timeout": "600ms"}))
    pid = node.worker("sick")
    assert node.post("/sick/nap", {"ms": 1500}).json["pid"] == pid
    assert node.post("/sick/block", {}, **{"Connect-Timeout-Ms": "200"}).status == 504
    service = eventually("another worker to serve", lambda: (s := node.is_ready("sick")) and s["instances"][0]["pid"] != pid and s)
    assert service["restarts"] == 1
    assert node.call("sick.ping").code == 0


def test_a_worker_that_hangs_at_its_start_is_ended_and_backs_off(start, tmp_path):
    good = write_app(tmp_path / "good", {"type": "python", "args": "good.py"}, good_py=SICK)
    node = start(good, sick(tmp_path / "sick", "hangs", engine={"startup-timeout": "3s", "termination-timeout": "300ms"}), wait=False)
    eventually("the admin socket", lambda: node.cli("ps").code == 0)

    def backing_off():
        [instance] = node.service("sick")["instances"] or [{}]
        return instance.get("retry_in") and instance

    instance = eventually("a back-off", backing_off)
    assert re.fullmatch(r"\d+(\.\d+)?m?s", instance["retry_in"])
    assert "startup-timeout" in instance["last_error"]
    assert (node.get("/livez") if node.urls else None) is None  # `ready` was not said.
    eventually("the back-off in the table", lambda: re.search(r"backing-off \(", node.cli("ps").out))
    eventually("it to be tried again", lambda: node.service("sick")["restarts"] >= 2)
    done = node.call("sick.ping", {}, "--timeout", "300ms")
    assert done.code in (4, 14)
    assert node.call("good.ping").code == 0
    assert node.stop() == 0


def test_a_worker_that_dies_leaves_a_crash_log(start, tmp_path):
    node = start(sick(tmp_path / "sick", "dies"), wait=False)
    eventually("the admin socket", lambda: node.cli("ps").code == 0)
    service = eventually("a crash log", lambda: (s := node.service("sick"))["crash_log"] and s)
    assert "last words on stdout" in service["crash_log"] and "last words on stderr" in service["crash_log"]
    assert "7" in service["last_error"] and service["state"] != "ready"
    done = node.call("sick.ping", {}, "--timeout", "5s")
    assert done.code == 14 and "exit" in done.err
    assert "last words" in node.cli("logs", "sick").out


def test_a_full_queue_refuses_at_once(start, tmp_path):
    node = start(sick(tmp_path / "sick", engine={"concurrency": 1, "queue-limit": 2}))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(node.raw()) for _ in range(3)]
        for client in clients:
            client.request("POST", "/sick/wait", "Content-Type: application/json", "Connect-Timeout-Ms: 50000", body="{}")
        eventually("one to run and two to wait", lambda: node.service("sick")["queued"] == 2)
        answer = node.post("/sick/wait", {}, **{"Connect-Timeout-Ms": "50000"})
        assert (answer.status, answer.json["code"]) == (429, "resource_exhausted")
        assert "queue" in answer.json["message"]
        # One that waits is let go with its client; there is room for another then.
        clients[2].close()
        eventually("the queue to be shorter", lambda: node.service("sick")["queued"] == 1)
        assert node.post("/sick/wait", {}, **{"Connect-Timeout-Ms": "100"}).status == 504
    eventually("all to be over", lambda: node.service("sick")["in_flight"] == 0)
    assert node.call("sick.ping").code == 0


def test_a_pool_spreads_calls_over_its_workers(start, tmp_path):
    node = start(sick(tmp_path / "sick", engine={"pool-limit": 3, "concurrency": 2}))
    pids = {instance["pid"] for instance in node.service("sick")["instances"]}
    assert len(pids) == 3
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: node.post("/sick/sleep", {"ms": 200}).json["pid"], range(12)))
    assert set(answers) == pids
    table = node.cli("ps").out
    assert all(str(pid) in table for pid in pids)


def test_ctrl_c_of_a_terminals_group_drains(start, tmp_path):
    node = start(sick(tmp_path / "sick"))
    with node.raw() as client:
        client.request("POST", "/sick/sleep", "Content-Type: application/json", body='{"ms": 300}')
        eventually("the call to run", lambda: node.service("sick")["in_flight"] == 1)
        os.killpg(node.pid, signal.SIGINT)  # As the terminal does: to all of them.
        assert client.answer().status == 200
    assert node.wait(40) == 0
