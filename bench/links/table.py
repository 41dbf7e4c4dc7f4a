"""The table of ./dev bench links: a block for each distance and size, with ratios to its raw figure."""

from rows import DISTANCES

RAW = {"local": ("virtual call", "virtual"), "shm": ("raw ring", "ring"), "unix": ("raw socket", "unix"), "grpc": ("raw socket", "tcp")}
NAMES = {64: "64 B", 4096: "4 KiB", 1 << 20: "1 MiB"}


def raw_of(rows, row):
    who, what = RAW[row["distance"]]
    for other in rows:
        if (other["who"], other["what"]) == (who, what) and other["bytes"] == row["bytes"] and "p50_us" in other and \
                other["in_flight"] == (1 if row["distance"] == "local" else row["in_flight"]) and \
                (row["distance"] == "local" or (other["waiting"], other["cores"]) == (row["waiting"], row["cores"])):
            return other
    return None


def ratio_of(rows, row):
    """Of the raw figure: how many times as long one call takes, how much of its calls per second many make."""
    raw = raw_of(rows, row)
    if raw is None or raw is row or "p50_us" not in row:
        return ""
    if row["in_flight"] == 1:
        return f"{row['p50_us'] / raw['p50_us']:.2f} × as long"
    return f"{row['calls_per_s'] / raw['calls_per_s']:.2f} × the calls"


def print_table(rows, out):
    for distance in DISTANCES:
        sizes = sorted({row["bytes"] for row in rows if row["distance"] == distance})
        for size in sizes:
            print(f"\n{distance}, {NAMES[size]:30} {'at once':>7} {'waiting':>8} {'cores':>6} {'p50 µs':>10} {'p99 µs':>10} {'calls/s':>12} "
                  f"{'caller µs':>10} {'callee µs':>10}  of the raw figure", file=out)
            mine = [row for row in rows if row["distance"] == distance and row["bytes"] == size]
            for row in sorted(mine, key=lambda row: (row["in_flight"], row["waiting"], row["cores"])):
                name = f"{row['who']}, {row['what']}"
                head = f"  {name:38} {row['in_flight']:>7} {row['waiting']:>8} {row['cores']:>6}"
                if "error" in row:
                    print(f"{head}  {row['error']}", file=out)
                    continue
                callee = f"{row['callee_cpu_us']:>10.3f}" if "callee_cpu_us" in row else f"{'-':>10}"
                print(f"{head} {row['p50_us']:>10.3f} {row['p99_us']:>10.2f} {row['calls_per_s']:>12,.0f} {row['caller_cpu_us']:>10.3f} "
                      f"{callee}  {ratio_of(rows, row)}", file=out)
