"""grpcurl, which is grpc-go: it asks by reflection what there is, and calls it."""

import json
import subprocess

import pytest

import harness


@pytest.fixture(scope="module")
def grpcurl(go_folder, node):
    def run(*arguments, data=None, code=0, to=node, security="-plaintext"):
        host, port = to.address
        command = [str(go_folder / "grpcurl"), *security.split(" "), "-format-error"]
        if data is not None:
            command += ["-d", data if isinstance(data, str) else json.dumps(data)]
        # Flags stand before the address.
        flags = [argument for argument in arguments if argument.startswith("-")]
        rest = [argument for argument in arguments if not argument.startswith("-")]
        done = subprocess.run([*command, *flags, f"{host}:{port}", *rest], capture_output=True, timeout=harness.PATIENCE, check=False)
        assert (done.returncode == 0) == (code == 0), done.stderr.decode() + done.stdout.decode()
        return done.stdout.decode() if code == 0 else done.stderr.decode()

    return run


def derived(grpcurl, suffix):
    [name] = [name for name in grpcurl("list").split() if name.lower().endswith(suffix)]
    return name


def method(grpcurl, service, name):
    [found] = [line for line in grpcurl("list", service).split() if line.lower().endswith("." + name)]
    return "/".join(found.rsplit(".", 1))


def messages(text):
    """JSON texts one after the other."""
    decoder, found, text = json.JSONDecoder(), [], text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].strip()
    return found


def test_list(grpcurl):
    services = grpcurl("list").split()
    assert {"interop.v1.Echo", "interop.v1.Native", "grpc.health.v1.Health"} <= set(services)
    assert any(name.startswith("grpc.reflection.v1") for name in services)


def test_describe(grpcurl):
    described = grpcurl("describe", "interop.v1.Echo")
    assert "rpc Running ( stream .interop.v1.Number ) returns ( stream .interop.v1.Sum );" in described
    assert "google.protobuf.Timestamp at = 10;" in grpcurl("describe", ".interop.v1.Message")


def test_a_declared_method(grpcurl):
    [answer] = messages(grpcurl("interop.v1.Echo/Unary", data={"text": "hi", "large": "9007199254740993", "at": "2026-11-21T12:00:00Z"}))
    assert answer == {"text": "hi", "large": "9007199254740993", "at": "2026-11-21T12:00:00Z"}


def test_streams_both_ways(grpcurl):
    numbers = "".join(json.dumps({"value": value}) for value in (1, 2, 3))
    for service in ("Echo", "Native"):
        assert [sum["total"] for sum in messages(grpcurl(f"interop.v1.{service}/Running", data=numbers))] == [1, 3, 6]


def test_a_plain_python_function_is_described_and_called(grpcurl):
    plain = derived(grpcurl, "plain")
    assert "rpc order" in grpcurl("describe", plain).lower()
    [answer] = messages(grpcurl(method(grpcurl, plain, "order"), data={"items": [{"sku": "tea", "count": 2, "price": 1.5}]}))
    assert int(answer["pieces"]) == 2 and answer["skus"] == ["tea"]


def test_a_plain_python_generator_streams(grpcurl):
    found = messages(grpcurl(method(grpcurl, derived(grpcurl, "plain"), "count"), data={"to": 3}))
    assert [int(number.get("value", 0)) for number in found] == [0, 1, 2]


def test_a_plain_cpp_function(grpcurl):
    numbers = "".join(json.dumps({"value": value}) for value in (1, 2, 3))
    [answer] = messages(grpcurl(method(grpcurl, derived(grpcurl, "counted"), "add"), data=numbers))
    assert int(answer["total"]) == 6


def test_an_error_with_details(grpcurl):
    told = json.loads(grpcurl("interop.v1.Echo/Refuse", data={"code": 9, "message": "no", "detailed": True}, code=1))
    assert (told["code"], told["message"]) == (9, "no")
    assert any("ErrorInfo" in detail["@type"] for detail in told["details"])


def test_a_wrong_field_is_named(grpcurl):
    plain = derived(grpcurl, "plain")
    assert "skoo" in grpcurl(method(grpcurl, plain, "order"), data={"items": [{"skoo": "tea"}]}, code=1)


def test_health(grpcurl):
    [answer] = messages(grpcurl("grpc.health.v1.Health/Check", data={"service": "plain"}))
    assert answer == {"status": "SERVING"}


def test_the_deadline(grpcurl):
    told = json.loads(grpcurl("-max-time=0.5", "interop.v1.Echo/Hang", data={"name": "grpcurl"}, code=1))
    assert told["code"] == 4


def test_the_same_behind_tls(grpcurl, secure, authority):
    [answer] = messages(grpcurl("interop.v1.Echo/Unary", data={"text": "hi"}, to=secure, security=f"-cacert {authority}"))
    assert answer == {"text": "hi"}
