#!/usr/bin/env python3
"""What calls cost: ./dev bench call [--json] [--quick]

One run, one machine, one minute: calls of an echo from inside a node (in process, to a C++ worker, to a Python worker) and
HTTP to each, beside the raw figures of the same run: a virtual call, a unix-socket ping-pong, nginx with a fixed answer.
Read the ratios; absolute figures are this machine's in this minute. Server on core 0, wrk on core 1.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("SHUNT_BUILD", ROOT / "build/release"))
APP = BUILD / "bench/call"
CONNECTIONS = 64

# What is measured from inside the node: (name, service, calls at once, calls in a full run).
CALLS = [
    ("in process, C++", "near", 1, 400_000),
    ("unix socket, C++ worker", "far", 1, 20_000),
    ("unix socket, C++ worker", "far", 64, 200_000),
    ("unix socket, Python worker (def)", "far-python", 1, 10_000),
    ("unix socket, Python worker (def)", "far-python", 64, 50_000),
    ("unix socket, Python worker (async def)", "far-python-async", 1, 10_000),
    ("unix socket, Python worker (async def)", "far-python-async", 64, 50_000),
]
HTTP = [
    ("HTTP, in process, C++", "near"),
    ("HTTP, C++ worker", "far"),
    ("HTTP, Python worker (def)", "far-python"),
    ("HTTP, Python worker (async def)", "far-python-async"),
]
TEXT = "x" * 64


def pinned(core):
    """argv that runs what follows on that core; nothing where there is only one."""
    return ["taskset", "-c", str(core)] if len(os.sched_getaffinity(0)) > 1 and shutil.which("taskset") else []


def cpu_seconds(pids):
    """User and system time that these processes have used, all threads."""
    ticks = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        except (OSError, IndexError):
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


class Node:
    """A node with the benchmark's services, on core 0: one serving loop."""

    def __init__(self, folder):
        self.data = folder / "data"
        self.output = open(folder / "node.log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [*pinned(0), str(BUILD / "shunt"), "run", str(APP), "--listen", "127.0.0.1:0", "--data", str(self.data)],
            stdout=self.output, stderr=subprocess.STDOUT)
        try:
            self.url = self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def wait_ready(self):
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up and self.process.poll() is None:
            found = re.search(r"^ready (\S+)", self.text(), re.MULTILINE)
            if found:
                return found.group(1)
            time.sleep(0.05)
        raise SystemExit(f"the node did not become ready:\n{self.text()}")

    def text(self):
        self.output.flush()
        return pathlib.Path(self.output.name).read_text(encoding="utf-8")

    def call(self, command, **request):
        done = subprocess.run(
            [str(BUILD / "shunt"), "call", f"driver.{command}", json.dumps(request), "--data", str(self.data), "--timeout", "60s"],
            capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"driver.{command} failed: {done.stderr.strip()}\n{self.text()}")
        return json.loads(done.stdout)

    def pids(self, service=None):
        done = subprocess.run([str(BUILD / "shunt"), "ps", "--json", "--data", str(self.data)], capture_output=True, text=True, check=True)
        report = json.loads(done.stdout)
        pids = [report["node"]["pid"]]
        for each in report["services"]:
            if service is not None and each["name"] == f"bench.{service}":
                pids += [i["pid"] for i in each["instances"] if i["pid"] and i["pid"] not in pids]
        return pids

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.output.close()


class Nginx:
    """nginx with one worker on core 0 and a fixed answer of the same size."""

    def __init__(self, folder):
        self.process = None
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        if not os.path.exists(program):
            return
        port = free_port()
        temporary = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        answer = json.dumps({"text": TEXT}, separators=(",", ":"))
        (folder / "nginx.conf").write_text(
            f"worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
            "events { worker_connections 1024; }\n"
            f"http {{ access_log off; keepalive_requests 1000000000; {temporary}\n"
            f" server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{answer}'; }} }} }}\n",
            encoding="utf-8")
        self.process = subprocess.Popen([*pinned(0), program, "-c", str(folder / "nginx.conf")],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{port}/"
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            try:
                urllib.request.urlopen(self.url, timeout=1).read()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()

    def pids(self):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None


def free_port():
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wrk(url, seconds, script, pids):
    """Requests per second, p99 in ms, CPU µs of the servers for each request."""
    before = cpu_seconds(pids)
    done = subprocess.run([*pinned(1), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *(["-s", str(script)] if script else []), url],
                          capture_output=True, text=True, check=True)
    used = cpu_seconds(pids) - before
    text = done.stdout
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if errors:
        raise SystemExit(f"{url}: {errors.group(1)} answers were errors:\n{text}")
    requests = int(re.search(r"(\d+) requests in", text).group(1))
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    p99 = float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]
    return {"rps": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)), "p99_ms": p99,
            "server_cpu_us": used / max(1, requests) * 1e6}


def median_of(rows):
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def main():
    parser = argparse.ArgumentParser(prog="./dev bench call", description="What calls cost.")
    parser.add_argument("--json", action="store_true", help="the rows as JSON")
    parser.add_argument("--quick", action="store_true", help="a tiny run, to see that it works")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured; the median counts (default 5)")
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    seconds = 1 if options.quick else 2

    rows = []
    with tempfile.TemporaryDirectory(prefix="shunt-bench-") as name:
        folder = pathlib.Path(name)
        script = folder / "post.lua"
        script.write_text('wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
                          f"wrk.body = '{json.dumps({'text': TEXT})}'\n", encoding="utf-8")
        node = Node(folder)
        nginx = Nginx(folder)
        try:
            raw = {"virtual": [], "socket": []}
            calls = {i: [] for i in range(len(CALLS))}
            web = {i: [] for i in range(len(HTTP))}
            fixed = []
            # In turn, so that what the machine does in one minute falls on all of them.
            for _ in range(rounds):
                scale = 50 if options.quick else 1
                raw["virtual"].append(node.call("virtual_call", target="", calls=1_000_000 // scale, in_flight=1, bytes=64))
                raw["socket"].append(node.call("socket_ping_pong", target="", calls=20_000 // scale, in_flight=1, bytes=64))
                for i, (_, service, at_once, count) in enumerate(CALLS):
                    calls[i].append(node.call("measure", target=service, calls=max(160, count // scale), in_flight=at_once, bytes=64))
                if nginx.process is not None:
                    fixed.append(wrk(nginx.url, seconds, None, nginx.pids()))
                for i, (_, service) in enumerate(HTTP):
                    web[i].append(wrk(f"{node.url}/bench.{service}/echo", seconds, script, node.pids(service)))
        finally:
            nginx.stop()
            node.stop()

        virtual = statistics.median(row["ns_per_call"] for row in raw["virtual"])
        socket_ns = statistics.median(row["p50_ns"] for row in raw["socket"])
        rows.append({"who": "raw: a virtual call that copies 64 bytes", "in_flight": 1, "p50_us": virtual / 1e3})
        rows.append({"who": "raw: a unix-socket ping-pong", "in_flight": 1, "p50_us": socket_ns / 1e3})
        for i, (who, service, at_once, _) in enumerate(CALLS):
            middle = median_of(calls[i])
            row = {"who": who, "in_flight": at_once, "calls_per_s": 1e9 / middle["ns_per_call"]}
            if at_once == 1:
                row |= {"p50_us": middle["p50_ns"] / 1e3, "p99_us": middle["p99_ns"] / 1e3}
                row["ratio"] = middle["p50_ns"] / (virtual if service == "near" else socket_ns)
                row["of"] = "the virtual call" if service == "near" else "the ping-pong"
            rows.append(row)
        if fixed:
            base = median_of(fixed)
            rows.append({"who": "raw: nginx, a fixed answer", "in_flight": CONNECTIONS, "calls_per_s": base["rps"],
                         "p99_us": base["p99_ms"] * 1e3, "server_cpu_us": base["server_cpu_us"]})
        for i, (who, _) in enumerate(HTTP):
            middle = median_of(web[i])
            row = {"who": who, "in_flight": CONNECTIONS, "calls_per_s": middle["rps"], "p99_us": middle["p99_ms"] * 1e3,
                   "server_cpu_us": middle["server_cpu_us"]}
            if fixed:
                row |= {"ratio": statistics.median(a["rps"] / b["rps"] for a, b in zip(web[i], fixed)), "of": "nginx"}
            rows.append(row)

    if options.json:
        print(json.dumps({"bench": "call", "rounds": rounds, "rows": rows}, indent=2))
        return 0
    print(f"{'':44} {'at once':>7} {'p50 µs':>9} {'p99 µs':>9} {'calls/s':>11} {'CPU µs':>7}  ratio")
    for row in rows:
        def cell(key, form):
            return format(row[key], form) if key in row else "-"
        ratio = f"{row['ratio']:.2f} × {row['of']}" if "ratio" in row else ""
        print(f"{row['who']:44} {row['in_flight']:>7} {cell('p50_us', '.3f'):>9} {cell('p99_us', '.1f'):>9} "
              f"{cell('calls_per_s', ',.0f'):>11} {cell('server_cpu_us', '.1f'):>7}  {ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
