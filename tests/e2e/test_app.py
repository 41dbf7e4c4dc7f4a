"""shunt app, cpps and programs as services: apps are made and changed, by the file alone and on a running node."""

import json
import shutil
import subprocess
import threading

import harness
import pytest
from harness import environment, eventually, run
from test_reload import Load

CPPS = harness.BUILD / "cpps"


@pytest.fixture
def shunt(tmp_path):
    """Runs a command with a data folder of its own, in a folder of its own."""
    def command(*arguments, **options):
        return run(*arguments, "--data", tmp_path / "data", cwd=tmp_path, **options)
    return command


def manifest(tmp_path, app="shop"):
    return (tmp_path / app / "shunt.json").read_text()


def test_an_app_is_made_and_services_are_attached_set_and_detached(shunt, tmp_path):
    done = shunt("app", "create", "shop")
    assert done.code == 0, done.err
    assert run("check", tmp_path / "shop").code == 0
    assert shunt("app", "create", "shop").code != 0
    shutil.copy(harness.MODULES / "libmover1.so", tmp_path / "shop" / "libmover.so")
    assert shunt("app", "attach-lib", tmp_path / "shop/libmover.so", "shop").code == 0
    assert shunt("app", "attach-exec", harness.MODULES / "mover_program", "shop", "--name", "program").code == 0
    assert run("check", tmp_path / "shop").code == 0
    done = shunt("app", "state", "shop", "--json")
    assert not done.json["running"]
    assert [(s["name"], s["type"], s["backend"]) for s in done.json["services"]] == [
        ("shop.mover", "c++", "thread"), ("shop.program", "executable", "process")]
    # From elsewhere it is found by its name.
    assert run("app", "get", "shop", "mover.args", "--data", tmp_path / "data", cwd="/").out == "./libmover.so\n"
    assert shunt("app", "set", "shop", "mover.engine.backend", "process").code == 0
    assert shunt("app", "get", "shop", "services.mover.engine.backend").out == "process\n"
    assert shunt("app", "set", "shop", "mover.uses", '["program"]').code == 0
    assert json.loads(shunt("app", "get", "shop", "mover.uses", "--json").out) == ["program"]
    assert "An app of services" in manifest(tmp_path)
    assert shunt("app", "detach", "program", "shop").code == 0
    assert "program" not in manifest(tmp_path).replace('["program"]', "")
    assert shunt("app", "list", "--json").json[0]["name"] == "shop"


@pytest.mark.parametrize("arguments, words", [
    (["set", "shop", "mover.egnine.backend", "process"], ["S2010", "engine"]),
    (["set", "shop", "mover.engine.backend", "proces"], ["S2022", "process"]),
    (["set", "shop", "services.muver.engine.backend", "process"], ["S5082", "mover"]),
    (["set", "shop", "a..b", "1"], ["S5082"]),
    (["get", "shop", "mover.arks"], ["S5082", "args"]),
    (["get", "shpo"], ["S5084", "shop"]),
    (["detach", "muver", "shop"], ["S5082", "mover"]),
    (["attach-lib", "nowhere.so", "shop"], ["S5088"]),
    (["attach-exec", "shop/shunt.json", "shop"], ["S5088", "chmod"]),
    (["attach-lib", "shop/libmover.so", "shop"], ["S5087", "mover"]),
    (["create", "Not-A-Name"], ["S5016"]),
    (["crate", "x"], ["S5016"]),
])
def test_what_is_wrong_is_told_and_changes_nothing(shunt, tmp_path, arguments, words):
    shunt("app", "create", "shop")
    shutil.copy(harness.MODULES / "libmover1.so", tmp_path / "shop" / "libmover.so")
    shunt("app", "attach-lib", "shop/libmover.so", "shop")
    before = manifest(tmp_path)
    done = shunt("app", *arguments)
    assert done.code != 0
    assert not [word for word in words if word not in done.err], done.err
    assert manifest(tmp_path) == before
    assert sorted(path.name for path in (tmp_path / "shop").iterdir()) == ["libmover.so", "shunt.json"]


def test_on_a_running_node_manifest_and_node_change_or_neither(start, tmp_path):
    run("app", "create", "lab", "--data", tmp_path / "data", cwd=tmp_path)
    node = start(tmp_path / "lab")
    shutil.copy(harness.MODULES / "libmover1.so", tmp_path / "libmover.so")
    done = node.cli("app", "attach-lib", tmp_path / "libmover.so", "lab")
    assert done.code == 0 and "lab.mover added" in done.out, done.out + done.err
    with Load(node) as load:
        for backend in ("process", "thread"):
            done = node.cli("app", "set", "lab", "mover.engine.backend", backend)
            assert done.code == 0 and "replaced" in done.out, done.out + done.err
            assert node.service("mover")["backend"] == backend
            load.more(50)
        before = manifest(tmp_path, "lab")
        # A library, and no module of ours: only the node finds that out.
        (tmp_path / "libother.so").write_bytes((harness.BUILD / "libshunt.so").read_bytes())
        done = node.cli("app", "attach-lib", tmp_path / "libother.so", "lab")
        assert done.code == 1 and "S2060" in done.err and "put back" in done.err, done.err
        assert manifest(tmp_path, "lab") == before
        load.more(50)
    assert load.wrong == []
    state = node.cli("app", "state", "lab", "--json").json
    assert state["running"] and [s["state"] for s in state["services"]] == ["ready"]
    assert node.cli("app", "detach", "mover", "lab").code == 0
    assert node.post("/lab.mover/get", {"n": 1}).status == 404


def test_the_same_service_as_a_library_and_as_a_program_answers_alike(start, tmp_path):
    run("app", "create", "lab", "--data", tmp_path / "data", cwd=tmp_path)
    run("app", "attach-lib", harness.MODULES / "libmover2.so", "lab", "--name", "library", "--data", tmp_path / "data",
        cwd=tmp_path)
    run("app", "attach-exec", harness.MODULES / "mover_program", "lab", "--name", "program", "--data",
        tmp_path / "data", cwd=tmp_path)
    node = start(tmp_path / "lab")
    by_library = node.post("/lab.library/count", {"to": 5, "pause_ms": 1}, Accept="application/x-ndjson").lines
    by_program = node.post("/lab.program/count", {"to": 5, "pause_ms": 1}, Accept="application/x-ndjson").lines
    assert [line["n"] for line in by_library] == [line["n"] for line in by_program] == list(range(5))
    assert by_program[0]["version"] == 3 and by_program[0]["pid"] == node.worker("program")
    wrong = [node.post(f"/lab.{name}/get", {"n": "x"}).json for name in ("library", "program")]
    assert wrong[0]["code"] == wrong[1]["code"] == "invalid_argument"
    assert node.service("library")["commands"] == node.service("program")["commands"]
    # It is a worker like any other: watched, and started again.
    pid = node.worker("program")
    harness.os.kill(pid, harness.signal.SIGKILL)
    eventually("another one", lambda: node.is_ready("program") and node.worker("program") != pid)
    assert node.stop() == 0


def test_a_program_that_is_no_worker_is_told(start, tmp_path):
    app = tmp_path / "lab"
    run("app", "create", "lab", "--data", tmp_path / "data", cwd=tmp_path)
    done = run("app", "attach-exec", "/bin/true", "lab", "--data", tmp_path / "data", cwd=tmp_path)
    assert done.code == 0, done.err
    node = start(app, wait=False)
    eventually("the reason", lambda: "SHUNT_DESCRIBE_FD" in node.output)
    alone = subprocess.run([harness.MODULES / "mover_program"], capture_output=True, env=environment())
    assert alone.returncode == 64 and b"attach-exec" in alone.stderr


def test_two_who_change_at_once_lose_nothing(shunt, tmp_path):
    shunt("app", "create", "shop")
    shutil.copy(harness.MODULES / "libmover1.so", tmp_path / "shop" / "libmover.so")
    shunt("app", "attach-lib", "shop/libmover.so", "shop")
    codes = []
    threads = [threading.Thread(
        target=lambda n=n: codes.append(shunt("app", "set", "shop", f"mover.env.V{n}", str(n)).code)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A number is no string: an environment variable must be one, and says so.
    assert codes == [1] * 8
    codes.clear()
    threads = [threading.Thread(
        target=lambda n=n: codes.append(shunt("app", "set", "shop", f"mover.env.V{n}", f"v{n}").code)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * 8
    assert json.loads(shunt("app", "get", "shop", "mover.env", "--json").out) == {f"V{n}": f"v{n}" for n in range(8)}


def test_cpps_has_its_own_words(tmp_path):
    def cpps(*arguments):
        done = subprocess.run([CPPS, *map(str, arguments)], capture_output=True, cwd=tmp_path, text=True,
                              env=environment(SHUNT_DATA=str(tmp_path / "data")))
        return done.returncode, done.stdout, done.stderr

    assert cpps("--create-app", "shop")[0] == 0
    assert cpps("--attach-lib", harness.MODULES / "libmover1.so", "shop", "--name", "prices")[0] == 0
    assert cpps("--attach-exec", harness.MODULES / "mover_program", "shop", "--name", "stock")[0] == 0
    assert cpps("--set", "shop", "prices.engine.backend", "process")[0] == 0
    code, out, _ = cpps("--state", "shop", "--json")
    assert code == 0 and [s["backend"] for s in json.loads(out)["services"]] == ["process", "process"]
    assert "--create-app" in cpps("--help")[1]
    code, _, err = cpps("--creat-app", "x")
    assert code == 64 and "--create-app" in err
