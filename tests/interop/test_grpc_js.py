"""@grpc/grpc-js on Node.js: clients/grpc_js.mjs."""

import pytest

import scripts
from conftest import APP

NAMES = scripts.names("grpc_js.mjs")


@pytest.fixture(scope="module")
def results(node):
    host, port = node.address
    return scripts.run("grpc_js.mjs", address=f"{host}:{port}", folder=str(APP))


@pytest.mark.parametrize("name", NAMES)
def test_grpc_js(results, name):
    results.check(name)


def test_nothing_else_ran(results):
    results.check_names(NAMES)
