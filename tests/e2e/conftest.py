"""Fixtures of the end-to-end tests. Nodes that a test does not harm are shared by all; the others are its own."""

import itertools
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import harness  # noqa: E402

running = []


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than some seconds")
    if not pathlib.Path(harness.SHUNT).exists():
        pytest.exit(f"{harness.SHUNT} is not there; ./dev build makes it", returncode=1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for node in running:
            report.sections.append((f"node {node.pid} ({node.data})", node.output[-6000:]))


def starter(folder):
    numbers = itertools.count()
    nodes = []

    def start(*apps, **options):
        # Registered before it is ready, so that one that never is, is ended too.
        node = harness.Node(folder / f"data{next(numbers) or ''}", *apps, **(options | {"wait": False}))
        nodes.append(node)
        running.append(node)
        if options.get("wait", True):
            node.wait_ready()
        return node

    def end():
        for node in reversed(nodes):
            node.end()
            running.remove(node)

    return start, end


@pytest.fixture
def start(tmp_path):
    """start(app...) runs a node for this test alone."""
    start, end = starter(tmp_path)
    yield start
    end()


@pytest.fixture(scope="session")
def start_shared(tmp_path_factory):
    start, end = starter(tmp_path_factory.mktemp("shared"))
    yield start
    end()


@pytest.fixture(scope="session")
def shop(start_shared):
    """The example, as it stands."""
    return start_shared(harness.SHOP)


@pytest.fixture(scope="session")
def lab_app(tmp_path_factory):
    """apps/lab, its C++ services from the build."""
    return harness.lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="session")
def lab(start_shared, lab_app):
    """Services that do all that services can do, on one node."""
    return start_shared(lab_app)
