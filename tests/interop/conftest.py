"""Fixtures of the tests with real clients: one node with the services of app/, reached in clear and by TLS."""

import collections
import importlib
import itertools
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import harness  # noqa: E402
import programs  # noqa: E402

APP = HERE / "app"
FILES = ["messages.proto", "echo.proto", "native.proto"]
Generated = collections.namedtuple("Generated", ["messages", "echo", "native"])
running = []


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


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """start(app...) runs a node until the tests end."""
    folder, numbers, nodes = tmp_path_factory.mktemp("nodes"), itertools.count(), []

    def start(*apps, **options):
        node = harness.Node(folder / f"data{next(numbers)}", *apps, **(options | {"wait": False}))
        nodes.append(node)
        running.append(node)
        return node.wait_ready()

    yield start
    for node in reversed(nodes):
        node.end()
        running.remove(node)


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """app/ in a folder of its own, its library from the build."""
    folder = tmp_path_factory.mktemp("app") / "interop"
    folder.mkdir()
    for file in APP.iterdir():
        if file.is_file():
            text = file.read_text().replace("@MODULES@", str(harness.BUILD / "tests/interop"))
            (folder / file.name).write_text(text)
    return folder


@pytest.fixture(scope="session")
def node(start, app):
    return start(app)


@pytest.fixture(scope="session")
def secure(start, app):
    """The same behind TLS, with a certificate that the node has made."""
    return start(app, arguments=["--tls", "self"])


@pytest.fixture(scope="session")
def authority(secure):
    """Who has signed it."""
    return secure.data / "tls/ca.pem"


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    """What a user of grpcio would generate from app/: the messages, and a stub of each service."""
    folder = tmp_path_factory.mktemp("generated")
    protoc("--proto_path", APP, "--python_out", folder, "--grpc_python_out", folder, *FILES)
    sys.path.insert(0, str(folder))
    modules = {name: importlib.import_module(name) for name in ("messages_pb2", "echo_pb2_grpc", "native_pb2_grpc")}
    return Generated(modules["messages_pb2"], modules["echo_pb2_grpc"].EchoStub, modules["native_pb2_grpc"].NativeStub)


def protoc(*arguments):
    return programs.run([sys.executable, "-m", "grpc_tools.protoc", *map(str, arguments)], APP)


@pytest.fixture(scope="session")
def descriptors(tmp_path_factory):
    """The .proto files and what the tests read of google.rpc, as a file with a FileDescriptorSet: for JavaScript."""
    import google.rpc

    file = tmp_path_factory.mktemp("descriptors") / "interop.binpb"
    protoc("--proto_path", APP, "--proto_path", pathlib.Path(list(google.rpc.__path__)[0]).parent.parent, "--include_imports",
           "--descriptor_set_out", file, *FILES, "google/rpc/error_details.proto")
    return file


@pytest.fixture(scope="session")
def node_folder():
    return programs.node_folder()


@pytest.fixture(scope="session")
def go_folder():
    return programs.go_folder()
