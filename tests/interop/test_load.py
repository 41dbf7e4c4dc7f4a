"""h2load and wrk: many requests at once, all of them answered. How fast is the benchmarks' business."""

import re
import subprocess

import pytest

import programs


@pytest.fixture(scope="module")
def request_file(tmp_path_factory, generated):
    """Of a unary gRPC call, as its DATA frame has it."""
    message = generated.messages.Message(text="x" * 64).SerializeToString()
    file = tmp_path_factory.mktemp("load") / "request"
    file.write_bytes(b"\x00" + len(message).to_bytes(4, "big") + message)
    return file


@pytest.fixture(scope="module")
def json_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("load") / "request.json"
    file.write_text('{"text": "hello"}')
    return file


def h2load(*arguments):
    output = programs.run([programs.need("h2load", "nghttp2-client"), "-t1", *arguments], programs.HERE)
    total = re.search(r"(\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", output)
    assert total, output
    assert total[1] == total[3] == total[4], output
    return output


@pytest.mark.parametrize("clients, streams", [(1, 1), (4, 64), (50, 10)])
def test_grpc_with_h2load(node, request_file, clients, streams):
    h2load(f"-c{clients}", f"-m{streams}", "-n5000", "-H", "content-type: application/grpc", "-H", "te: trailers",
           "-d", str(request_file), node.url + "/interop.v1.Native/Unary")


def test_json_over_http2_with_h2load(node, json_file):
    h2load("-c8", "-m32", "-n5000", "-H", "content-type: application/json", "-d", str(json_file), node.url + "/counted/unary")


def test_json_over_http1_with_h2load(node):
    h2load("--h1", "-c8", "-n3000", node.url + "/plain/greet?name=Ann")


def test_json_with_wrk(node):
    output = programs.run([programs.need("wrk", "wrk"), "-t1", "-c64", "-d2s", node.url + "/plain/greet?name=Ann"], programs.HERE)
    assert int(re.search(r"(\d+) requests in", output)[1]) > 0, output
    assert "Non-2xx" not in output and "Socket errors" not in output, output


def test_the_node_is_well_after_the_load(node):
    assert node.get("/readyz").status == 200
    assert node.get("/plain/greet?name=Ann").json == {"message": "Hello, Ann!"}
