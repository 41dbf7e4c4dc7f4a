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
