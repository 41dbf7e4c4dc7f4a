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
