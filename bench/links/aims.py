"""What ./dev bench links is held against: each aim as a ratio of two figures of the same run."""

from rows import KIB4, MIB


def find(rows, key, best=max, **wanted):
    """The best value of `key` among the rows that are like this; nothing when there is none."""
    values = [row[key] for row in rows if key in row and all(row.get(name) == value for name, value in wanted.items())]
    return best(values) if values else None


class Aim:
    def __init__(self, text, value, bar, mark=None, at_most=False):
        self.text, self.value, self.bar, self.mark, self.at_most = text, value, bar, mark, at_most

    def meets(self, limit):
        return self.value <= limit if self.at_most else self.value >= limit

    def verdict(self):
        if self.value is None:
            return "not measured"
        if not self.meets(self.bar):
            return "missed"
        return "reached, and the mark" if self.mark is not None and self.meets(self.mark) else "reached"

    def line(self):
        sign = "≤" if self.at_most else "≥"
        value = "-" if self.value is None else f"{self.value:,.3g}" if self.value < 1000 else f"{self.value:,.0f}"
        mark = "" if self.mark is None else f" (mark {self.mark:,g})"
        return f"{self.verdict():22} {value:>12}   {sign} {self.bar:,g}{mark}: {self.text}"


def ratio(value, base):
    return value / base if value is not None and base else None


def aims(rows):
    def us(best=min, **wanted):
        return find(rows, "p50_us", best, in_flight=wanted.pop("in_flight", 1), **wanted)

    def rate(who, **wanted):
        return find(rows, "calls_per_s", who=who, **wanted)

    split = {"cores": "split"}
    direct = {"who": "shunt", "what": "far-driver to far"}
    unix = {"who": "shunt", "what": "far-driver to far-unix"}
    near = {"who": "shunt", "distance": "local", "what": "typed", "bytes": 64}
    tcp = {"distance": "grpc", "bytes": 64}
    grpcpp_unary = [rate("grpc++", in_flight=n, what=what, **tcp) for n in (64, 256) for what in ("unary-tcp", "callback-tcp")]
    grpcpp = {64: max(filter(None, grpcpp_unary[:2]), default=None), 256: max(filter(None, grpcpp_unary[2:]), default=None)}
    return [
        Aim("local: p50 in µs of a typed call of 64 bytes", us(**near), 0.1, 0.06, at_most=True),
        Aim("shm: p50 in µs, 64 bytes, both awake", us(distance="shm", waiting="awake", bytes=64, **direct, **split), 0.7, 0.35, at_most=True),
        Aim("shm: asleep on one core, of the raw doorbell's ping-pong",
            ratio(us(distance="shm", waiting="asleep", bytes=64, cores="one", **direct), us(who="raw pipe", cores="one")), 1.3, at_most=True),
        Aim("shm: asleep across two cores, of the raw doorbell's ping-pong",
            ratio(us(distance="shm", waiting="asleep", bytes=64, who="shunt", what=f"{direct['what']}, rested", **split),
                  us(who="raw pipe", what="pipe, rested", **split)), 1.1, at_most=True),
        Aim("shm: calls per second, 64 bytes, 64 in flight", find(rows, "calls_per_s", distance="shm", bytes=64, in_flight=64, **direct), 3e6, 10e6),
        Aim("shm: 4 KiB, 64 in flight, of iceoryx",
            ratio(find(rows, "calls_per_s", distance="shm", bytes=KIB4, in_flight=64, **direct), rate("iceoryx", bytes=KIB4, in_flight=64)), 2),
        Aim("shm: 1 MiB built in place and handed over, p50 in µs", us(who="shunt", distance="shm", what="handed over", bytes=MIB), 2, at_most=True),
        Aim("shm: 1 MiB copied, one at a time, calls per second of iceoryx",
            ratio(find(rows, "calls_per_s", distance="shm", bytes=MIB, in_flight=1, waiting="awake", **direct),
                  rate("iceoryx", what="copy", bytes=MIB, in_flight=1)), 0.9),
        Aim("unix: calls per second, 64 bytes, 64 in flight", find(rows, "calls_per_s", distance="unix", bytes=64, in_flight=64, **unix), 1e6),
        Aim("unix: p50 on one core, of the raw ping-pong",
            ratio(us(distance="unix", bytes=64, cores="one", **unix), us(who="raw socket", distance="unix", bytes=64, cores="one")), 1.25, at_most=True),
        Aim("grpc: calls per second with 64 in flight, of grpc++'s best unary", ratio(rate("shunt", in_flight=64, **tcp), grpcpp[64]), 7),
        Aim("grpc: calls per second with 256 in flight, of grpc++'s best unary", ratio(rate("shunt", in_flight=256, **tcp), grpcpp[256]), 15),
        Aim("grpc: calls per second with 64 in flight, of ZeroMQ's tcp", ratio(rate("shunt", in_flight=64, **tcp), rate("ZeroMQ", in_flight=64, **tcp)), 1),
        Aim("grpc: calls per second with 256 in flight, of ZeroMQ's tcp", ratio(rate("shunt", in_flight=256, **tcp), rate("ZeroMQ", in_flight=256, **tcp)), 1),
        Aim("grpc: CPU of the callee per call with 64 in flight, of grpc++'s best unary",
            ratio(find(rows, "callee_cpu_us", min, who="shunt", in_flight=64, **tcp),
                  min(filter(None, (find(rows, "callee_cpu_us", min, who="grpc++", what=what, in_flight=64, **tcp)
                                    for what in ("unary-tcp", "callback-tcp"))), default=None)), 0.12, at_most=True),
        Aim("grpc: p50 on one core, of the raw ping-pong",
            ratio(us(who="shunt", cores="one", **tcp), us(who="raw socket", cores="one", **tcp)), 1.5, at_most=True),
        Aim("grpc: 1 MiB, the best calls per second, of grpc++'s best",
            ratio(rate("shunt", distance="grpc", bytes=MIB), rate("grpc++", distance="grpc", bytes=MIB)), 1.1),
    ]
