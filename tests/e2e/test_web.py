"""What the web sends and wants back, with curl and a browser: forms and files, codings, conditions, ranges, events, CORS,
WebSockets."""

import http.server
import json
import subprocess
import threading

import pytest

import harness
from test_browser import browse

WEB = '''"""web: a command of each kind that a page may want."""
import asyncio
from collections.abc import AsyncIterator

import shunt

service = shunt.Service()


@service.command
def register(name: str, age: int = 0, tags: list[str] | None = None, photo: str = "") -> dict:
    return {"name": name, "age": age, "tags": tags or [], "photo": photo}


@service.command
async def upload(parts: shunt.Stream[bytes]) -> dict:
    count = size = 0
    async for part in parts:
        count += 1
        size += len(part)
    return {"messages": count, "bytes": size}


@service.command(effect="none")
def digits(call) -> bytes:
    call.reply_metadata["content-type"] = "image/x-digits"
    return b"0123456789" * 1000


@service.command(effect="none")
def words(count: int = 10) -> dict:
    return {"words": ["word"] * count}


@service.command(effect="none")
async def ticks(call, to: int = 3) -> AsyncIterator[dict]:
    start = int(call.metadata.get("last-event-id", "0"))
    for tick in range(start, to):
        yield {"tick": tick}


@service.command
async def chat(lines: shunt.Stream[dict]) -> AsyncIterator[dict]:
    async for line in lines:
        if line.get("text") == "fail":
            raise shunt.Error("aborted", "as asked")
        yield {"heard": line.get("text")}


if __name__ == "__main__":
    service.run()
'''

PAGE = """<!doctype html><title>page</title><body><pre id=log>begun</pre><img src="/until-finished">
<script>
const log = [];
function talk(url, protocols, messages) {
  return new Promise(done => {
    const socket = protocols ? new WebSocket(url, protocols) : new WebSocket(url), heard = [];
    socket.onopen = () => messages.forEach(message => socket.send(message));
    socket.onmessage = event => heard.push(event.data);
    socket.onclose = event => done({heard, code: event.code, reason: event.reason, protocol: socket.protocol, extensions: socket.extensions});
  });
}
(async () => {
  const ws = NODE.replace("http", "ws");
  log.push(await talk(ws + "/web/chat", null, ['{"text":"one"}', '{"text":"two"}', ""]));
  log.push(await talk(ws + "/web/chat", null, ['{"text":"fail"}']));
  log.push(await talk(ws + "/web/words?count=2", ["shunt"], []));
  log.push(await talk(ws + "/web/register", null, [JSON.stringify({name: "x".repeat(5000)})]));
  log.push(await talk(ws + "/closed/words", null, ["{}"]));
  try {
    const answer = await fetch(NODE + "/web/register", {method: "POST", headers: {"Content-Type": "application/json", "X-Own": "1"}, body: '{"name":"cors"}'});
    log.push(await answer.json());
  } catch (error) { log.push(String(error)); }
  try {
    await fetch(NODE + "/closed/words");
    log.push("open");
  } catch (error) { log.push("blocked"); }
  const events = new EventSource(NODE + "/web/ticks?to=3"), ticks = [];
  await new Promise(done => {
    events.onmessage = event => ticks.push([event.lastEventId, JSON.parse(event.data).tick]);
    events.addEventListener("end", () => { events.close(); done(); });
    events.onerror = () => { ticks.push("error"); done(); };
  });
  log.push(ticks);
  await fetch("/finished", {method: "POST", body: JSON.stringify(log)});
})();
</script></body>"""


class Site(http.server.BaseHTTPRequestHandler):
    """Another site, whose pages a service lets in."""

    def do_GET(self):
        if self.path == "/until-finished":  # The page has not loaded before its script has ended.
            self.server.finished.wait(60)
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        if self.path == "/page":
            self.wfile.write(PAGE.replace("NODE", json.dumps(self.server.node)).encode())

    def do_POST(self):
        self.server.told.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()
        self.server.finished.set()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.told, server.finished = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def web(start_shared, tmp_path_factory, site):
    shared = {"type": "python", "args": "web.py"}
    folder = harness.write_app(tmp_path_factory.mktemp("web"), {"name": "pages", "services": {
        "web": shared | {"cors": {"origins": f"http://127.0.0.1:{site.server_port}", "headers": "x-own"}},
        "closed": shared,
    }}, web_py=WEB)
    return start_shared(folder)


def curl(node, path, *arguments):
    """The answer's status, headers and body, and what curl said when it failed."""
    done = subprocess.run(["curl", "-sS", "-D", "-", *map(str, arguments), node.url + path], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    body = done.stdout
    while body.startswith(b"HTTP/"):  # 100 Continue goes before
        head, _, body = body.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return harness.Answer(int(lines[0].split()[1]), headers, body)


def test_a_form_and_one_with_files(web, tmp_path):
    plain = curl(web, "/web/register", "--data-urlencode", "name=Ann Ä", "-d", "age=40", "-d", "tags=a", "-d", "tags=b")
    assert plain.json == {"name": "Ann Ä", "age": 40, "tags": ["a", "b"], "photo": ""}
    (tmp_path / "p.bin").write_bytes(b"\x00\xff")
    files = curl(web, "/web/register", "-F", "name=Ann", "-F", "age=40", "-F", f"photo=@{tmp_path}/p.bin")
    assert files.json == {"name": "Ann", "age": 40, "tags": [], "photo": "AP8="}
    wrong = curl(web, "/web/register", "-d", "name=Ann", "-d", "age=old")
    assert (wrong.status, wrong.headers["shunt-error"]) == (400, "S4013")


def test_an_upload_of_any_size_is_a_stream(web, tmp_path):
    large = tmp_path / "large.bin"
    large.write_bytes(b"x" * (40 << 20))  # more than a body that is one message may have
    parts = curl(web, "/web/upload", "-F", "title=large", "-F", f"file=@{large};type=image/png").json
    field, file = json.dumps({"name": "title", "value": "large"}), json.dumps({"name": "file", "filename": "large.bin", "type": "image/png"})
    assert parts["bytes"] == (40 << 20) + len(field.replace(" ", "")) + len(file.replace(" ", ""))
    raw = curl(web, "/web/upload", "-H", "Content-Type: application/octet-stream", "--data-binary", f"@{large}").json
    assert raw["bytes"] == 40 << 20


def test_codings_both_ways(web, tmp_path):
    packed = tmp_path / "body.gz"
    subprocess.run(["gzip", "-c"], input=b'{"name": "packed"}', stdout=open(packed, "wb"), check=True)
    sent = curl(web, "/web/register", "-H", "Content-Type: application/json", "-H", "Content-Encoding: gzip", "--data-binary", f"@{packed}")
    assert sent.json["name"] == "packed"
    answer = curl(web, "/web/words?count=2000", "--compressed")
    assert answer.headers["content-encoding"] in ("gzip", "zstd")
    assert answer.json == {"words": ["word"] * 2000}
    assert "content-encoding" not in curl(web, "/web/words?count=2000").headers


def test_conditions_and_ranges(web):
    first = curl(web, "/web/words")
    again = curl(web, "/web/words", "-H", f"If-None-Match: {first.headers['etag']}")
    assert (again.status, again.body) == (304, b"")
    part = curl(web, "/web/digits", "-r", "5-14")
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"5678901234", "bytes 5-14/10000")
    assert curl(web, "/web/digits", "-r", "-3").body == b"789"
    assert curl(web, "/web/digits", "-r", "10000-").status == 416
    assert curl(web, "/web/digits", "-H", "Accept: text/html").status == 406


def test_events_go_on_where_they_were(web):
    events = curl(web, "/web/ticks", "-N", "-H", "Accept: text/event-stream")
    assert events.body.decode().startswith('retry: 2000\n\nid: 1\ndata: {"tick":0}\n\n') or '"tick": 0' in events.body.decode()
    assert events.body.endswith(b"event: end\ndata: {}\n\n")
    later = curl(web, "/web/ticks?to=5", "-H", "Accept: text/event-stream", "-H", "Last-Event-ID: 3").body.decode()
    assert later.count("data: ") == 3 and "id: 4\n" in later and "id: 5\n" in later


def test_a_page_of_a_listed_origin_calls_and_talks(web, site, tmp_path):
    site.node = web.url
    browse(f"http://127.0.0.1:{site.server_port}/page", tmp_path / "profile")
    assert site.told, "the page's script did not run to its end"
    conversation, failed, query, large, refused, cors, blocked, ticks = json.loads(site.told[0])
    assert [json.loads(message) for message in conversation["heard"]] == [{"heard": "one"}, {"heard": "two"}]
    assert conversation["code"] == 1000 and "permessage-deflate" in conversation["extensions"]
    assert json.loads(failed["heard"][-1])["$error"]["code"] == "aborted" and failed["code"] == 4010
    assert json.loads(query["heard"][0]) == {"words": ["word"] * 2} and query["protocol"] == "shunt"
    assert json.loads(large["heard"][0])["name"] == "x" * 5000
    assert refused["code"] == 1006 and refused["heard"] == []
    assert cors["name"] == "cors" and blocked == "blocked"
    assert ticks == [["1", 0], ["2", 1], ["3", 2]]
