"""TLS as clients meet it: curl, openssl and Python's own ssl against the real binary."""

import concurrent.futures
import contextlib
import fcntl
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import termios
import threading

import pytest

import harness
from harness import environment, eventually, run, write_app

GREETER = '''
import shunt

service = shunt.Service()


@service.command(effect="none")
def hello(name: str = "you") -> dict:
    return {"text": f"hello {name}"}


@service.command
def size(body: bytes) -> dict:
    return {"bytes": len(body)}


@service.command
def big(bytes: int):
    return b"x" * bytes


if __name__ == "__main__":
    service.run()
'''
MANIFEST = {"name": "greet", "type": "python", "args": "app.py", "expose": True, "auth": "none"}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return write_app(tmp_path_factory.mktemp("greet"), MANIFEST, app_py=GREETER)


@pytest.fixture(scope="module")
def node(app, start_shared):
    """One with both: TLS with a development certificate, and clear."""
    return start_shared(app, listen=("https://127.0.0.1:0", "http://127.0.0.1:0"), arguments=("--tls", "self"))


def port(url):
    return int(url.rpartition(":")[2])


def authority(node):
    return node.data / "tls" / "ca.pem"


def curl(*arguments, check=True):
    done = subprocess.run(["curl", "-sS", *map(str, arguments)], capture_output=True, timeout=harness.PATIENCE)
    if check:
        assert done.returncode == 0, done.stderr.decode()
    return done.stdout if check else done


def openssl(*arguments, stdin=b""):
    return subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, timeout=harness.PATIENCE)


class Authority:
    """Signs certificates, with the openssl command."""

    def __init__(self, folder, name="Test CA"):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate, self.key = folder / "ca.pem", folder / "ca.key"
        done = openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                       "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.certificate)
        assert done.returncode == 0, done.stderr

    def sign(self, name, usage="serverAuth"):
        """The files of a new certificate and its key."""
        key, request, certificate = (self.folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={usage}\n")
        for arguments in (
            ("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request),
            ("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", "20",
             "-extfile", extensions, "-out", certificate),
        ):
            done = openssl(*arguments)
            assert done.returncode == 0, done.stderr
        return certificate, key


def common_name(session):
    return dict(pair for [pair] in session.getpeercert()["subject"])["commonName"]


def context(cafile, **options):
    made = ssl.create_default_context(cafile=str(cafile))
    if "cert" in options:
        made.load_cert_chain(*map(str, options["cert"]))
    return made


# --- The development certificate ---


def test_both_http_versions_over_tls_and_in_clear_beside_it(node):
    secure, clear = node.urls
    assert secure.startswith("https://") and clear.startswith("http://")
    for flag, version in (("--http1.1", "1.1"), ("--http2", "2")):
        out = curl(flag, "--cacert", authority(node), f"{secure}/greet/hello?name=ann", "-w", " %{http_version}").decode()
        assert out == '{"text":"hello ann"} ' + version
    assert json.loads(curl(f"{clear}/greet/hello")) == {"text": "hello you"}


@pytest.mark.parametrize("flag", ["--http1.1", "--http2"])
def test_large_bodies_come_whole(node, flag, tmp_path):
    (tmp_path / "body").write_bytes(os.urandom(8 << 20))
    common = (flag, "--cacert", authority(node), "-H")
    out = curl(*common, "Content-Type: application/octet-stream", "--data-binary", f"@{tmp_path}/body",
               f"{node.url}/greet/size")
    assert json.loads(out) == {"bytes": 8 << 20}
    assert len(curl(*common, "Content-Type: application/json", "-d", '{"bytes": 8000000}', f"{node.url}/greet/big")) == 8000000


def test_ready_tells_how_to_trust_it_and_the_keys_are_nobody_elses(node):
    assert f"curl --cacert {authority(node)} {node.url}/" in node.output
    for key in ("ca.key", "localhost.key"):
        assert (node.data / "tls" / key).stat().st_mode & 0o777 == 0o600
    text = openssl("x509", "-in", node.data / "tls" / "localhost.pem", "-noout", "-text").stdout.decode()
    assert "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1" in text
    assert "prime256v1" in text and "CA:FALSE" in text


def test_the_same_authority_is_used_again(app, start, tmp_path):
    node = start(app, listen=("127.0.0.1:0",), arguments=("--tls", "self", "--json"), wait=False)
    line = eventually("ready", lambda: next((line for line in node.output.splitlines() if '"ready"' in line), None))
    ready = json.loads(line)
    assert ready["cacert"] == str(authority(node)) and ready["urls"][0].startswith("https://")
    before = authority(node).read_bytes()
    assert node.stop() == 0
    again = harness.Node(node.data, app, arguments=("--tls", "self"))
    try:
        assert authority(again).read_bytes() == before
        curl("--cacert", authority(again), f"{again.url}/livez")
    finally:
        again.end()


def test_the_command_line_speaks_it(node):
    ca = ("--cacert", authority(node))
    secure, clear = node.urls
    assert run("call", "greet.hello", '{"name": "bob"}', "--at", secure, *ca).json == {"text": "hello bob"}
    assert run("call", "greet.hello", "--at", f"https://localhost:{port(secure)}", *ca).code == 0
    assert run("call", "greet.hello", "--at", secure, "--insecure").code == 0
    assert run("call", "greet.size", "-", "--content-type", "application/octet-stream", "--at", secure, *ca,
               stdin=b"x" * 3_000_000).json == {"bytes": 3_000_000}
    assert run("call", "greet.hello", "--at", secure.replace("https:", "grpcs:"), *ca).json == {"text": "hello you"}
    untrusted = run("call", "greet.hello", "--at", secure)
    assert untrusted.code == 69 and "S5032" in untrusted.err and "--cacert FILE" in untrusted.err
    assert "S5035" in run("call", "greet.hello", "--at", clear.replace("http:", "https:"), *ca).err
    assert "S4041" in run("call", "greet.hello", "--at", secure.replace("https:", "http:")).err
    assert "S5034" in run("call", "greet.hello", "--at", secure, "--cacert", "/no/such/file").err


def test_a_websocket_over_it(node):
    """By hand, so that nothing but ssl stands between: an upgrade, one message each way, a goodbye."""
    with socket.create_connection(("127.0.0.1", port(node.url)), timeout=harness.PATIENCE) as wire:
        with context(authority(node)).wrap_socket(wire, server_hostname="localhost") as session:
            session.sendall(b"GET /greet/hello HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            seen = b""
            while b"\r\n\r\n" not in seen:
                seen += session.recv(65536)
            assert seen.startswith(b"HTTP/1.1 101 "), seen
            message = b'{"name":"eve"}'
            session.sendall(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)  # Masked with zeroes.
            while b"hello eve" not in seen:
                piece = session.recv(65536)
                assert piece, seen
                seen += piece


# --- What is refused ---


def test_the_wrong_protocol_is_told_in_its_own_words(node):
    secure, clear = node.urls
    answer = curl("-i", secure.replace("https:", "http:") + "/livez").decode()
    assert " 400 " in answer and "S4041" in answer and "https://" in answer
    done = curl("-k", clear.replace("http:", "https:") + "/livez", check=False)
    assert done.returncode == 35
    with socket.create_connection(("127.0.0.1", port(clear)), timeout=harness.PATIENCE) as wire:
        wire.sendall(b"\x16\x03\x01\x00\x05hello")
        assert b"S4042" in wire.recv(65536)


def test_versions_ciphers_and_renegotiation(node):
    at = ("-connect", f"127.0.0.1:{port(node.url)}", "-CAfile", authority(node))
    modern = openssl("s_client", *at, "-alpn", "h2").stdout.decode()
    assert "TLSv1.3" in modern and "ALPN protocol: h2" in modern and "Verify return code: 0" in modern
    older = openssl("s_client", *at, "-tls1_2").stdout.decode()
    assert re.search(r"Cipher is ECDHE-ECDSA-(AES|CHACHA)", older)
    assert "Secure Renegotiation IS supported" in older  # That of RFC 5746: it is understood, and refused.
    for bad in (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), ("-tls1_2", "-cipher", "AES128-SHA:AES128-GCM-SHA256"),
                ("-alpn", "spdy/3")):
        done = openssl("s_client", *at, *bad)
        assert done.returncode != 0 and b"alert" in done.stderr, bad
    again = openssl("s_client", *at, "-tls1_2", stdin=b"R\n")
    assert b"no renegotiation" in again.stderr
    curl("--cacert", authority(node), f"{node.url}/livez")


def test_a_session_is_resumed(node, tmp_path):
    at = ("-connect", f"127.0.0.1:{port(node.url)}", "-CAfile", authority(node), "-tls1_2")
    assert b"New, TLSv1.2" in openssl("s_client", *at, "-sess_out", tmp_path / "session").stdout
    assert b"Reused, TLSv1.2" in openssl("s_client", *at, "-sess_in", tmp_path / "session").stdout


def test_handshakes_that_come_to_nothing_harm_nobody(app, start):
    node = start(app, arguments=("--tls", "self", "--header-timeout", "200ms"))
    address = ("127.0.0.1", port(node.url))
    pieces = [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01\x00\x05hello", b"\0" * 1000, b"SSH-2.0-x\r\n"]
    wires = [socket.create_connection(address, timeout=harness.PATIENCE) for _ in range(10) for _ in pieces]
    for wire, piece in zip(wires, pieces * 10):
        wire.sendall(piece)
    for wire in wires[::2]:
        wire.close()
    # The others are ended by the node.
    for wire in wires[1::2]:
        with contextlib.suppress(ConnectionResetError):
            while wire.recv(65536):
                pass
        wire.close()
    curl("--cacert", authority(node), f"{node.url}/livez")
    metrics = curl("--cacert", authority(node), f"{node.url}/metrics").decode()
    assert int(re.search(r"^shunt_tls_handshakes_failed_total (\d+)", metrics, re.M)[1]) >= 20
    assert "S4040" in node.output


def test_what_cannot_be_served_is_told_at_the_start(app, tmp_path):
    ca = Authority(tmp_path / "ca")
    certificate, _ = ca.sign("one")
    _, other_key = ca.sign("two")

    def fails(*arguments):
        done = run("run", app, "--data", tmp_path / "data", *arguments)
        assert done.code == 78, done.err
        return done.err

    assert "S5036" in fails("--listen", "https://127.0.0.1:0")
    at = ("--listen", "127.0.0.1:0")
    assert "S5031" in fails(*at, "--tls-cert", certificate, "--tls-key", other_key)
    assert "S5034" in fails(*at, "--tls-cert", tmp_path / "none.pem")
    assert "S5030" in fails(*at, "--tls-cert", app / "shunt.json")


# --- Certificates of clients ---


def test_clients_may_have_to_say_who_they_are(app, start, tmp_path):
    ca, strangers = Authority(tmp_path / "ca"), Authority(tmp_path / "other", "Other CA")
    certificate, key = ca.sign("localhost")
    ann, ann_key = ca.sign("ann", "clientAuth")
    eve, eve_key = strangers.sign("eve", "clientAuth")
    node = start(app, arguments=("--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", ca.certificate))
    trusted = ("--cacert", ca.certificate)
    for version in ("--http1.1", "--http2"):
        assert curl(version, *trusted, "--cert", ann, "--key", ann_key, f"{node.url}/greet/hello")
    for wrong in ((), ("--cert", eve, "--key", eve_key), ("--cert", certificate, "--key", key)):
        assert curl(*trusted, *wrong, f"{node.url}/greet/hello", check=False).returncode != 0
    at = ("--at", node.url, *trusted)
    assert run("call", "greet.hello", *at, "--cert", ann, "--key", ann_key).json == {"text": "hello you"}
    refused = run("call", "greet.hello", *at)
    assert refused.code != 0 and "S4044" in refused.err and "--cert FILE" in refused.err
    eventually("the log to say why", lambda: "S4044" in node.output)
    node.stop()

    open_node = start(app, arguments=("--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", ca.certificate,
                                      "--tls-client", "optional"))
    assert curl(*trusted, f"{open_node.url}/greet/hello")
    assert curl(*trusted, "--cert", eve, "--key", eve_key, f"{open_node.url}/livez", check=False).returncode != 0


# --- New certificates while it runs ---


@pytest.mark.parametrize("how", ["watched", "signal"])
def test_new_certificates_are_for_new_connections_and_drop_none(app, start, tmp_path, how):
    ca = Authority(tmp_path / "ca")
    first, second = ca.sign("first"), ca.sign("second")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def place(pair):
        # As careful tools do it: each file is replaced as a whole.
        for source, target in zip(pair, (certificate, key)):
            target.with_suffix(".new").write_bytes(source.read_bytes())
            target.with_suffix(".new").rename(target)

    place(first)
    node = start(app, arguments=("--tls-cert", certificate, "--tls-key", key))
    trusting = context(ca.certificate)
    over = threading.Event()
    started = threading.Barrier(4)

    def ask(connection):
        connection.request("GET", "/greet/hello?name=ann", headers={"Host": "localhost"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b'{"text":"hello ann"}')

    def keep_asking():
        """On one connection, as long as the test runs."""
        connection = http.client.HTTPSConnection("127.0.0.1", port(node.url), context=trusting, timeout=harness.PATIENCE)
        asked = 1
        with contextlib.closing(connection):
            connection.connect()
            ask(connection)
            started.wait(harness.PATIENCE)
            last = False
            while not last:
                last = over.is_set()  # Once more, after all that happened.
                ask(connection)
                asked += 1
            return common_name(connection.sock), asked

    def ask_anew():
        """A connection for each request."""
        names = []
        last = False
        while not last:
            last = over.is_set()
            connection = http.client.HTTPSConnection("127.0.0.1", port(node.url), context=trusting, timeout=harness.PATIENCE)
            with contextlib.closing(connection):
                connection.connect()
                names.append(common_name(connection.sock))
                ask(connection)
        return names

    def shown():
        with socket.create_connection(("127.0.0.1", port(node.url)), timeout=harness.PATIENCE) as wire:
            with trusting.wrap_socket(wire, server_hostname="localhost") as session:
                return common_name(session)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        try:
            kept = [pool.submit(keep_asking) for _ in range(3)]
            started.wait(harness.PATIENCE)
            anew = [pool.submit(ask_anew) for _ in range(2)]
            assert shown() == "first"
            place(second)
            if how == "signal":
                node.process.send_signal(signal.SIGHUP)
            eventually("the new certificate", lambda: shown() == "second")
            # What is no certificate changes nothing, and is told.
            certificate.write_text("nonsense")
            if how == "signal":
                node.process.send_signal(signal.SIGHUP)
            eventually("the complaint", lambda: f"{certificate}: holds no certificate" in node.output)
            assert shown() == "second"
        finally:
            over.set()
        for each in kept:
            name, asked = each.result()
            assert name == "first" and asked > 1
        for each in anew:  # Each request was answered, whoever signed.
            assert set(each.result()) <= {"first", "second"} and each.result()[-1] == "second"
    assert node.is_ready("greet")


def test_a_hangup_without_tls_is_no_end(app, start):
    node = start(app)
    node.process.send_signal(signal.SIGHUP)
    eventually("the log to say so", lambda: "reloaded: nothing has changed" in node.output)
    assert node.get("/livez").status == 200


def test_a_node_ends_with_the_terminal_that_it_was_started_in(app, tmp_path):
    # Goal: SIGHUP means two things, and neither is taken for the other.
    # Method: a terminal of our own; first a signal while it is there, then we close it.
    terminal, its_end = os.openpty()
    log = tmp_path / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen([harness.SHUNT, "run", app, "--data", tmp_path / "data", "--listen", "127.0.0.1:0"],
                                   stdin=its_end, stdout=output, stderr=subprocess.STDOUT, env=environment(),
                                   start_new_session=True,
                                   preexec_fn=lambda: fcntl.ioctl(its_end, termios.TIOCSCTTY, 0))
    os.close(its_end)
    try:
        eventually("ready", lambda: "ready http" in log.read_text())
        process.send_signal(signal.SIGHUP)
        eventually("the log to say so", lambda: "reloaded: nothing has changed" in log.read_text())
        assert process.poll() is None
        os.close(terminal)
        assert process.wait(harness.PATIENCE) == 0
        assert "draining" in log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
