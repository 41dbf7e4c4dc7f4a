#!/usr/bin/env python3
"""How soon a caller knows that its callee was killed, and that nothing is left behind: kill -9, again and again, of a worker
that serves a call, and of a worker that makes one.

  bench/death.py [--kills N] [--json]

Prints how long it took from the kill to the answer that the client read over HTTP, and how many descriptors, mappings of shared
memory and processes there were before and after. Exits 1 when something has stayed."""

import argparse
import http.client
import json
import os
import pathlib
import queue
import signal
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/e2e"))

import harness  # noqa: E402

CALLEES, CALLERS = 8, 6  # Up to eight, the least busy is chosen exactly: each gets one call.


def app(folder):
    modules = harness.BUILD / "tests/parity"

    def service(name, workers, **more):
        return {"type": "c++", "args": str(modules / f"libparity_{name}.so"),
                "engine": {"backend": "process", "pool-limit": workers}, **more}

    return harness.write_app(folder / "death", {"name": "death", "services": {
        "callee": service("callee", CALLEES), "caller": service("caller", CALLERS, uses=["callee"])}})


class Client(threading.Thread):
    """A client that makes one call and says when it was answered, and how."""

    def __init__(self, node, answers, path, body, kind):
        super().__init__(daemon=True)
        self.node, self.answers, self.path, self.body, self.kind = node, answers, path, body, kind
        self.start()

    def run(self):
        connection = http.client.HTTPConnection(*self.node.address, timeout=harness.PATIENCE)
        connection.request("POST", self.path, self.body, {"Content-Type": self.kind})
        answer = connection.getresponse()
        body = answer.read()
        self.answers.put((time.perf_counter(), answer.status, body))
        connection.close()


def wait_at_callee(node, answers):
    return Client(node, answers, "/callee/wait", b"key", "application/octet-stream")


def wait_by_caller(node, answers):
    script = {"service": "callee", "command": "wait", "messages": ["a2V5"], "streams": False, "timeout_ms": 0, "leave_after": -1, "metadata": {}}
    return Client(node, answers, "/caller/drive", json.dumps(script), "application/json")


def instances(node, name):
    return node.service(name)["instances"]


def all_ready(node):
    return all(len(ready) == count and all(one["state"] == "ready" for one in ready)
               for name, count in [("callee", CALLEES), ("caller", CALLERS)] for ready in [instances(node, name)])


def left(node):
    """What a leak would add to."""
    house = node.ps()["node"]["pid"]
    maps = pathlib.Path(f"/proc/{house}/maps").read_text()
    return {"node descriptors": harness.open_files(house), "supervisor descriptors": harness.open_files(node.pid),
            "node mappings": maps.count("memfd:"), "processes": len(node.processes())}


def kill_all(node, victims, count, begin, took):
    """One call for each worker; then each of them is killed, one after the other."""
    answers = queue.Queue()
    for _ in range(count):
        begin(node, answers)
    harness.eventually("a call at each worker", lambda: sum(one["in_flight"] for one in instances(node, victims)) >= count)
    for one in instances(node, victims):
        killed = time.perf_counter()
        os.kill(one["pid"], signal.SIGKILL)
        for _ in range(one["in_flight"]):
            answered, status, body = answers.get(timeout=harness.PATIENCE)
            if status != 503 or json.loads(body)["code"] != "unavailable":
                raise SystemExit(f"a killed worker's call was answered {status}: {body!r}")
            took.append(answered - killed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        node = harness.Node(pathlib.Path(folder) / "data", app(pathlib.Path(folder)))
        try:
            report = run(node, options.kills)
        finally:
            node.end()
    if options.json:
        print(json.dumps(report))
    else:
        for name, took in report["answered_ms"].items():
            print(f"{name}: {took['count']} kills, the client knew after p50 {took['p50']:.2f} ms, p99 {took['p99']:.2f} ms")
        for name, (before, after) in report["left"].items():
            print(f"{name}: {before} before, {after} after")
    return 0 if all(after <= before + 4 for before, after in report["left"].values()) else 1


def run(node, kills):
    took = {"callee killed": [], "caller killed": []}
    before = None
    done = 0
    while done < kills:
        harness.eventually("all workers", lambda: all_ready(node))
        if before is None and done >= CALLEES + CALLERS:
            before = left(node)  # After a round, when everything has been made once.
        kill_all(node, "callee", CALLEES, wait_at_callee, took["callee killed"])
        harness.eventually("all workers", lambda: all_ready(node))
        kill_all(node, "caller", CALLERS, wait_by_caller, took["caller killed"])
        done += CALLEES + CALLERS
    harness.eventually("all workers", lambda: all_ready(node))
    after = harness.eventually("nothing to be left", lambda: (found := left(node)) and (
        found if before is None or all(found[name] <= before[name] + 4 for name in found) else None), 30) if before else left(node)
    before = before or after

    def spread(samples):
        ordered = sorted(1000 * sample for sample in samples)
        return {"count": len(ordered), "p50": ordered[len(ordered) // 2], "p99": ordered[int(len(ordered) * 0.99)]}

    return {"answered_ms": {name: spread(samples) for name, samples in took.items()},
            "left": {name: [before[name], after[name]] for name in after}}


if __name__ == "__main__":
    sys.exit(main())
