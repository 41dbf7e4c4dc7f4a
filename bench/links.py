#!/usr/bin/env python3
"""What the four distances cost: ./dev bench links [--json] [--quick]

One run, one machine: calls by each distance (in process, shared memory, unix socket, gRPC between nodes), of 64 B, 4 KiB and
1 MiB, with 1, 64 and 256 in flight, beside the raw figure of that distance and the peers that Debian has. Read the ratios;
absolute figures are this machine's in this minute. The caller runs on core 0 and the callee on core 1, or, where a row says
so, both on core 0. Every row is measured in each round, in turn; the median counts.
"""

import argparse
import json
import pathlib
import signal
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "links"))
from aims import aims  # noqa: E402
from picture import draw  # noqa: E402
from programs import House, Programs, failed  # noqa: E402
from rows import all_rows, quick_rows  # noqa: E402
from table import print_table  # noqa: E402

FIGURES = ("p50_us", "p99_us", "calls_per_s", "caller_cpu_us", "callee_cpu_us")


def measure(rows, rounds, seconds, tell):
    """What each row gave in each round."""
    got = {row.key(): [] for row in rows}
    with tempfile.TemporaryDirectory(prefix="shunt-bench-") as name:
        folder = pathlib.Path(name)
        programs = Programs(folder)
        house = None
        try:
            if any(row.program == "node" for row in rows):
                house = House(folder)
            # In turn, so that what the machine does in one minute falls on all of them.
            for _ in range(rounds):
                for row in rows:
                    if got[row.key()] and all("error" in figures for figures in got[row.key()]):
                        continue
                    began = time.monotonic()
                    figures = (house if row.program == "node" else programs).run(row, seconds)
                    got[row.key()].append(figures)
                    tell(f"{time.monotonic() - began:6.2f} s {row.key()} {figures.get('error', '')}")
        finally:
            programs.stop()
            if house is not None:
                house.stop()
    return got


def summary(row, measured):
    """One row of the result."""
    result = {"who": row.who, "distance": row.distance, "what": row.what, "waiting": row.waiting, "bytes": row.bytes,
              "in_flight": row.in_flight, "cores": row.cores, "pinning": row.pinning}
    good = [figures for figures in measured if "error" not in figures]
    if not good:
        return result | (measured[0] if measured else failed("not measured"))
    return result | {key: round(statistics.median(figures[key] for figures in good), 4) for key in FIGURES if key in good[0]}


def main():
    parser = argparse.ArgumentParser(prog="./dev bench links", description="What the four distances cost.")
    parser.add_argument("--json", action="store_true", help="the rows as JSON")
    parser.add_argument("--quick", action="store_true", help="a tiny run, to see that it works")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the median counts (default 3)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only rows of this distance, who or variant, such as: --only shm")
    parser.add_argument("--rows", metavar="FILE", action="append", default=[],
                        help="measures nothing: takes the rows that --json wrote there; may be given several times")
    parser.add_argument("--verbose", action="store_true", help="says on stderr what was measured, as it goes")
    parser.add_argument("--picture", metavar="FILE", help="draws the figures into this SVG")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # What was started is ended.

    if options.rows:
        rows = [row for file in options.rows for row in json.loads(pathlib.Path(file).read_text(encoding="utf-8"))["rows"]]
    else:
        wanted = [row for row in (quick_rows() if options.quick else all_rows())
                  if options.only in ("", row.who, row.distance, row.variant)]
        tell = (lambda text: print(text, file=sys.stderr, flush=True)) if options.verbose else lambda text: None
        got = measure(wanted, 1 if options.quick else options.rounds, 0.02 if options.quick else 0.25, tell)
        rows = [summary(row, got[row.key()]) for row in wanted]
    if options.picture:
        pathlib.Path(options.picture).write_text(draw(rows), encoding="utf-8")
    if options.json:
        print(json.dumps({"bench": "links", "rows": rows}, indent=1))
        return 0
    print_table(rows, sys.stdout)
    print("\nagainst the aims")
    for aim in aims(rows):
        print("  " + aim.line())
    return 0


if __name__ == "__main__":
    sys.exit(main())
