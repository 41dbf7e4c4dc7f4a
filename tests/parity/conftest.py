"""Fixtures of the parity tests: two nodes that know each other, with a callee at each distance and a caller of each kind."""

import itertools
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import harness  # noqa: E402
from callers import Outside, Service  # noqa: E402

MODULES = harness.BUILD / "tests/parity"
running = []

CALLEES = ["thread", "process", "python", "peer"]
CALLERS = ["thread", "process", "python", "outside"]


def pytest_configure(config):
    if not pathlib.Path(harness.SHUNT).exists():
        pytest.exit(f"{harness.SHUNT} is not there; ./dev build makes it", returncode=1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for node in running:
            report.sections.append((f"node {node.pid} ({node.data})", node.output[-6000:]))


def service(library, backend, **more):
    return {"type": "c++", "args": str(MODULES / f"libparity_{library}.so"), "engine": {"backend": backend}, **more}


def python(file, **more):
    return {"type": "python", "args": str(HERE / "app" / file), "engine": {"backend": "process", "pool-limit": 1}, **more}


@pytest.fixture(scope="session")
def nodes(tmp_path_factory):
    folder, numbers = tmp_path_factory.mktemp("parity"), itertools.count()
    started = []

    def start(app, *arguments):
        node = harness.Node(folder / f"data{next(numbers)}", app, arguments=arguments, wait=False)
        started.append(node)
        running.append(node)
        return node.wait_ready()

    # Both nodes judge: this one by "uses", the far one by "allow".
    allow = {"allow": [f"near.caller-{name}" for name in CALLERS[:-1]]}
    far = start(harness.write_app(folder / "far", {"name": "far", "services": {"callee-peer": service("callee", "thread", **allow)}}))
    uses = {"uses": [f"callee-{name}" for name in CALLEES[:-1]] + ["far.callee-peer"]}
    near = harness.write_app(folder / "near", {"name": "near", "services": {
        "callee-thread": service("callee", "thread"),
        "callee-process": service("callee", "process"),
        "callee-python": python("callee.py"),
        "caller-thread": service("caller", "thread", **uses),
        "caller-process": service("caller", "process", **uses),
        "caller-python": python("caller.py", **uses),
        "secret": service("callee", "process", allow=["near.callee-thread"]),
    }})
    host, port = far.address
    near = start(near, "--peer", f"grpc://{host}:{port}")
    harness.eventually("the far service to be known", lambda: any(
        peer.get("state") == "ready" for peer in near.ps().get("peers", [])))
    yield near
    for node in reversed(started):
        node.end()
        running.remove(node)


@pytest.fixture(scope="session")
def callers(nodes):
    outside = Outside(nodes)
    yield {name: Service(nodes, name) for name in CALLERS[:-1]} | {"outside": outside}
    outside.close()


@pytest.fixture(params=CALLERS)
def caller(request, callers):
    return callers[request.param]


@pytest.fixture(params=CALLEES)
def callee(request):
    return "far.callee-peer" if request.param == "peer" else f"near.callee-{request.param}"
