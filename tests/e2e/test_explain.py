"""shunt explain: which way a call takes, why, and what was measured; and --as-if-remote, which makes near calls far."""

import concurrent.futures
import re

import pytest

import harness
from harness import eventually, write_app

SICK = (harness.APPS / "sick.py").read_text()


def explain(node, *arguments):
    return node.cli("explain", *arguments, "--json")


def test_a_call_in_the_process_is_explained_and_measured(shop):
    for _ in range(20):
        assert shop.call("shop.prices.get", {"sku": "tea"}).code == 0
    told = explain(shop, "operator", "shop.prices.get")
    assert told.code == 0, told.err
    it = told.json
    assert (it["caller"], it["callee"], it["command"]) == ("operator", "shop.prices", "get")
    assert it["permitted"] and it["outcome"] == "goes"
    [instance] = it["instances"]
    assert instance["distance"] == "local" and instance["chosen"] and instance["standing"] == "has room"
    measured = instance["measured"]
    assert measured["calls"] >= 20
    assert 0 < measured["p50_us"] <= measured["p99_us"]
    assert it["earlier"] == []


def test_between_services_it_says_which_keys_permit_it(shop):
    it = explain(shop, "cart", "prices").json
    assert it["caller"] == "shop.cart" and it["permitted"]
    assert '"uses"' in it["because"] and '"allow"' in it["because"]


def test_who_may_not_call_hears_what_would_allow_it_and_the_exit_code_says_so(shop):
    told = explain(shop, "prices", "cart")
    assert told.code == 1
    assert told.json["outcome"] == "refused" and not told.json["permitted"]
    assert 'add "cart" to the "uses" of shop.prices' in told.json["because"]


def test_a_worker_is_near_and_its_distance_has_a_reason(shop):
    it = explain(shop, "gateway", "cart").json
    [instance] = it["instances"]
    assert instance["distance"] in ("shm", "unix")
    assert instance["why_distance"]
    assert instance["capacity"] >= 1
    assert re.fullmatch(r"shop\.cart#\d+ \(pid \d+\)", instance["name"])


@pytest.mark.parametrize("words, near", [
    (("crat", "prices"), "'cart'"),
    (("cart", "pirces"), "'prices'"),
    (("cart", "prices.gte"), "'get'"),
])
def test_an_unknown_name_gets_the_nearest(shop, words, near):
    told = shop.cli("explain", *words)
    assert told.code == 1
    assert near in told.err
    assert told.out == ""


def test_people_get_it_in_eighty_columns(shop):
    told = shop.cli("explain", "cart", "prices.get")
    assert told.code == 0, told.err
    assert told.out.startswith("shop.cart calls shop.prices.get\n")
    assert "INSTANCE" in told.out and "P99" in told.out
    assert max(map(len, told.out.splitlines())) <= 80
    assert "\x1b" not in told.out


def test_what_placement_leaves_is_told_and_a_call_has_the_same_error(start, tmp_path):
    app = write_app(tmp_path / "pinned", {"type": "python", "args": "sick.py", "placement": {"pin": "grpc"}}, sick_py=SICK)
    node = start(app)
    told = explain(node, "operator", "pinned")
    assert told.code == 1
    assert told.json["outcome"] == "unavailable" and "S1018" in told.json["says"]
    assert told.json["placement"] == {"pin": "grpc", "forbid": []}
    assert told.json["instances"][0]["standing"] == "forbidden"
    called = node.call("pinned.ping")
    assert called.code == 14 and "S1018" in called.err and "pins it to grpc" in called.err


def test_metrics_count_by_callee_and_distance(shop):
    assert shop.call("shop.prices.get", {"sku": "tea"}).code == 0
    text = shop.get("/metrics").body.decode()
    count = re.search(r'^shunt_path_calls_total\{callee="shop.prices",distance="local"\} (\d+)$', text, re.M)
    assert count and int(count[1]) >= 1
    bucket = re.search(r'^shunt_path_duration_seconds_bucket\{callee="shop.prices",distance="local",le="\+Inf"\} (\d+)$', text,
                       re.M)
    assert bucket and int(bucket[1]) >= 1


def test_as_if_remote_near_calls_take_their_time_and_explain_says_so(start):
    node = start(harness.SHOP, arguments=["--as-if-remote=latency=20ms"])
    for _ in range(5):
        done = node.call("shop.prices.get", {"sku": "tea"})
        assert done.code == 0, done.err
    it = explain(node, "operator", "prices.get").json
    [instance] = it["instances"]
    assert instance["distance"] == "local"
    assert "as if remote: 20ms each way" in instance["why_distance"]
    assert instance["measured"]["p50_us"] >= 0.94 * 40_000
    # The manager is what one looks through: it is not far.
    assert node.service("prices")["state"] == "ready"


def test_as_if_remote_faults_end_calls_as_a_lost_link_does_and_the_next_go_through(start):
    node = start(harness.SHOP, env={"SHUNT_AS_IF_REMOTE": "latency=1ms,fault=0.5,seed=3"})

    def ask(_):
        return node.post("/prices/get", {"sku": "tea"})

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(ask, range(200)))
    codes = {answer.status for answer in answers}
    assert codes <= {200, 503}, codes
    assert codes == {200, 503}
    lost = next(answer for answer in answers if answer.status == 503)
    assert lost.json["code"] == "unavailable" and "S1008" in lost.body.decode()


def test_as_if_remote_says_what_it_takes(tmp_path):
    done = harness.run("run", tmp_path, "--as-if-remote=speed=1")
    assert done.code == 64
    assert "latency, jitter, fault and seed" in done.err


WORK = '''
import asyncio
import os
import shunt

service = shunt.Service()


@service.command
async def work(ms: int) -> dict:
    await asyncio.sleep(ms / 1000)
    return {"pid": os.getpid()}


if __name__ == "__main__":
    service.run()
'''


def work_app(folder, **more):
    return write_app(folder, {"name": "work", "type": "python", "args": "app.py", "expose": True, "auth": "none",
                              "engine": {"concurrency": 1}} | more, app_py=WORK)


def two_nodes(start, near_app, far_app):
    """The near one knows the far one; both serve the app."""
    far = start(far_app, arguments=["--node-name", "far", "--loops", "1"])
    near = start(near_app, arguments=["--node-name", "near", "--loops", "1", "--peer", f"grpc://127.0.0.1:{far.address[1]}"])
    eventually("the far instance to be known and open", lambda: any(
        one["distance"] == "grpc" and one["standing"] in ("has room", "forbidden")
        for one in explain(near, "gateway", "work").json["instances"]))
    return near, far


def under_load(node, calls=60, clients=6):
    """Who served: how many calls each process."""
    def ask(_):
        answer = node.post("/work/work", {"ms": 20})
        assert answer.status == 200, answer.body
        return answer.json["pid"]

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        served = list(pool.map(ask, range(calls)))
    return {pid: served.count(pid) for pid in served}


def test_what_the_near_one_has_no_room_for_goes_to_the_peer(start, tmp_path):
    near, far = two_nodes(start, work_app(tmp_path / "a"), work_app(tmp_path / "b"))
    here, there = near.worker("work"), far.worker("work")
    alone = under_load(near, calls=10, clients=1)
    assert alone == {here: 10}
    served = under_load(near)
    assert set(served) == {here, there}
    # Each has room for one: neither stands idle while the other is busy.
    assert min(served.values()) >= 10, served
    it = explain(near, "gateway", "work").json
    assert it["outcome"] == "goes"
    [first, second] = it["instances"]
    assert first["distance"] in ("shm", "unix") and first["chosen"]
    assert second["distance"] == "grpc" and "farther" in second["because"]
    assert second["measured"]["calls"] == served[there]
    text = near.get("/metrics").body.decode()
    assert f'shunt_path_calls_total{{callee="work",distance="grpc"}} {served[there]}' in text


def test_what_placement_forbids_stays_here_whatever_the_load(start, tmp_path):
    near, far = two_nodes(start, work_app(tmp_path / "a", placement={"forbid": "grpc"}), work_app(tmp_path / "b"))
    assert set(under_load(near, calls=20)) == {near.worker("work")}
    far_away = explain(near, "gateway", "work").json["instances"][-1]
    assert far_away["standing"] == "forbidden" and far_away["because"] == '"placement" forbids grpc'


def test_pinned_to_other_nodes_calls_go_there(start, tmp_path):
    near, far = two_nodes(start, work_app(tmp_path / "a", placement={"pin": "grpc"}), work_app(tmp_path / "b"))
    assert set(under_load(near, calls=10, clients=2)) == {far.worker("work")}
