"""Direct links: workers that reach each other, and the node that reaches them, through shared memory."""

import json
import os
import signal
import threading

import pytest

import harness
from harness import APPS, MODULES, eventually, write_app

CALLER = '''
import asyncio
from shunt import Service

caller = Service()


@caller.command(effect="none")
async def ask(call, what: str) -> dict:
    return await call.service("callee").who(what=what)


@caller.command
async def hold(call) -> str:
    return await call.service("callee").hold()


@caller.command
async def many(call, count: int) -> int:
    done = await asyncio.gather(*(call.service("callee").who(what=str(i)) for i in range(count)))
    return len({each["what"] for each in done})


@caller.command
async def on_behalf(call) -> dict:
    return await call.service("callee").user_of()


if __name__ == "__main__":
    caller.run()
'''

CALLEE = '''
import asyncio
import os
import pathlib
from shunt import Service

callee = Service()
mark = pathlib.Path(__file__).with_name("heard")


@callee.command(effect="none")
async def who(call, what: str) -> dict:
    return {"what": what, "pid": os.getpid(), "caller": str(call.principal.service)}


@callee.command
async def hold(call) -> str:
    mark.write_text("held")
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        mark.write_text("cancelled")
        raise
    return "slept"


@callee.command
async def user_of(call) -> dict:
    return await call.service("third").who_for()


if __name__ == "__main__":
    callee.run()
'''

THIRD = '''
from shunt import Service

third = Service()


@third.command
async def who_for(call) -> dict:
    return {"user": call.principal.user, "service": call.principal.service}


if __name__ == "__main__":
    third.run()
'''


def trio(folder, **engines):
    services = {
        "caller": {"type": "python", "args": "caller.py", "uses": ["callee"], "expose": True, "auth": "none"},
        "callee": {"type": "python", "args": "callee.py", "uses": ["third"]},
        "third": {"type": "python", "args": "third.py"},
    }
    for name, engine in engines.items():
        services[name]["engine"] = engine
    return write_app(folder, {"name": "trio", "services": services}, caller_py=CALLER, callee_py=CALLEE, third_py=THIRD)


def ask(node, what="x"):
    return node.post("/caller/ask", {"what": what})


def direct(node):
    return [(link["caller"], link["callee"], link["link"]) for link in node.ps()["direct"]]


def linked(node, over="shm"):
    """Calls until the direct link is there."""
    ask(node)
    return eventually("a direct link", lambda: ask(node).status == 200 and [l for l in direct(node) if l[2] == over])


def test_the_node_reaches_its_workers_through_shared_memory(start, tmp_path):
    node = start(trio(tmp_path / "trio"))
    for name in ("caller", "callee", "third"):
        [instance] = eventually("shared memory", lambda: (i := node.service(name)["instances"]) and i[0]["link"] == "shm" and i)
        assert instance["link_why"] == "over shared memory"


def test_python_calls_python_directly_and_it_counts(start, tmp_path):
    node = start(trio(tmp_path / "trio"))
    assert linked(node) == [("trio.caller#1", "trio.callee#1", "shm")]
    calls = node.service("callee")["calls"]
    for i in range(20):
        assert ask(node, str(i)).json["what"] == str(i)
    eventually("the counts", lambda: node.service("callee")["calls"] >= calls + 20)
    assert ask(node).json["caller"] == "trio.caller"


def test_python_calls_a_cpp_worker_directly(start, tmp_path):
    node = start(harness.copy_shop(tmp_path / "shop", prices="process"))
    order = {"items": [{"sku": "tea", "count": 1}]}
    assert node.post("/cart/total", order).json == {"cents": 250}
    eventually("a direct link", lambda: node.post("/cart/total", order).status == 200 and
               ("shop.cart#1", "shop.prices#1", "shm") in direct(node))
    assert node.post("/cart/total", order).json == {"cents": 250}


def test_a_manifest_that_says_unix_gets_unix(start, tmp_path):
    node = start(trio(tmp_path / "trio", callee={"link": "unix"}))
    assert linked(node, "unix") == [("trio.caller#1", "trio.callee#1", "unix")]
    [instance] = node.service("callee")["instances"]
    assert instance["link"] == "unix" and "manifest" in instance["link_why"]


def test_more_calls_than_there_is_room_all_end(start, tmp_path):
    node = start(trio(tmp_path / "trio", callee={"concurrency": 2, "pool-limit": 2}, caller={"concurrency": 4}))
    linked(node)
    assert node.post("/caller/many", {"count": 90}).json == 90


def test_a_callee_that_is_killed_in_mid_call_is_told_and_the_next_call_works(start, tmp_path):
    node = start(trio(tmp_path / "trio"))
    linked(node)
    heard = tmp_path / "trio/heard"
    answers = []
    held = threading.Thread(target=lambda: answers.append(node.post("/caller/hold", {})))
    held.start()
    eventually("the call to be there", heard.exists)
    os.kill(node.worker("callee"), signal.SIGKILL)
    held.join()
    assert answers[0].status == 503 and answers[0].json["code"] == "unavailable"
    eventually("the next call to work", lambda: ask(node).status == 200)


def test_a_caller_that_is_killed_is_heard_by_its_callee(start, tmp_path):
    node = start(trio(tmp_path / "trio"))
    linked(node)
    heard = tmp_path / "trio/heard"
    held = threading.Thread(target=lambda: node.post("/caller/hold", {}))
    held.start()
    eventually("the call to be there", heard.exists)
    os.kill(node.worker("caller"), signal.SIGKILL)
    held.join()
    eventually("the handler to be cancelled", lambda: heard.read_text() == "cancelled")


def test_a_users_name_reaches_the_third_service(start, tmp_path):
    app = trio(tmp_path / "trio")
    manifest = json.loads((app / "shunt.json").read_text())
    manifest["services"]["caller"] |= {"auth": "token", "tokens": "tokens"}
    (app / "shunt.json").write_text(json.dumps(manifest))
    (app / "tokens").write_text("ann 0123456789abcdef\n")
    (app / "tokens").chmod(0o600)
    node = start(app)
    for _ in range(20):  # By the node at first, then directly.
        answer = node.post("/caller/on_behalf", {}, Authorization="Bearer 0123456789abcdef")
        assert answer.status == 200, answer.body
        assert answer.json == {"user": "ann", "service": "trio.callee"}
    assert any(link[1] == "trio.third#1" for link in direct(node))
    assert (node.data / "token.key").stat().st_mode & 0o077 == 0


def test_descriptors_do_not_grow_with_deaths(start, tmp_path):
    node = start(trio(tmp_path / "trio"))
    linked(node)
    node_pid = node.ps()["node"]["pid"]

    def kill_and_link():
        old = node.worker("callee")
        os.kill(old, signal.SIGKILL)
        eventually("another worker", lambda: (pid := node.is_ready("callee")) and node.worker("callee") not in (0, old))
        eventually("it to be linked", lambda: ask(node).status == 200 and direct(node))

    kill_and_link()
    before = harness.open_files(node_pid), harness.open_files(node.worker("caller")), harness.open_files(node.pid)
    for _ in range(int(os.environ.get("SHUNT_DEATHS", "5"))):
        kill_and_link()
    eventually("no more descriptors than before", lambda: all(
        now <= then + 2 for now, then in zip(
            (harness.open_files(node_pid), harness.open_files(node.worker("caller")), harness.open_files(node.pid)),
            before)))


def test_a_node_that_is_restarted_links_its_workers_anew(start, tmp_path):
    node = start(trio(tmp_path / "trio"))
    linked(node)
    node_pid = node.ps()["node"]["pid"]
    worker = node.worker("caller")
    os.kill(node_pid, signal.SIGKILL)
    eventually("the node to be back", lambda: node.cli("ps").code == 0 and node.is_ready("caller") and node.is_ready("callee"))
    assert node.worker("caller") == worker
    eventually("a new direct link", lambda: ask(node).status == 200 and direct(node))
    eventually("shared memory again", lambda: node.service("caller")["instances"][0]["link"] == "shm")


def test_what_a_reload_withdraws_is_withdrawn_from_direct_links_too(start, tmp_path):
    """A link that was made while it was allowed ends when it is not, and comes back when it is again."""
    folder = trio(tmp_path / "trio")
    manifest = folder / "shunt.json"
    node = start(folder)
    assert ask(node).status == 200
    eventually("a link of their own", lambda: ask(node).status == 200 and any(
        link["caller"] == "trio.caller#1" for link in node.ps()["direct"]))
    callee = node.worker("callee")

    allowed = manifest.read_text()
    manifest.write_text(allowed.replace('"callee"\n      ]', '"third"\n      ]', 1))
    assert manifest.read_text() != allowed
    assert node.cli("reload").code == 0
    refused = ask(node)
    assert (refused.status, refused.json["id"]) == (403, "S1010")
    assert not any(link["caller"] == "trio.caller#1" for link in node.ps()["direct"])

    manifest.write_text(allowed)
    assert node.cli("reload").code == 0
    assert ask(node).status == 200
    # Nobody was started anew for it.
    assert node.worker("callee") == callee
