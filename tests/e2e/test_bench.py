"""The benchmarks run, tiny: they do not rot. What they measure is nobody's business here."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def test_the_benchmark_of_calls_measures_every_distance():
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/call.py"), "--quick", "--json"],
        env=os.environ | {"SHUNT_BUILD": os.environ.get("SHUNT_BUILD", str(ROOT / "build/release"))},
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    measured = [row["who"] for row in rows if row.get("calls_per_s", 0) > 0]
    for distance in ("in process, C++", "unix socket, C++ worker", "unix socket, Python worker (def)",
                     "HTTP, in process, C++", "HTTP, Python worker (async def)"):
        assert distance in measured, rows


def test_the_benchmark_of_the_gateway_measures_every_protocol():
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/gateway.py"), "--quick", "--json"],
        capture_output=True, text=True, check=False, env=os.environ | {"SHUNT_BUILD": os.environ.get("SHUNT_BUILD", str(ROOT / "build/release"))})
    assert done.returncode == 0, done.stderr
    rows = [row for row in json.loads(done.stdout)["rows"] if row["who"] == "Shunt"]
    what = " ".join(row["what"] for row in rows)
    assert all(word in what for word in ("gRPC unary", "HTTP/1.1", "HTTP/2", "1 MiB", "idle")), what
    assert all(row["calls_per_s"] > 0 for row in rows if "calls_per_s" in row)


def test_the_benchmark_of_links_measures_every_distance():
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/links.py"), "--quick", "--json"],
        capture_output=True, text=True, check=False, env=os.environ | {"SHUNT_BUILD": os.environ.get("SHUNT_BUILD", str(ROOT / "build/release"))})
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    # What Debian has beside us may not be installed; what is ours, and the raw figures, must be measured.
    ours = [row for row in rows if row["who"] in ("shunt", "shunt link", "virtual call") or row["who"].startswith("raw ")]
    broken = [row for row in ours if "error" in row]
    assert not broken, broken
    measured = {(row["who"], row["distance"]) for row in ours if row.get("calls_per_s", 0) > 0}
    wanted = {("shunt", distance) for distance in ("local", "shm", "unix", "grpc")} | {("shunt link", "shm"), ("shunt link", "unix")}
    assert wanted <= measured, rows
    keys = {"who", "distance", "waiting", "bytes", "in_flight", "p50_us", "p99_us", "calls_per_s", "caller_cpu_us"}
    assert all(keys <= row.keys() for row in rows if "error" not in row), rows
