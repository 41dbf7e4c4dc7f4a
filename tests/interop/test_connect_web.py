"""@connectrpc/connect-web and WebSockets in a browser, from a page of another origin that the manifest's CORS lets in."""

import base64
import http.server
import json
import re
import shutil
import subprocess
import threading

import pytest

import harness
import programs
import scripts

TRANSPORTS = re.findall(r'^  declareTransport\(test, registry, "([^"]+)"', (scripts.CLIENTS / "connect_web.mjs").read_text(), re.M)
NAMES = [name for transport in TRANSPORTS for name in scripts.names_of_transport(transport, False, False)]
NAMES += scripts.names("connect_web.mjs")


class Site(http.server.BaseHTTPRequestHandler):
    """Another origin on this machine: a page with the script, and ears for how its tests went."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind, body = self.server.pages.get(self.path, ("text/plain", b""))
        self.send_response(200 if self.path in self.server.pages else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/result":
            self.server.results.add(body)
        self.send_response(204)
        self.end_headers()
        if self.path == "/finished":
            self.server.finished.set()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(node_folder):
    script = programs.run([str(node_folder / "node_modules/.bin/esbuild"), "clients/connect_web.mjs", "--bundle", "--format=iife",
                           "--log-level=error"], node_folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.results, server.finished = scripts.Results(), threading.Event()
    server.pages = {"/": ("text/html; charset=utf-8", b"<!doctype html><title>interop</title><script src=/script.js></script>"),
                    "/script.js": ("text/javascript; charset=utf-8", script.encode())}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def results(start, app, site, descriptors, tmp_path_factory):
    folder = tmp_path_factory.mktemp("web") / "interop"
    shutil.copytree(app, folder)
    manifest = json.loads((folder / "shunt.json").read_text())
    for service in manifest["services"].values():
        service["cors"] = {"origins": [f"http://127.0.0.1:{site.server_port}"], "headers": ["interop-name", "interop-text", "interop-bytes-bin"]}
    (folder / "shunt.json").write_text(json.dumps(manifest))
    node = start(folder)
    configuration = {"url": node.url, "descriptors": base64.b64encode(descriptors.read_bytes()).decode()}
    site.pages["/configuration"] = ("application/json", json.dumps(configuration).encode())

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "chromium is not installed; ./dev setup test installs it"
    with open(folder.parent / "chromium.log", "wb") as log:
        browser = subprocess.Popen([
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--remote-debugging-port=0",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
            "--enable-logging=stderr", f"--user-data-dir={folder.parent / 'profile'}", f"http://127.0.0.1:{site.server_port}/",
        ], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            if not site.finished.wait(5 * harness.PATIENCE):
                site.results.trouble = "the page did not come to its end\n"
        finally:
            browser.terminate()
            try:
                browser.wait(20)
            except subprocess.TimeoutExpired:
                browser.kill()
                browser.wait()
    site.results.trouble += "\n".join(
        line for line in (folder.parent / "chromium.log").read_text(errors="replace").splitlines() if "CONSOLE" in line)[-4000:]
    return site.results


@pytest.mark.parametrize("name", NAMES)
def test_connect_web(results, name):
    results.check(name)


def test_nothing_else_ran(results):
    results.check_names(NAMES)
