"""A real browser: what a web page of another origin tries on a developer's node, and that the node's own page loads."""

import http.server
import json
import shutil
import subprocess
import threading
import urllib.parse

import pytest

import harness

PAGE = """<!doctype html><title>evil</title><body><pre id=log>begun</pre>
<img src="NODE/notes/seen"><img src="NODE/bait/take?who=img"><iframe src="NODE/bait/take?who=frame"></iframe>
<script src="NODE/bait/take?who=script"></script><link rel=stylesheet href="NODE/bait/take?who=style">
<iframe name=sink></iframe><img src="/until-finished">
<form id=plain method=post enctype="text/plain" target=sink action="NODE/notes/note"><input name='{"text":"form","x":"' value='"}'></form>
<form id=coded method=post target=sink action="NODE/notes/note"><input name=text value=form-coded></form>
<script>
const log = [];
async function attempt(name, path, options) {
  try {
    const answer = await fetch("NODE" + path, options);
    log.push(name + "=" + (answer.type === "opaque" ? "opaque" : answer.status));
  } catch (error) { log.push(name + "=blocked"); }
}
const note = text => JSON.stringify({text});
(async () => {
  document.getElementById("plain").submit();
  document.getElementById("coded").submit();
  await attempt("plain", "/notes/note", {method: "POST", body: note("plain")});
  await attempt("no-cors", "/notes/note", {method: "POST", mode: "no-cors", body: note("no-cors")});
  await attempt("no-cors-json", "/notes/note", {method: "POST", mode: "no-cors", body: new Blob([note("blob")], {type: "application/json"})});
  await attempt("json", "/notes/note", {method: "POST", headers: {"Content-Type": "application/json"}, body: note("json")});
  await attempt("untyped", "/notes/note", {method: "POST", mode: "no-cors", body: new Uint8Array([123, 125])});
  await attempt("beacon", "/livez", {mode: "no-cors"});
  navigator.sendBeacon("NODE/notes/note", new Blob([note("beacon")], {type: "text/plain"}));
  await attempt("get", "/bait/take?who=fetch", {mode: "no-cors"});
  await attempt("get-cors", "/bait/take?who=cors", {});
  const socket = new WebSocket("NODE/bait/take?who=socket".replace("http", "ws"));
  await new Promise(done => { socket.onopen = () => { log.push("socket=open"); done(); }; socket.onerror = () => { log.push("socket=refused"); done(); }; });
  document.getElementById("log").textContent = "done " + log.join(" ");
  await fetch("/finished", {method: "POST", body: log.join(" ")});
})();
</script></body>"""

BAIT = '''"""bait: what a page could reach by GET, were it let in."""
import shunt

service = shunt.Service()
taken = []


@service.command(effect="none")
def take(who: str = "") -> dict:
    taken.append(who)
    return {"taken": who}


@service.command(effect="none")
def victims() -> list:
    return taken


if __name__ == "__main__":
    service.run()
'''


@pytest.fixture(scope="module")
def prey(start_shared, tmp_path_factory):
    folder = harness.write_app(tmp_path_factory.mktemp("prey"), {
        "name": "prey",
        "services": {name: {"type": "python", "args": f"{name}.py", "expose": True, "auth": "none"} for name in ("notes", "bait")},
    }, bait_py=BAIT, notes_py=(harness.APPS / "lab/notes.py").read_text())
    return start_shared(folder)


def browse(url, folder, seconds=30):
    """The page's document after its scripts have run."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "chromium is not installed; ./dev setup test installs it"
    done = subprocess.run([
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        f"--user-data-dir={folder}", f"--timeout={seconds * 1000}", "--dump-dom", url,
    ], capture_output=True, timeout=120, check=False)
    return done.stdout.decode(errors="replace")


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Another site on this machine, with a page that means harm."""

    def do_GET(self):
        if self.path == "/until-finished":  # The page has not loaded before its script has ended.
            self.server.finished.wait(60)
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        if self.path.startswith("/page"):
            node = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["node"][0]
            self.wfile.write(PAGE.replace("NODE", node).encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(204)
        self.end_headers()
        self.server.told.append(body)
        self.server.finished.set()

    def log_message(self, *_):
        pass


@pytest.fixture
def elsewhere():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    server.told, server.finished = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("site, node_host", [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("localhost", "localhost")])
def test_a_page_of_another_origin_reaches_no_handler(prey, elsewhere, tmp_path, site, node_host):
    node = f"http://{node_host}:{prey.address[1]}"
    page = f"http://{site}:{elsewhere.server_port}/page?node={urllib.parse.quote(node, safe='')}"
    browse(page, tmp_path / "profile")
    assert elsewhere.finished.is_set(), "the page's script did not run to its end"
    # It tried: what it was told is either nothing at all or an answer that it can't read.
    attempts = dict(attempt.split("=") for attempt in elsewhere.told[0].split())
    assert attempts.keys() == {"plain", "no-cors", "no-cors-json", "json", "untyped", "beacon", "get", "get-cors", "socket"}
    assert set(attempts.values()) <= {"blocked", "opaque", "refused"}
    assert prey.call("notes.seen").json == []
    assert prey.call("bait.victims").json == []
    calls = {service["name"]: service["calls"] for service in prey.ps()["services"]}
    assert prey.service("notes")["state"] == "ready" and calls["prey.bait"] > 0  # Ours alone.


def test_the_nodes_own_page_loads(prey, tmp_path):
    document = browse(prey.url + "/", tmp_path / "profile", seconds=10)
    assert "prey.notes" in document and "Never answers; notes how it ended." in document
    assert json.dumps("shunt")[1:-1] in document.lower()
