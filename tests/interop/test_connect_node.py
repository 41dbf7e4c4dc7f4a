"""@connectrpc/connect-node: clients/connect_node.mjs."""

import re

import pytest

import scripts

TRANSPORTS = re.findall(r'^    \["([^"]+)", create\w+\(.*\), (stream|half)\],$', (scripts.CLIENTS / "connect_node.mjs").read_text(), re.M)
NAMES = [name for transport, abilities in TRANSPORTS for name in scripts.names_of_transport(transport, True, abilities == "stream")]


@pytest.fixture(scope="module")
def results(node, secure, authority, descriptors):
    return scripts.run("connect_node.mjs", url=node.url, secureUrl=secure.url, authority=str(authority), descriptors=str(descriptors))


@pytest.mark.parametrize("name", NAMES)
def test_connect_node(results, name):
    results.check(name)


def test_nothing_else_ran(results):
    results.check_names(NAMES)
