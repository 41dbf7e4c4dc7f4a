"""The command line as its reference tells of it: exit codes, what goes where, `new` for each language, completions."""

import json
import os
import pty
import re
import select
import shutil
import subprocess

import pytest

import harness
from harness import environment, eventually, is_alive, run, write_app

ERRORS = json.loads((harness.ROOT / "spec/errors.json").read_text())["errors"]


# --- call ---


def test_the_exit_code_is_the_status_and_the_error_goes_to_stderr(shop):
    for target, request, code, start in [
        ("prices.get", {"sku": "none"}, 5, "not_found: "),
        ("prices.get", {"sku": ""}, 3, ""),
        ("prices.gte", {}, 12, "S1005 unimplemented: "),
        ("nothing.get", {}, 5, "S1002 not_found: "),
        ("stock.reserve", {"sku": "cake", "count": 10**6}, 9, "failed_precondition: "),
    ]:
        done = shop.call(target, request)
        assert (done.code, done.out) == (code, ""), done
        assert done.err.startswith(start) and done.err.count("\n") == 1, done.err


def test_no_node_is_69_and_a_wrong_command_line_64(tmp_path):
    gone = run("ps", "--data", tmp_path)
    assert gone.code == 69 and gone.err.startswith("S5015 unavailable: no node answers at ") and "shunt run PATH" in gone.err
    assert run("call", "a.b", "--at", "http://127.0.0.1:1").code == 69
    assert run("call", "a.b", "{'x': 1}", "--data", tmp_path).code == 64
    assert run("call", "a").code == 64
    assert "The nearest is: shunt logs." in run("lgos").err
    assert "The nearest is --json." in run("ps", "--jsno").err


def test_a_request_comes_from_the_argument_stdin_or_a_file(shop, tmp_path):
    (tmp_path / "tea.json").write_text('{"sku":\n "tea"}\n')
    tea = {"sku": "tea", "cents": 250}
    assert shop.call("prices.get", f"@{tmp_path}/tea.json").json == tea
    assert shop.call("prices.get", "-").code == 64  # Nothing on stdin is no JSON.
    assert shop.cli("call", "prices.get", "-", stdin='{"sku": "tea"}').json == tea
    missing = shop.call("prices.get", f"@{tmp_path}/none.json")
    assert missing.code == 1 and "S5010" in missing.err and "none.json" in missing.err


def test_wrong_json_is_told_with_its_place(shop):
    done = shop.call("prices.get", '{"sku": tea}')
    assert done.code == 64 and "line 1, column 10" in done.err and "\n  " in done.err and "^" in done.err


def test_a_deadline_ends_a_stream_with_its_code(shop):
    done = shop.call("stock.watch", {"sku": "tea"}, "--timeout", "300ms")
    assert done.code == 4 and done.err.startswith("S1004 deadline_exceeded: ")
    assert all(line["sku"] == "tea" for line in done.lines)


def test_every_way_to_name_the_node(shop):
    host, port = shop.address
    for at in (shop.url, shop.url + "/", f"{host}:{port}", str(shop.data), f"unix:{shop.data}/admin.sock"):
        assert run("call", "prices.get", '{"sku": "tea"}', "--at", at).json["cents"] == 250
    assert run("call", "prices.get", '{"sku": "tea"}', env=environment(SHUNT_DATA=str(shop.data))).json["cents"] == 250
    for wrong in ("ftp://127.0.0.1:1", "/no/such/folder", "words"):
        done = run("ps", "--at", wrong)
        assert done.code == 64 and "S5004" in done.err


# --- ps, logs, stop ---


def test_the_admin_socket_is_the_users_alone(shop):
    assert (shop.data / "admin.sock").stat().st_mode & 0o777 == 0o600


def test_a_data_folder_with_a_long_name_works(start, tmp_path):
    app = write_app(tmp_path / "app", {"type": "python", "args": "app.py"}, app_py=GREETER)
    node = harness.Node(tmp_path / ("d" * 120) / "data", app)
    try:
        assert node.call("app.greet").json == {"message": "Hello, world!"}
        assert node.cli("stop").code == 0
        assert not is_alive(node.pid) or node.wait() == 0
    finally:
        node.end()


GREETER = """
import shunt
service = shunt.Service()

@service.command
def greet(name: str = "world") -> dict:
    print("greeting", name, "\\x1b[2J", flush=True)
    return {"message": f"Hello, {name}!"}

if __name__ == "__main__":
    service.run()
"""


def test_logs_follow_what_services_print(start, tmp_path):
    node = start(write_app(tmp_path / "app", {"type": "python", "args": "app.py"}, app_py=GREETER))
    follower = subprocess.Popen([harness.SHUNT, "logs", "app", "-f", "--data", node.data], stdout=subprocess.PIPE, text=True,
                                env=environment())
    try:
        node.call("app.greet", {"name": "Ann"})
        line = next(line for line in follower.stdout if "greeting Ann" in line)
        assert "\x1b" not in line, "a service's output must not steer the terminal"
        node.call("app.greet", {"name": "Bob"})
        assert any("greeting Bob" in line for line in follower.stdout)
    finally:
        follower.kill()
        follower.communicate()
    entries = node.cli("logs", "--json").lines
    assert [e for e in entries if "greeting Ann" in e["text"] and e["service"] == "app"]
    assert "greeting" in node.cli("logs", "app", "-n", "1").out
    assert node.cli("logs", "nothing").code in (0, 1)


def test_stop_returns_when_the_node_has_ended(start, tmp_path):
    node = start(write_app(tmp_path / "app", {"type": "python", "args": "app.py"}, app_py=GREETER))
    family = node.processes()
    assert node.cli("stop").code == 0
    assert node.wait() == 0
    assert not [pid for pid in family if is_alive(pid)]
    assert node.cli("stop").code == 69


# --- new ---


def test_a_new_python_service_runs_at_once(start, tmp_path):
    made = run("new", "python", "greeter-one", cwd=tmp_path)
    assert made.code == 0 and "run greeter-one" in made.out, made
    node = start(tmp_path / "greeter-one")
    assert node.call("greeter-one.greet", {"name": "Ann"}).json == {"message": "Hello, Ann!"}
    assert node.call("greeter-one.count_down", {"start": 2}).lines == [{"n": 2}, {"n": 1}, {"n": 0}]


@pytest.mark.skipif(shutil.which("cmake") is None or shutil.which("ninja") is None, reason="needs cmake and ninja")
def test_a_new_cpp_service_runs_after_the_command_it_prints(start, tmp_path):
    made = run("new", "c++", "counter-two", cwd=tmp_path)
    assert made.code == 0, made
    build = next(line.strip() for line in made.out.splitlines() if line.strip().startswith("cmake "))
    flags = os.environ.get("SHUNT_TEST_CXXFLAGS", "")
    done = subprocess.run(build, shell=True, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"CXXFLAGS": flags})
    assert done.returncode == 0, done.stdout + done.stderr
    node = start(tmp_path / "counter-two")
    assert node.call("counter-two.greet").json == {"message": "Hello, world!"}
    assert node.call("counter-two.count_down", {"from": 2}).lines == [{"n": 2}, {"n": 1}, {"n": 0}]


def test_new_leaves_what_is_there_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("precious")
    done = run("new", "python", "mine", cwd=tmp_path)
    assert done.code == 1 and "S5006" in done.err and os.listdir(tmp_path / "mine") == ["file"]
    for arguments in (("rust", "name"), ("python", "Bad Name"), ("python", "../up"), ("python", "a" * 64)):
        assert run("new", *arguments, cwd=tmp_path).code == 64
    assert os.listdir(tmp_path) == ["mine"]


# --- check, version, help ---


def test_check_tells_place_and_fix(tmp_path):
    good = write_app(tmp_path / "good", {"type": "python", "args": "app.py"}, app_py=GREETER)
    bad = write_app(tmp_path / "bad", '{\n  "type": "python",\n  "agrs": "app.py"\n}\n')
    assert run("check", good).code == 0 and "ok: app good" in run("check", good).out
    done = run("check", good, bad)
    assert done.code == 1 and f"{bad}/shunt.json:3:3: error S2010" in done.err and '"args"' in done.err and "^^^^^^" in done.err
    told = run("check", bad, "--json").json
    assert told["ok"] is False and any(d["id"] == "S2010" and d["line"] == 3 for d in told["diagnostics"])
    assert run("check", good, "--json").json == {"ok": True, "diagnostics": []}
    assert run("check", cwd=good).code == 0


def test_version_is_for_programs_too():
    assert set(run("version", "--json").json) == {"version", "commit", "abi", "wire", "compiler"}
    assert run("version").out == run("--version").out


def test_every_error_has_a_page():
    listed = run("help").out
    for key, entry in ERRORS.items():
        assert f"  {key}  {entry['title']}\n" in listed
    page = run("help", "s1002")
    assert page.code == 0 and page.out.startswith("S1002  no such service")
    assert run("help", "S1002", "--json").json["fix"] == ERRORS["S1002"]["fix"]
    assert run("help", "S0000").code == 1


@pytest.mark.parametrize("command", ["run", "call", "ps", "logs", "check", "new", "stop", "version", "help", "completions"])
def test_help_is_everywhere(command):
    done = run(command, "--help")
    assert done.code == 0 and done.err == "" and f"Usage: shunt {command}" in done.out
    assert run("help", command).out == done.out


# --- colours and completions ---


def on_terminal(*arguments, **env):
    """What the command prints on a terminal."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([harness.SHUNT, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs,
                             env=environment(TERM="xterm", **env))
    os.close(theirs)
    out = b""
    while True:
        select.select([ours], [], [])
        try:
            piece = os.read(ours, 65536)
        except OSError:  # The terminal's other side is closed.
            break
        if not piece:
            break
        out += piece
    os.close(ours)
    child.wait()
    return out.decode()


def test_colours_only_on_a_terminal_and_not_with_no_color(shop):
    assert "\x1b[" in on_terminal("ps", "--data", shop.data)
    assert "\x1b[" not in on_terminal("ps", "--data", shop.data, NO_COLOR="1")
    assert "\x1b[" not in shop.cli("ps").out


def complete(shell_script, words, data):
    script = f"""{shell_script}
COMP_WORDS=({' '.join(f"'{word}'" for word in words)}); COMP_CWORD={len(words) - 1}; _shunt; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, env=environment(SHUNT_DATA=str(data)))
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout.split()


def test_bash_completes_commands_options_and_names_of_services(shop):
    script = run("completions", "bash").out
    assert "run" in complete(script, [harness.SHUNT, "r"], shop.data)
    assert complete(script, [harness.SHUNT, "ps", "--j"], shop.data) == ["--json"]
    assert complete(script, [harness.SHUNT, "logs", "shop.c"], shop.data) == ["shop.cart"]
    assert complete(script, [harness.SHUNT, "call", "shop.prices.g"], shop.data) == ["shop.prices.get"]
    assert complete(script, [harness.SHUNT, "logs", ""], shop.data / "none") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_well_formed_and_know_every_command(shell, tmp_path):
    script = run("completions", shell).out
    for command in ("run", "call", "ps", "logs", "check", "new", "stop", "version", "help", "completions"):
        assert re.search(rf"\b{command}\b", script)
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        assert subprocess.run([shell, "-n", tmp_path / "script"]).returncode == 0
