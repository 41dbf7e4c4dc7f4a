"""The rows of ./dev bench links: who is measured, over what, how big, how many at once, how they wait."""

import dataclasses

KIB4 = 4096
MIB = 1 << 20
SIZES = (64, KIB4, MIB)
FLIGHTS = (1, 64, 256)
DISTANCES = ("local", "shm", "unix", "grpc")


@dataclasses.dataclass(frozen=True)
class Row:
    who: str
    distance: str
    program: str            # A program of bench_links_*, or "node" for the whole house.
    variant: str            # What the program is told; for the house: "CALLER to CALLEE".
    bytes: int = 64
    in_flight: int = 1
    waiting: str = "asleep"  # awake: who waits spins. asleep: it blocks.
    cores: str = "split"     # split: caller on core 0, callee on core 1. one: both on core 0.
    pause_us: int = 0        # Between two calls, so that the callee sleeps deeply.
    message: str = "bytes"   # For the house: "bytes", or a C++ type: "words", "text".

    @property
    def pinning(self):
        return "caller and callee on core 0" if self.cores == "one" else "caller on core 0, callee on core 1"

    @property
    def what(self):
        """What tells apart two rows of one who, distance, size and number."""
        what = {"words": "typed", "text": "typed"}.get(self.message, self.variant)
        return f"{what}, rested" if self.pause_us else what

    def key(self):
        return (self.who, self.distance, self.what, self.bytes, self.in_flight, self.waiting, self.cores)


def grid(who, distance, program, variant, waiting="asleep", cores="split", sizes=SIZES, flights=FLIGHTS, **more):
    return [Row(who, distance, program, variant, size, flight, waiting, cores, **more) for size in sizes for flight in flights]


def asleep_on_one_core(who, distance, program, variant, sizes=(64,)):
    return grid(who, distance, program, variant, cores="one", sizes=sizes, flights=(1,))


def local_rows():
    return [
        *grid("virtual call", "local", "raw", "virtual", "awake", "one", flights=(1,)),
        *grid("shunt", "local", "node", "driver to near", "awake", "one", sizes=(64,), message="words"),
        *grid("shunt", "local", "node", "driver to near", "awake", "one", sizes=(KIB4, MIB), message="text"),
        *grid("shunt", "local", "node", "driver to near", "awake", "one", message="bytes"),
        *grid("Cap'n Proto", "local", "capnp", "local", "awake", "one"),
        *asleep_on_one_core("ZeroMQ", "local", "zeromq", "inproc"),
        *grid("ZeroMQ", "local", "zeromq", "inproc"),
    ]


def shm_rows():
    return [
        *grid("raw ring", "shm", "raw", "ring", "awake"),
        *asleep_on_one_core("raw ring", "shm", "raw", "ring"),
        *grid("raw ring", "shm", "raw", "ring", sizes=(64,), flights=(1,)),
        *asleep_on_one_core("raw pipe", "shm", "raw", "pipe"),
        *grid("raw pipe", "shm", "raw", "pipe", sizes=(64,), flights=(1,)),
        *asleep_on_one_core("raw eventfd", "shm", "raw", "eventfd"),
        *grid("raw eventfd", "shm", "raw", "eventfd", sizes=(64,), flights=(1,)),
        *grid("raw pipe", "shm", "raw", "pipe", sizes=(64,), flights=(1,), pause_us=300),
        *grid("shunt", "shm", "node", "far-driver to far", sizes=(64,), flights=(1,), pause_us=300),
        *grid("shunt", "shm", "node", "far-driver to far", "awake"),
        *asleep_on_one_core("shunt", "shm", "node", "far-driver to far", sizes=SIZES),
        *grid("shunt", "shm", "node", "driver to far", "awake", sizes=(64,)),
        *grid("shunt link", "shm", "link", "shm", "awake"),
        *asleep_on_one_core("shunt link", "shm", "link", "shm"),
        *grid("iceoryx", "shm", "iceoryx", "copy", "awake"),
        *grid("iceoryx", "shm", "iceoryx", "handover", "awake", sizes=(MIB,), flights=(1,)),
        *asleep_on_one_core("iceoryx", "shm", "iceoryx", "copy"),
        *grid("iceoryx", "shm", "iceoryx", "copy", sizes=(64,), flights=(1,)),
    ]


def unix_rows():
    return [
        *grid("raw socket", "unix", "raw", "unix"),
        *asleep_on_one_core("raw socket", "unix", "raw", "unix", sizes=SIZES),
        *grid("raw socket", "unix", "raw", "unix", "awake", sizes=(64,)),
        *grid("shunt", "unix", "node", "far-driver to far-unix"),
        *asleep_on_one_core("shunt", "unix", "node", "far-driver to far-unix", sizes=SIZES),
        *grid("shunt", "unix", "node", "driver to far-unix", sizes=(64,)),
        *grid("shunt link", "unix", "link", "unix"),
        *asleep_on_one_core("shunt link", "unix", "link", "unix", sizes=SIZES),
        *grid("ZeroMQ", "unix", "zeromq", "ipc"),
        *asleep_on_one_core("ZeroMQ", "unix", "zeromq", "ipc"),
        *grid("Cap'n Proto", "unix", "capnp", "unix"),
        *asleep_on_one_core("Cap'n Proto", "unix", "capnp", "unix"),
        *grpcpp_rows("unix", "unix"),
    ]


def grpc_rows():
    return [
        *grid("raw socket", "grpc", "raw", "tcp"),
        *asleep_on_one_core("raw socket", "grpc", "raw", "tcp", sizes=SIZES),
        *grid("shunt", "grpc", "node", "driver to there"),
        *asleep_on_one_core("shunt", "grpc", "node", "driver to there", sizes=SIZES),
        *grid("shunt link", "grpc", "link", "tcp", sizes=(64,)),
        *grpcpp_rows("grpc", "tcp"),
        *grid("ZeroMQ", "grpc", "zeromq", "tcp"),
        *asleep_on_one_core("ZeroMQ", "grpc", "zeromq", "tcp"),
        *grid("NATS", "grpc", "nats", "server"),
        *asleep_on_one_core("NATS", "grpc", "nats", "server"),
    ]


def grpcpp_rows(distance, address):
    rows = []
    for way, sizes in (("unary", SIZES), ("stream", SIZES), ("callback", (64,))):
        rows += grid("grpc++", distance, "grpcpp", f"{way}-{address}", sizes=sizes)
        rows += asleep_on_one_core("grpc++", distance, "grpcpp", f"{way}-{address}")
    return rows


def all_rows():
    return [*local_rows(), *shm_rows(), *unix_rows(), *grpc_rows()]


def quick_rows():
    """A handful of every program: that it runs, not what it costs."""
    wanted = []
    for row in all_rows():
        few = row.bytes == 64 and row.in_flight in (1, 64) and row.cores == "split" or row.who.startswith("shunt") and row.in_flight == 1
        if few or row.distance == "local" and row.in_flight <= 64 and row.bytes == 64:
            wanted.append(row)
    return wanted
