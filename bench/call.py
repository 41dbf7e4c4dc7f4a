#!/usr/bin/env python3
"""What calls cost: ./dev bench call [--json] [--quick]

One run, one machine, one minute: calls of an echo from inside a node (in process, to a C++ worker, to a Python worker) and
HTTP to each, beside the raw figures of the same run: a virtual call, a unix-socket ping-pong, nginx with a fixed answer.
Read the ratios; absolute figures are this machine's in this minute. Server on core 0, wrk on core 1.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "shared"))
from measure import BUILD, CONNECTIONS, TEXT, Nginx, Node, median_of, wrk  # noqa: E402

APP = BUILD / "bench/call"

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
        node = Node(folder, APP)
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
