"""curl: HTTP/1.1, HTTP/2 by prior knowledge, by Upgrade and by ALPN under TLS; events, compression, what people type."""

import json
import subprocess

import pytest

import harness

VERSIONS = {"1.1": ["--http1.1"], "2 by prior knowledge": ["--http2-prior-knowledge"], "2 by upgrade": ["--http2"]}


def curl(*arguments, stdin=b""):
    """(status, version, body, headers) of the last answer."""
    command = ["curl", "-sS", "--max-time", str(int(harness.PATIENCE)), "-D", "/dev/stderr",
               "-w", "\n%{http_code} %{http_version}", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, env=harness.environment(), check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    body, _, told = done.stdout.rpartition(b"\n")
    status, version = told.decode().split()
    heads = [head for head in done.stderr.decode("latin-1").replace("\r\n", "\n").split("\n\n") if head.startswith("HTTP/")]
    headers = {}
    for line in heads[-1].splitlines()[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(status), version, body, headers


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


def post(node, version, path, value, *arguments):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return curl(*VERSIONS[version], "-X", "POST", "-H", "Content-Type: application/json", "--data-binary", "@-",
                *arguments, node.url + path, stdin=body)


def test_post(node, version):
    status, spoken, body, headers = post(node, version, "/plain/greet", {"name": "Ann"})
    # A request with a body that asks for an upgrade is answered as it was sent.
    assert (status, spoken) == (200, "2" if version == "2 by prior knowledge" else "1.1")
    assert json.loads(body) == {"message": "Hello, Ann!"}
    assert headers["content-type"].startswith("application/json")


def test_get(node, version):
    status, spoken, body, _ = curl(*VERSIONS[version], node.url + "/plain/greet?name=Ann&times=2")
    assert (status, spoken[0], json.loads(body)) == (200, version[0], {"message": "Hello, Ann!Hello, Ann!"})


def test_head(node, version):
    status, _, _, headers = curl(*VERSIONS[version], "-I", node.url + "/plain/greet?name=Ann")
    assert status == 200 and headers["content-type"].startswith("application/json")


def test_an_error(node, version):
    status, _, body, headers = post(node, version, "/plain/refuse", {"code": "not_found", "message": "gone"})
    assert (status, json.loads(body)["code"], json.loads(body)["message"]) == (404, "not_found", "gone")


def test_bad_json_names_the_place(node, version):
    status, _, body, _ = post(node, version, "/plain/order", b'{"items": [{"sku": 7}]}')
    assert status == 400 and "items[0].sku" in json.loads(body)["message"]


def test_bad_json_of_a_declared_type_names_the_place(node, version):
    status, _, body, _ = post(node, version, "/interop.v1.Echo/Unary", b'{"inner": {"parts": [{"name": 7}]}}')
    assert status == 400 and "inner.parts[0].name" in json.loads(body)["message"]


def test_canonical_json_of_a_declared_type(node, version):
    sent = {"text": "hi", "large": "9007199254740993", "data": "AP8=", "colour": "COLOUR_GREEN", "at": "2026-11-21T12:00:00Z"}
    status, _, body, _ = post(node, version, "/interop.v1.Echo/Unary", sent)
    assert (status, json.loads(body)) == (200, sent)


def test_lines(node, version):
    status, _, body, headers = post(node, version, "/plain/count", {"to": 3})
    assert status == 200 and headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line)["value"] for line in body.splitlines()] == [0, 1, 2]


def test_lines_both_ways(node, version):
    lines = b"".join(b'{"value": %d}\n' % value for value in (1, 2, 3))
    status, _, body, _ = curl(*VERSIONS[version], "-H", "Content-Type: application/x-ndjson", "--data-binary", "@-",
                              node.url + "/plain/running", stdin=lines)
    assert status == 200 and [json.loads(line)["total"] for line in body.splitlines()] == [1, 3, 6]


def test_events(node, version):
    status, _, body, headers = post(node, version, "/plain/count", {"to": 3}, "-N", "-H", "Accept: text/event-stream")
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    assert [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: {\"value\"")] == [
        {"value": 0}, {"value": 1}, {"value": 2}]
    assert "event: end" in body.decode()


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_compressed_answers(node, version, coding):
    status, _, body, headers = post(node, version, "/plain/greet", {"name": "Ann", "times": 5000}, "--compressed",
                                    "-H", f"Accept-Encoding: {coding}")
    assert status == 200 and headers["content-encoding"] == coding
    assert json.loads(body)["message"].count("Ann") == 5000


def test_a_large_body(node, version):
    sent = {"data": "eHh4" * (1 << 20)}
    status, _, body, _ = post(node, version, "/interop.v1.Native/Unary", sent)
    assert status == 200 and json.loads(body) == sent


def test_bytes(node, version):
    body = bytes(range(256)) * 4096
    status, _, answer, headers = curl(*VERSIONS[version], "-H", "Content-Type: application/octet-stream", "--data-binary", "@-",
                                      node.url + "/plain/reverse", stdin=body)
    assert (status, answer, headers["content-type"]) == (200, body[::-1], "application/octet-stream")


def test_the_front_page_and_health(node, version):
    for path in ("/", "/livez", "/readyz", "/metrics"):
        assert curl(*VERSIONS[version], node.url + path)[0] == 200, path


def test_a_conditional_get(node, version):
    url = node.url + "/plain/greet?name=Ann"
    status, _, _, headers = curl(*VERSIONS[version], url)
    assert status == 200 and headers["etag"]
    assert curl(*VERSIONS[version], "-H", f"If-None-Match: {headers['etag']}", url)[0] == 304


# --- TLS ---


@pytest.mark.parametrize("asked, spoken", [("--http1.1", "1.1"), ("--http2", "2")])
@pytest.mark.parametrize("version", ["--tlsv1.2", "--tlsv1.3"])
def test_tls_with_alpn(secure, authority, asked, spoken, version):
    assert secure.url.startswith("https://")
    status, version, body, _ = curl("--cacert", str(authority), asked, version, secure.url + "/plain/greet?name=Ann")
    assert (status, version, json.loads(body)) == (200, spoken, {"message": "Hello, Ann!"})


def test_a_certificate_that_nobody_trusts_is_refused_by_the_client(secure):
    assert subprocess.run(["curl", "-sS", secure.url + "/livez"], capture_output=True, check=False).returncode == 60


def test_tls_before_1_2_is_refused(secure):
    done = subprocess.run(["curl", "-sSk", "--tls-max", "1.1", "--tlsv1.0", "--ciphers", "DEFAULT@SECLEVEL=0", secure.url + "/livez"],
                          capture_output=True, check=False)
    assert done.returncode == 35, done.stderr
