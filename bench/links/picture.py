"""The picture of ./dev bench links, as SVG: how long one call of 64 bytes takes by each distance, peers beside us.

Colours are of middle lightness, so that it reads on white and on black; the background is whatever the page has.
"""

import html
import math

WIDTH = 860
LEFT = 200       # Where the bars begin: names stand before it.
RIGHT = 90       # Room behind the longest bar for its figure.
LINE = 22
OURS, RAW, PEER, TEXT, FAINT = "#e8590c", "#8b949e", "#4c8dca", "#768390", "#8b949e"
# What is compared in each group: the state in which a distance's own cost shows best.
GROUPS = (
    ("local", "in one process", ("awake", "asleep"), ("one",), "on one core"),
    ("shm", "shared memory", ("awake",), ("split",), "two processes on two cores, both awake"),
    ("unix", "unix socket", ("asleep",), ("one",), "two processes on one core, each sleeps until it is woken"),
    ("grpc", "between nodes", ("asleep",), ("one",), "TCP on one core, each sleeps until it is woken"),
)


def bars_of(rows, distance, waitings, cores):
    """(name, p50) of the best of each who, the shortest first."""
    best = {}
    for row in rows:
        if row["distance"] == distance and row["bytes"] == 64 and row["in_flight"] == 1 and row["waiting"] in waitings and \
                row["cores"] in cores and "p50_us" in row and row["who"] != "shunt link":
            who = "Shunt" if row["who"] == "shunt" else row["who"]
            best[who] = min(best.get(who, math.inf), row["p50_us"])
    return sorted(best.items(), key=lambda item: item[1])


def span(us):
    if us < 1:
        return f"{us * 1000:.0f} ns"
    return f"{us:.1f} µs" if 1 < us < 10 else f"{us:.0f} µs"


def colour(who):
    if who == "Shunt":
        return OURS
    return RAW if who.startswith("raw") or who == "virtual call" else PEER


def text(x, y, words, size=13, fill=TEXT, anchor="start", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{html.escape(words)}</text>')


def draw(rows):
    groups = [(*group[:2], group[4], bars_of(rows, *(group[i] for i in (0, 2, 3)))) for group in GROUPS]
    groups = [group for group in groups if group[3]]
    values = [value for group in groups for _, value in group[3]]
    low = 10 ** math.floor(math.log10(min(values)))
    high = max(values)

    def x_of(us):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(us / low) / math.log(high / low)

    parts = [text(0, 20, "One call of 64 bytes, there and back", 17, weight="bold"),
             text(0, 40, "Median, logarithmic scale; shorter is better. Figures of one run on one machine: read the ratios.", 12, FAINT)]
    y = 66
    top = y - 8
    for distance, title, state, bars in groups:
        y += 10
        parts.append(text(0, y + 4, f"{title} ({distance})" if distance != "local" else title, 14, weight="bold"))
        parts.append(text(WIDTH, y + 4, state, 12, FAINT, "end"))
        y += 14
        for who, value in bars:
            mine = colour(who) == OURS
            parts.append(text(LEFT - 10, y + 12, who, 13, OURS if mine else TEXT, "end", "bold" if mine else "normal"))
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{max(2.0, x_of(value) - LEFT):.1f}" height="{LINE - 7}" rx="2" fill="{colour(who)}"/>')
            parts.append(text(max(LEFT + 2.0, x_of(value)) + 7, y + 12, span(value), 12, OURS if mine else TEXT, weight="bold" if mine else "normal"))
            y += LINE
        y += 10
    lines = []
    power = low
    while power <= high * 1.0001:
        lines.append(f'<line x1="{x_of(power):.1f}" y1="{top}" x2="{x_of(power):.1f}" y2="{y}" stroke="{FAINT}" stroke-opacity="0.25"/>')
        parts.append(text(x_of(power), y + 16, span(power), 11, FAINT, "middle"))
        power *= 10
    legend = y + 40
    for i, (fill, words) in enumerate(((OURS, "Shunt, the whole call: deadline, cancellation, credits, authorization, metrics"),
                                       (RAW, "the raw figure of that distance"), (PEER, "others"))):
        x = (0, 500, 715)[i]
        parts.append(f'<rect x="{x}" y="{legend - 10}" width="11" height="11" rx="2" fill="{fill}"/>')
        parts.append(text(x + 17, legend, words, 12))
    height = legend + 14
    body = "\n".join(lines + parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" role="img" '
            f'aria-label="How long one call of 64 bytes takes by each distance">\n{body}\n</svg>\n')
