#!/usr/bin/env python3
"""What the gateway costs: ./dev bench gateway [--json] [--quick]

One run, one machine: gRPC beside grpc++ (asynchronous, one thread), driven by the same clients; HTTP/1.1 beside nginx with a
fixed answer; HTTP/2 beside nghttpd with a file; memory of idle connections; large messages beside a raw socket. Read the
ratios; absolute figures are this machine's in this minute. Servers on core 0 with one serving thread, clients on core 1.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "shared"))
from measure import BUILD, CONNECTIONS, TEXT, Nginx, Node, cpu_seconds, free_port, median_of, pinned, wrk  # noqa: E402

APP = BUILD / "bench/gateway"
METHOD = "/bench.v1.Echo/Say"
MEBIBYTE = 1 << 20


class GrpcPeer:
    """grpc++'s echo on core 0; nothing where grpc++ is not installed."""

    def __init__(self):
        self.program = BUILD / "bench/grpc_peer"
        self.process = None
        if not self.program.exists():
            return
        self.process = subprocess.Popen([*pinned(0), str(self.program), "serve"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.address = "127.0.0.1:" + self.process.stdout.readline().split()[1]

    def stop(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


class Nghttpd:
    """nghttpd with one thread on core 0, and a file of the same size as the answer."""

    def __init__(self, folder):
        self.process = None
        program = shutil.which("nghttpd")
        if program is None:
            return
        root = folder / "www"
        root.mkdir()
        (root / "echo").write_text(json.dumps({"text": TEXT}, separators=(",", ":")), encoding="utf-8")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/echo"
        self.process = subprocess.Popen([*pinned(0), program, "--no-tls", "-n1", "-d", str(root), "-a", "127.0.0.1", str(port)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None


def measured(command, pids):
    """What the client printed, and the CPU seconds that the servers used meanwhile."""
    before = cpu_seconds(pids)
    done = subprocess.run([*pinned(1), *command], capture_output=True, text=True, check=False)
    used = cpu_seconds(pids) - before
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout, used


def grpc_load(address, pids, in_flight, seconds, payload=64):
    out, used = measured([str(BUILD / "bench/bench_grpc_load"), "--address", address, "--path", METHOD, "--connections", "1",
                          "--in-flight", str(in_flight), "--seconds", str(seconds), "--warm-up", "0",
                          "--payload-bytes", str(payload)], pids)
    result = json.loads(out)
    return {"calls_per_s": result["calls_per_s"], "p50_us": result["p50_us"], "p99_us": result["p99_us"],
            "server_cpu_us": used / max(1, result["calls"]) * 1e6,
            "client_cpu_us": result["client_cpu_us_per_call"]}


def stock_client(program, address, pids, in_flight, seconds):
    out, used = measured([str(program), "drive", address, str(in_flight), str(seconds)], pids)
    result = json.loads(out)
    return {"calls_per_s": result["calls_per_second"], "server_cpu_us": used / max(1, result["calls"]) * 1e6}


def h2load(url, pids, seconds):
    out, used = measured(["h2load", "-t1", "-c16", "-m16", f"-D{seconds}", url], pids)
    requests = int(re.search(r"(\d+) succeeded", out).group(1))
    if int(re.search(r"(\d+) failed", out).group(1)) > 0 or not re.search(r"status codes: \d+ 2xx, 0 3xx, 0 4xx, 0 5xx", out):
        raise SystemExit(f"{url}: not every answer was good:\n{out}")
    return {"calls_per_s": requests / seconds, "server_cpu_us": used / max(1, requests) * 1e6}


def raw_socket(seconds):
    """MiB per second of a 1 MiB ping-pong over loopback, both ways counted: a thread of each core."""
    def pin(core):
        if pinned(core):
            os.sched_setaffinity(0, {core})

    listener = socket.create_server(("127.0.0.1", 0))

    def receive(connection, buffer):
        view = memoryview(buffer)
        while view:
            count = connection.recv_into(view)
            if count == 0:
                return False
            view = view[count:]
        return True

    before = os.sched_getaffinity(0)
    child = os.fork()
    if child == 0:
        try:
            pin(0)
            connection, _ = listener.accept()
            buffer = bytearray(MEBIBYTE)
            while receive(connection, buffer):
                connection.sendall(buffer)
        finally:
            os._exit(0)
    pin(1)
    connection = socket.create_connection(listener.getsockname())
    buffer = bytearray(MEBIBYTE)
    begin = time.monotonic()
    count = 0
    while time.monotonic() - begin < seconds:
        connection.sendall(buffer)
        receive(connection, buffer)
        count += 1
    took = time.monotonic() - begin
    connection.close()
    listener.close()
    os.waitpid(child, 0)
    os.sched_setaffinity(0, before)
    return 2 * count / took


def resident_kib(pid):
    return int(re.search(r"^VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE).group(1))


def idle_connections(url, pid, count):
    """KiB of resident memory of the node for each connection that has asked once and now waits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
        count = min(count, hard - 100)
    host, port = re.fullmatch(r"http://([\d.]+):(\d+)", url).groups()
    request = f"GET /bench.near/say HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
    before = resident_kib(pid)
    connections = []
    for _ in range(count):
        connection = socket.create_connection((host, int(port)))
        connection.sendall(request)
        connections.append(connection)
    for connection in connections:
        if not connection.recv(4096).startswith(b"HTTP/1.1 "):
            raise SystemExit("an idle connection got no answer")
    after = resident_kib(pid)
    for connection in connections:
        connection.close()
    return {"connections": count, "kib_each": (after - before) / count}


def main():
    parser = argparse.ArgumentParser(prog="./dev bench gateway", description="What the gateway costs.")
    parser.add_argument("--json", action="store_true", help="the rows as JSON")
    parser.add_argument("--quick", action="store_true", help="a tiny run, to see that it works")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured; the median counts (default 5)")
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    seconds = 1 if options.quick else 2

    measurements = {}  # (what, who) -> rows

    def note(what, who, row):
        measurements.setdefault((what, who), []).append(row)

    with tempfile.TemporaryDirectory(prefix="shunt-bench-") as name:
        folder = pathlib.Path(name)
        script = folder / "post.lua"
        script.write_text('wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
                          f"wrk.body = '{json.dumps({'text': TEXT})}'\n", encoding="utf-8")
        node = Node(folder, APP)
        peers = []
        try:
            grpc, nginx, nghttpd = GrpcPeer(), Nginx(folder), Nghttpd(folder)
            peers = [grpc, nginx, nghttpd]
            ours = node.pids()
            address = node.url.removeprefix("http://")
            servers = [("Shunt", address, ours)]
            if grpc.process is not None:
                servers.append(("grpc++", grpc.address, [grpc.process.pid]))
            # In turn, so that what the machine does in one minute falls on all of them.
            for _ in range(rounds):
                for in_flight in (1, 64, 256):
                    for who, where, pids in servers:
                        note(f"gRPC unary, {in_flight} in flight", who, grpc_load(where, pids, in_flight, seconds))
                for who, where, pids in servers if grpc.process is not None else []:
                    note("gRPC unary, 64 in flight, stock grpc++ client", who,
                         stock_client(grpc.program, where, pids, 64, seconds))
                note("HTTP/1.1 JSON, 64 connections", "Shunt", http1(f"{node.url}/bench.near/echo", seconds, script, ours))
                if nginx.process is not None:
                    note("HTTP/1.1 JSON, 64 connections", "nginx, fixed", http1(nginx.url, seconds, None, nginx.pids()))
                query = f"/bench.near/echo?text={TEXT}"
                note("HTTP/2 GET, 16 connections of 16", "Shunt", h2load(node.url + query, ours, seconds))
                if nghttpd.process is not None:
                    note("HTTP/2 GET, 16 connections of 16", "nghttpd, a file",
                         h2load(nghttpd.url, [nghttpd.process.pid], seconds))
                raw = raw_socket(seconds)
                note("1 MiB messages, MiB/s both ways", "a raw socket", {"mib_per_s": raw})
                for who, where, pids in servers:
                    row = grpc_load(where, pids, 4, seconds, MEBIBYTE)
                    note("1 MiB messages, MiB/s both ways", who, {"mib_per_s": 2 * row["calls_per_s"],
                                                                  "server_cpu_us": row["server_cpu_us"]})
            idle = idle_connections(node.url, ours[0], 200 if options.quick else 9_900)
        finally:
            for peer in peers:
                peer.stop()
            node.stop()

    rows = []
    for (what, who), got in measurements.items():
        row = {"what": what, "who": who, **median_of(got)}
        base = [(w, g) for (same, w), g in measurements.items() if same == what and w != "Shunt" and
                not (what.startswith("1 MiB") and w != "a raw socket")]
        if who != base[0][0] if base else False:
            key = "mib_per_s" if what.startswith("1 MiB") else "calls_per_s"
            row["ratio"] = statistics.median(a[key] / b[key] for a, b in zip(got, base[0][1]))
            if "server_cpu_us" in got[0] and "server_cpu_us" in base[0][1][0]:
                row["cpu_ratio"] = (statistics.median(a["server_cpu_us"] for a in got) /
                                    max(1e-9, statistics.median(b["server_cpu_us"] for b in base[0][1])))
            row["of"] = base[0][0]
        rows.append(row)
    rows.append({"what": f"{idle['connections']:,} idle HTTP/1.1 connections, KiB each", "who": "Shunt", "kib_each": idle["kib_each"]})

    if options.json:
        print(json.dumps({"bench": "gateway", "rounds": rounds, "rows": rows}, indent=2))
        return 0
    print(f"{'':46} {'':16} {'calls/s':>10} {'p50 µs':>8} {'p99 µs':>8} {'CPU µs':>7}  ratio")
    last = None
    for row in rows:
        def cell(key, form):
            return format(row[key], form) if key in row else "-"
        value = cell("calls_per_s", ",.0f")
        if "mib_per_s" in row:
            value = cell("mib_per_s", ",.0f")
        if "kib_each" in row:
            value = cell("kib_each", ".1f")
        ratio = f"{row['ratio']:.2f} × {row['of']}" if "ratio" in row else ""
        if "cpu_ratio" in row:
            ratio += f", CPU {row['cpu_ratio']:.2f}"
        print(f"{row['what'] if row['what'] != last else '':46} {row['who']:16} {value:>10} {cell('p50_us', '.0f'):>8} "
              f"{cell('p99_us', '.0f'):>8} {cell('server_cpu_us', '.2f'):>7}  {ratio}")
        last = row["what"]
    return 0


def http1(url, seconds, script, pids):
    row = wrk(url, seconds, script, pids)
    return {"calls_per_s": row["rps"], "p99_us": row["p99_ms"] * 1e3, "server_cpu_us": row["server_cpu_us"]}


if __name__ == "__main__":
    sys.exit(main())
