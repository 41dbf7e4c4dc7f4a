"""What the benchmarks share: a node, nginx, wrk, the CPU time that a process used. Servers run on core 0, clients on core 1."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("SHUNT_BUILD", ROOT / "build/release"))
CONNECTIONS = 64
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
    """A node with the benchmark's services, on core 0 unless another is named: one serving loop."""

    def __init__(self, folder, app, name="node", core=0, arguments=()):
        self.data = folder / f"{name}-data"
        self.output = open(folder / f"{name}.log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [*pinned(core), str(BUILD / "shunt"), "run", str(app), "--listen", "127.0.0.1:0", "--data", str(self.data), *arguments],
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

    def call(self, command, service="driver", **request):
        done = subprocess.run(
            [str(BUILD / "shunt"), "call", f"{service}.{command}", json.dumps(request), "--data", str(self.data), "--timeout", "60s"],
            capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{service}.{command} failed: {done.stderr.strip()}\n{self.text()}")
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
