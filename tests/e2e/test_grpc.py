"""gRPC by our own client: `shunt call --at grpc://` against our own node. Others' clients are in tests/interop."""

import harness
import pytest
from harness import run


def at(node):
    return ["--at", node.url.replace("http://", "grpc://")]


def test_a_command_is_called_by_grpc(shop):
    tea = {"sku": "tea", "cents": 250}
    assert run("call", "shop.prices.get", '{"sku": "tea"}', *at(shop)).json == tea
    assert run("call", "prices.get", '{"sku": "tea"}', *at(shop)).json == tea


def test_what_is_wrong_is_told_as_over_http(shop):
    done = run("call", "shop.prices.get", '{"sku": "coal"}', *at(shop))
    over_http = run("call", "shop.prices.get", '{"sku": "coal"}', "--at", shop.url)
    assert (done.code, done.err) == (over_http.code, over_http.err)
    assert run("call", "shop.prices.nothing", *at(shop)).code == 12
    assert run("call", "nobody.nothing", *at(shop)).code == 12


def test_health_and_reflection_are_services_too(shop):
    done = run("call", "grpc.health.v1.Health.Check", '{"service": "shop.prices"}', *at(shop))
    assert done.json == {"status": "SERVING"}
    done = run("call", "grpc.health.v1.Health.List", *at(shop))
    assert done.json["statuses"]["shop.cart"] == {"status": "SERVING"}
    listed = run("call", "grpc.reflection.v1.ServerReflection.ServerReflectionInfo", '{"listServices": "*"}', *at(shop))
    names = [service["name"] for service in listed.json["listServicesResponse"]["service"]]
    assert "grpc.health.v1.Health" in names and len(names) > 4
    # The file of each can be had, and is one.
    for name in names:
        asked = f'{{"fileContainingSymbol": "{name}"}}'
        got = run("call", "grpc.reflection.v1alpha.ServerReflection.ServerReflectionInfo", asked, *at(shop))
        assert got.json["fileDescriptorResponse"]["fileDescriptorProto"], name


def test_over_tls_too(start):
    node = start(harness.SHOP, listen=("https://127.0.0.1:0",), arguments=("--tls", "self"))
    secure = ["--at", node.url.replace("https://", "grpcs://")]
    done = run("call", "shop.prices.get", '{"sku": "tea"}', *secure, "--cacert", node.data / "tls" / "ca.pem")
    assert done.json == {"sku": "tea", "cents": 250}
    assert run("call", "shop.prices.get", '{"sku": "tea"}', *secure, "--insecure").code == 0
    done = run("call", "shop.prices.get", '{"sku": "tea"}', *secure)
    assert done.code == 14 and "--cacert" in done.err


@pytest.mark.parametrize("address", ["grpc://127.0.0.1:1", "grpcs://127.0.0.1:1"])
def test_nobody_there_is_unavailable(address):
    done = run("call", "a.b", "--at", address)
    assert done.code == 14 and "127.0.0.1:1" in done.err
