"""The example as its README tells of it, over HTTP and the command line; and the promise that a backend changes nothing."""

import json
import re
import subprocess

import pytest

import harness
from harness import Raw, copy_shop


def test_every_service_answers_over_http(shop):
    assert shop.get("/prices/get?sku=tea").json == {"sku": "tea", "cents": 250}
    assert shop.post("/prices/get", {"sku": "cake"}).json == {"sku": "cake", "cents": 420}
    assert [price["sku"] for price in shop.get("/prices/list").lines] == ["cake", "coffee", "milk", "tea"]
    assert shop.get("/stock/check?sku=coffee").json == {"sku": "coffee", "left": 500}
    assert shop.post("/cart/total", {"items": [{"sku": "tea", "count": 2}, {"sku": "cake"}]}).json == {"cents": 920}
    # The full names work too.
    assert shop.get("/shop.prices/get?sku=tea").json == {"sku": "tea", "cents": 250}


def test_every_service_answers_on_the_command_line(shop):
    assert shop.call("prices.get", {"sku": "tea"}).json == {"sku": "tea", "cents": 250}
    assert [price["cents"] for price in shop.call("prices.list").lines] == [420, 295, 115, 250]
    assert shop.call("stock.check", {"sku": "coffee"}).json == {"sku": "coffee", "left": 500}
    assert shop.call("shop.cart.total", {"items": [{"sku": "milk", "count": 3}]}).json == {"cents": 345}
    assert shop.call("prices.get", {"sku": "tea"}, "--at", shop.url).json == {"sku": "tea", "cents": 250}


def test_the_curl_lines_of_the_readme(shop):
    readme = (harness.ROOT / "examples/shop/README.md").read_text()
    lines = [line for line in readme.splitlines() if line.startswith("curl ")]
    assert len(lines) == 3
    left = shop.get("/stock/check?sku=tea").json["left"]
    answers = []
    for line in lines:
        line = line.replace("http://127.0.0.1:8080", shop.url)
        answers.append(subprocess.run(line, shell=True, capture_output=True, check=True, timeout=60).stdout.decode())
    assert json.loads(answers[0]) == {"sku": "tea", "cents": 250}
    assert json.loads(answers[1]) == {"cents": 920, "items": 3}
    assert [json.loads(line) for line in answers[2].splitlines()] == [{"sku": "tea", "left": left - 2}] * 3


def test_ps_shows_languages_backends_and_processes(shop):
    services = {service["name"]: service for service in shop.ps()["services"]}
    assert {(name, s["type"], s["backend"], s["state"]) for name, s in services.items()} == {
        ("shop.prices", "c++", "thread", "ready"),
        ("shop.stock", "c++", "process", "ready"),
        ("shop.cart", "python", "process", "ready"),
    }
    family = set(shop.processes())
    assert services["shop.prices"]["instances"][0]["pid"] == 0
    assert {shop.worker("stock"), shop.worker("cart"), shop.ps()["node"]["pid"]} <= family
    table = shop.cli("ps").out
    assert str(shop.worker("cart")) in table and "thread" in table and "python" in table


def test_the_page_lists_services_and_commands(shop):
    page = shop.get("/")
    assert page.status == 200 and page.headers["content-type"].startswith("text/html")
    for text in ("prices", "stock", "cart", "checkout", "The price of one item."):
        assert text in page.body.decode()


REQUESTS = [
    ("GET", "/prices/get?sku=tea", "", b""),
    ("GET", "/prices/get?sku=nothing", "", b""),
    ("GET", "/prices/get?sku=", "", b""),
    ("GET", "/prices/get", "", b""),
    ("GET", "/prices/get?sku=tea&colour=red", "", b""),
    ("HEAD", "/prices/get?sku=tea", "", b""),
    ("OPTIONS", "/prices/get", "", b""),
    ("PUT", "/prices/get", "", b""),
    ("GET", "/prices/list", "", b""),
    ("GET", "/prices/list", "Accept: text/event-stream", b""),
    ("POST", "/prices/list", "Content-Type: application/json", b"{}"),
    ("POST", "/prices/get", "Content-Type: application/json", b'{"sku":"tea"}'),
    ("POST", "/prices/get", "Content-Type: application/json", b'{"sku":5}'),
    ("POST", "/prices/get", "Content-Type: application/json", b'{"sku":"tea","more":1}'),
    ("POST", "/prices/get", "Content-Type: application/json", b'{"sku"'),
    ("POST", "/prices/get", "Content-Type: application/json", b"[1]"),
    ("POST", "/prices/get", "Content-Type: application/json", b""),
    ("POST", "/prices/get", "Content-Type: text/plain", b'{"sku":"tea"}'),
    ("POST", "/prices/get", "Connect-Timeout-Ms: x", b""),
    ("POST", "/prices/nothing", "Content-Type: application/json", b"{}"),
    ("GET", "/prices/nothing", "", b""),
    ("POST", "/cart/total", "Content-Type: application/json", b'{"items":[{"sku":"tea","count":3},{"sku":"milk"}]}'),
    ("POST", "/cart/total", "Content-Type: application/json", b'{"items":[{"sku":"nothing"}]}'),
    ("POST", "/cart/total", "Content-Type: application/json", b'{"items":[{"sku":""}]}'),
]


def transcript(node):
    """Every byte that it answers, but for the date, which is the hour's and not the service's."""
    told = []
    with Raw(node.address) as client:
        for method, path, header, body in REQUESTS:
            client.request(method, path, *([header] if header else []), body=body)
            head = client.until(b"\r\n\r\n")
            answer = b""
            length = re.search(rb"Content-Length: (\d+)", head)
            if b"Transfer-Encoding: chunked" in head:
                while piece := client.chunk():
                    answer += piece
            elif length and method != "HEAD":
                answer = client.exactly(int(length[1]))
            told.append((method, path, header, body, re.sub(rb"Date: [^\r]*\r\n", b"", head), answer))
    for request in ('{"sku":"tea"}', '{"sku":"nothing"}', '{"sku":1}', '{"more":1}', "{}"):
        done = node.call("prices.get", request)
        told.append(("cli", request, done.code, done.out, done.err))
    return told


@pytest.mark.parametrize("backend", ["process"])
def test_a_backend_changes_nothing_that_a_caller_sees(shop, start, tmp_path, backend):
    moved = start(copy_shop(tmp_path / "shop", prices=backend))
    assert moved.service("prices")["backend"] == backend
    assert moved.worker("prices") in moved.processes()
    for here, there in zip(transcript(shop), transcript(moved), strict=True):
        assert here == there
