"""The command line: each command's main path, exit codes, JSON, mistakes, and who may use the admin socket."""

import json
import os
import pty
import re
import select
import signal
import socket
import stat
import subprocess
import time

import pytest

import harness
from harness import environment, eventually, run, write_app

COMMANDS = ["run", "call", "ps", "check", "new", "logs", "proto", "app", "reload", "stop", "version", "help", "completions"]


def sick(folder, **more):
    return write_app(folder, {"name": folder.name, "type": "python", "args": "app.py"} | more,
                     app_py=(harness.APPS / "sick.py").read_text())


# --- what needs no node ---


def test_help_is_everywhere():
    done = run("--help")
    assert done.code == 0 and all(re.search(rf"^\s+{command}\b", done.out, re.M) for command in COMMANDS)
    for command in COMMANDS:
        done = run(command, "--help")
        assert done.code == 0 and done.out.strip() and done.err == "", command


@pytest.mark.parametrize("arguments, words", [
    (["rum"], ["run"]),
    (["run", "--lisen", "127.0.0.1:0", "."], ["--lisen", "--listen"]),
    (["ps", "--jsn"], ["--json"]),
    (["call"], ["SERVICE.COMMAND"]),
    (["call", "no-dot"], ["SERVICE.COMMAND"]),
    (["call", "a.b", "{", "--at", "127.0.0.1:1"], ["line 1", "^"]),
    (["call", "a.b", "--timeout", "soon", "--at", "127.0.0.1:1"], ["--timeout", "soon"]),
    (["call", "a.b", "-m", "novalue", "--at", "127.0.0.1:1"], ["novalue"]),
    (["ps", "extra"], ["extra"]),
    (["new", "cobol", "x"], ["python", "c++"]),
    (["new", "python", "Bad Name"], ["Bad Name"]),
    (["completions", "tcsh"], ["bash", "zsh", "fish"]),
    (["run", ".", "--listen", "nowhere"], ["nowhere"]),
    (["run", ".", "--dev", "--no-dev"], ["--no-dev"]),
    (["run", ".", "--body-limit", "big"], ["--body-limit"]),
])
def test_a_wrong_command_line_is_64_and_says_what_is_right(tmp_path, arguments, words):
    done = run(*arguments, cwd=tmp_path)
    assert done.code == 64 and done.out == "", done
    for word in words:
        assert word in done.err, done.err


def test_version():
    assert re.fullmatch(r"shunt \d+\.\d+\.\d+\b.*\n", run("version").out)
    told = run("version", "--json").json
    assert told.keys() >= {"version", "commit", "abi", "wire", "compiler"}
    assert run("--version").code == 0


def test_help_explains_errors():
    done = run("help", "S1002")
    assert done.code == 0 and "S1002" in done.out
    assert run("help", "S1002", "--json").json["id"] == "S1002"
    assert run("help", "s1002").code == 0
    missing = run("help", "S9999")
    assert missing.code != 0 and "S9999" in missing.err
    for listed in (run("help").out, run("help", "--json").out):
        assert all(id_ in listed for id_ in ("S1002", "S2010", "S4001", "S5001"))
    assert run().code == 0 and "shunt COMMAND --help" in run().out


def test_every_error_id_that_the_program_knows_is_explained():
    errors = json.loads((harness.ROOT / "spec/errors.json").read_text())
    ids = [id_ for id_ in errors.get("errors", errors) if re.fullmatch(r"S\d{4}", id_)]
    assert len(ids) > 50
    for id_ in ids[:: max(1, len(ids) // 10)]:
        assert run("help", id_).code == 0


def test_check_says_what_is_wrong_and_where(tmp_path):
    good = sick(tmp_path / "good")
    assert run("check", good).code == 0
    bad = write_app(tmp_path / "bad", '{\n  "name": "bad",\n  "typ": "python",\n  "args": "a.py"\n}\n')
    done = run("check", bad)
    assert done.code == 1
    text = done.out + done.err
    assert re.search(r"shunt\.json:3:3: error S2010", text) and '"type"' in text and "^" in text
    told = run("check", bad, "--json").json
    assert told["ok"] is False
    assert ("S2010", 3, 3) in [(each["id"], each["line"], each["column"]) for each in told["diagnostics"]]
    assert run("check", good, "--json").json["ok"] is True
    assert run("check", cwd=good).code == 0
    assert run("check", tmp_path / "nowhere").code == 1


def goldens():
    return sorted((harness.ROOT / "tests/golden/manifest").rglob("*.json"))


def test_check_on_the_goldens():
    """Each golden manifest gives, through the program, the ids that stand in its expectation."""
    checked = 0
    for folder in sorted(path for path in (harness.ROOT / "tests/golden/manifest").iterdir() if path.is_dir()):
        manifest = folder / "shunt.json"
        expectations = [path for path in folder.iterdir() if path.suffix in (".txt", ".expected", ".golden")]
        if not manifest.exists() or len(expectations) != 1:
            continue
        expected = expectations[0].read_text()
        done = run("check", manifest)
        text = done.out + done.err
        for id_ in set(re.findall(r"\b(?:error|warning) (S2\d{3})", expected)):
            if id_ in ("S2041", "S2044", "S2050", "S2051", "S2052", "S2053", "S2054") or id_ >= "S2060":
                continue  # Of several apps, addresses, or the code itself: check runs nothing.
            assert id_ in text, (folder.name, id_, text)
            checked += 1
    assert checked > 20


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(shell, tmp_path):
    done = run("completions", shell)
    assert done.code == 0 and "shunt" in done.out
    script = tmp_path / "completions"
    script.write_text(done.out)
    subprocess.run([shell, "-n", str(script)], check=True, timeout=60)


def complete(script, words, node):
    """What bash offers for the last word."""
    program = f"""
source {script}
COMP_WORDS=({' '.join(json.dumps(word) for word in words)})
COMP_CWORD={len(words) - 1}
COMP_LINE="{' '.join(words)}"
COMP_POINT=${{#COMP_LINE}}
spec=$(complete -p shunt)
function=${{spec##*-F }}; function=${{function%% *}}
$function shunt "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    path = os.path.dirname(harness.SHUNT) + os.pathsep + os.environ["PATH"]
    done = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, timeout=60, check=True,
                          env=environment(PATH=path, SHUNT_DATA=str(node.data)))
    return {word.strip() for word in done.stdout.decode().splitlines()}


def test_bash_completes_commands_options_and_services(shop, tmp_path):
    script = tmp_path / "completions"
    script.write_text(run("completions", "bash").out)
    assert {"run", "call", "completions"} <= complete(script, ["shunt", ""], shop)
    assert "--listen" in complete(script, ["shunt", "run", "--l"], shop)
    assert any("prices" in word for word in complete(script, ["shunt", "logs", ""], shop))
    assert any(word.endswith("prices.get") for word in complete(script, ["shunt", "call", "shop.pri"], shop)) or any(
        word.endswith("prices.get") for word in complete(script, ["shunt", "call", "pri"], shop))


def test_fish_completes_commands_options_and_services(shop, tmp_path):
    script = tmp_path / "completions.fish"
    script.write_text(run("completions", "fish").out)
    path = os.path.dirname(harness.SHUNT) + os.pathsep + os.environ["PATH"]

    def offered(line):
        done = subprocess.run(["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"], capture_output=True, text=True,
                              timeout=60, check=True, env=environment(PATH=path, SHUNT_DATA=str(shop.data), HOME=str(tmp_path)))
        return {each.split("\t")[0] for each in done.stdout.splitlines()}

    assert {"run", "call", "completions"} <= offered("shunt ")
    assert "--listen" in offered("shunt run --l")
    assert any("prices" in word for word in offered("shunt logs "))


def test_zsh_completes_commands_options_and_services(shop, tmp_path):
    """In a terminal: only there zsh completes."""
    (tmp_path / "_shunt").write_text(run("completions", "zsh").out)
    path = os.path.dirname(harness.SHUNT) + os.pathsep + os.environ["PATH"]
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment(PATH=path, SHUNT_DATA=str(shop.data), HOME=str(tmp_path), TERM="dumb"))
    try:
        def type_and_wait(keys, word):
            os.write(terminal, keys)
            seen = b""
            end = time.monotonic() + 60
            while word not in seen and time.monotonic() < end:
                if select.select([terminal], [], [], 1)[0]:
                    seen += os.read(terminal, 4096)
            assert word in seen, seen

        type_and_wait(b"PS1=; fpath=(%s $fpath); autoload -Uz compinit; compinit -u -D; echo re''ady\n" % bytes(tmp_path), b"ready")
        type_and_wait(b"shunt vers\t", b"shunt version ")
        type_and_wait(b"\x15shunt run --list\t", b"shunt run --listen")
        type_and_wait(b"\x15shunt logs shop.pri\t", b"shunt logs shop.prices")
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)


# --- with a node ---


def test_call_takes_its_request_from_everywhere(shop, tmp_path):
    (tmp_path / "request.json").write_text('{"sku": "tea"}')
    tea = {"sku": "tea", "cents": 250}
    assert shop.cli("call", "prices.get", '{"sku": "tea"}').json == tea
    assert shop.cli("call", "prices.get", "-", stdin='{"sku": "tea"}').json == tea
    assert shop.cli("call", "prices.get", f"@{tmp_path}/request.json").json == tea
    assert run("call", "prices.get", '{"sku": "tea"}', "--at", shop.url).json == tea
    assert run("call", "prices.get", '{"sku": "tea"}', "--at", shop.url.removeprefix("http://")).json == tea
    assert run("call", "prices.get", '{"sku": "tea"}', "--at", f"unix:{shop.data}/admin.sock").json == tea
    assert run("call", "prices.get", '{"sku": "tea"}', "--at", shop.data).json == tea
    assert run("call", "prices.get", '{"sku": "tea"}', env=environment(SHUNT_DATA=str(shop.data))).json == tea
    assert shop.cli("call", "prices.get", f"@{tmp_path}/nowhere").code not in (0, 5)


@pytest.mark.parametrize("code, exit_code", [("cancelled", 1), ("unknown", 2), ("invalid_argument", 3), ("deadline_exceeded", 4),
                                             ("not_found", 5), ("permission_denied", 7), ("resource_exhausted", 8),
                                             ("internal", 13), ("unavailable", 14), ("unauthenticated", 16)])
def test_the_exit_code_of_call_is_the_status(lab, code, exit_code):
    done = lab.call("shapes.refuse", {"code": code, "message": "such a pity"})
    assert done.code == exit_code and done.out == ""
    assert code in done.err and "such a pity" in done.err and done.err.count("\n") == 1
    over_http = lab.call("shapes.refuse", {"code": code, "message": "such a pity"}, "--at", lab.url)
    assert (over_http.code, over_http.err) == (exit_code, done.err)


def test_mistyped_names_are_answered_with_the_nearest(lab):
    done = lab.call("shaps.greet")
    assert done.code == 5 and "shapes" in done.err
    done = lab.call("shapes.gret")
    assert done.code == 12 and "greet" in done.err


def test_a_stream_that_fails_prints_its_lines_and_then_the_error(lab):
    done = lab.call("shapes.breaks_off", {"after": 2})
    assert done.lines == [{"n": 0}, {"n": 1}] and done.code == 9 and "the thread broke" in done.err


def test_a_timeout_is_4(lab):
    assert lab.call("notes.hang", {"name": "cli"}, "--timeout", "50ms").code == 4


def test_no_node_is_69(tmp_path):
    for arguments in (["ps"], ["call", "a.b"], ["logs"], ["stop"]):
        done = run(*arguments, "--data", tmp_path)
        assert done.code == 69 and "shunt run" in done.err, done
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert run("call", "a.b", "--at", f"127.0.0.1:{unused.getsockname()[1]}").code == 69


def test_ps_in_json_is_for_programs(lab):
    told = lab.ps()
    assert told["node"].keys() >= {"pid", "version", "uptime_s", "restarts", "listen"}
    for service in told["services"]:
        assert service.keys() >= {"name", "type", "backend", "state", "calls", "in_flight", "restarts", "last_error", "instances"}
    over_http = run("ps", "--json", "--at", lab.url)
    assert over_http.code == 0 and over_http.json["node"]["pid"] == told["node"]["pid"]


def test_logs(lab):
    for n in range(5):
        lab.call("shapes.say", {"text": f"line-{n}"})
    eventually("the lines", lambda: "line-4" in lab.cli("logs", "shapes").out)
    last = lab.cli("logs", "shapes", "-n", "2").out.splitlines()
    assert len(last) == 2 and last[1].endswith("line-4")
    assert "line-4" in lab.cli("logs").out and "line-4" in lab.cli("logs", "lab.shapes").out
    missing = lab.cli("logs", "nothing")
    assert missing.code == 1 and "lab.shapes" in missing.err


def test_logs_follow(lab):
    child = subprocess.Popen([harness.SHUNT, "logs", "shapes", "-f", "-n", "0", "--data", str(lab.data)],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment())
    try:
        os.set_blocking(child.stdout.fileno(), False)
        text = b""

        def heard():
            nonlocal text
            lab.call("shapes.say", {"text": "to-be-followed"})
            text += child.stdout.read() or b""
            return b"to-be-followed" in text

        eventually("the line to come", heard)
    finally:
        child.terminate()
        child.wait()


def test_the_admin_socket_is_its_owners_alone(lab):
    mode = (lab.data / "admin.sock").stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


def test_colours_are_for_terminals_only(shop):
    def on_a_terminal(**env):
        ours, theirs = pty.openpty()
        child = subprocess.Popen([harness.SHUNT, "ps", "--data", str(shop.data)], stdin=subprocess.DEVNULL, stdout=theirs,
                                 stderr=theirs, env=environment(TERM="xterm-256color", **env))
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 4096):
                text += piece
        except OSError:  # How a pty ends.
            pass
        os.close(ours)
        child.wait()
        return text

    assert b"\x1b[" in on_a_terminal()
    assert b"\x1b[" not in on_a_terminal(NO_COLOR="1")
    assert "\x1b[" not in shop.cli("ps").out
    assert "\x1b[" not in run("check", "/nowhere").err


def test_a_busy_port_is_told_with_what_to_type(shop, start, tmp_path):
    port = shop.address[1]
    node = start(sick(tmp_path / "late"), listen=[f"127.0.0.1:{port}"], wait=False)
    assert node.wait() not in (0, None)
    assert "S5001" in node.output and str(port) in node.output and "--listen" in node.output
    assert shop.get("/livez").status == 200


def test_a_second_node_on_the_same_folder_is_refused(shop, tmp_path):
    done = run("run", sick(tmp_path / "late"), "--listen", "127.0.0.1:0", "--data", shop.data)
    assert done.code not in (0, None) and "S5002" in done.err and str(shop.pid) in done.err
    assert shop.get("/livez").status == 200 and shop.cli("ps").code == 0


def test_flags_go_over_the_environment_and_that_over_the_file(start, tmp_path):
    app = sick(tmp_path / "app", listen="127.0.0.1:1")  # Nobody may listen there but root, or there is somebody already.
    node = start(app, listen=[], env={"SHUNT_LISTEN": "127.0.0.1:0, [::1]:0"})
    assert len(node.urls) == 2 and "[::1]" in node.urls[1] and not node.url.endswith(":1")
    assert node.stop() == 0
    node = start(app, listen=["127.0.0.1:0"], env={"SHUNT_LISTEN": "127.0.0.1:1"})
    assert len(node.urls) == 1


def test_the_file_says_where_to_listen(start, tmp_path):
    node = start(sick(tmp_path / "app", listen=["127.0.0.1:0", "127.0.0.1:0"]), listen=[])
    assert len(set(node.urls)) == 2
    for url in node.urls:
        assert run("call", "app.ping", "--at", url).code == 0


def test_ready_in_json(start, tmp_path):
    node = start(sick(tmp_path / "app"), arguments=["--json"], wait=False)
    ready = eventually("ready", lambda: [line for line in node.output.splitlines() if line.startswith('{"event":"ready"')])
    told = json.loads(ready[0])
    assert told["urls"][0].startswith("http://127.0.0.1:") and told["data"] == str(node.data)


def test_stop_waits_until_it_has_ended(start, tmp_path):
    node = start(sick(tmp_path / "app"))
    done = node.cli("stop")
    assert done.code == 0
    assert node.wait() == 0
    assert node.cli("ps").code == 69
    again = start(sick(tmp_path / "app"))
    assert again.cli("stop", "--no-wait").code == 0
    assert again.wait() == 0


def test_a_bad_manifest_beside_a_good_app(start, tmp_path):
    good, bad = sick(tmp_path / "good"), write_app(tmp_path / "bad", '{"name": "bad", "type": "pyton", "args": "x.py"}')
    node = start(bad, good, tmp_path / "nowhere")
    assert "S2020" in node.output and '"python"' in node.output
    assert node.call("good.ping").code == 0
    assert [service["name"] for service in node.ps()["services"]] == ["good"]


def test_nothing_but_bad_manifests(start, tmp_path):
    bad = write_app(tmp_path / "bad", "{")
    node = start(bad, wait=False)
    assert node.wait() == 78 or node.process.returncode not in (0, None)
    assert "shunt.json:1" in node.output


def test_the_default_data_folder_is_the_xdg_one(tmp_path):
    done = run("ps", env=environment(XDG_STATE_HOME=str(tmp_path / "state")))
    assert done.code == 69 and str(tmp_path / "state/shunt") in done.err


# --- shunt new ---


def test_a_new_python_service_runs_at_once(start, tmp_path):
    done = run("new", "python", "greeter", cwd=tmp_path)
    assert done.code == 0 and "shunt run greeter" in done.out
    assert run("new", "python", "greeter", cwd=tmp_path).code != 0
    assert run("check", "greeter", cwd=tmp_path).code == 0
    node = start(tmp_path / "greeter")
    [call] = re.findall(r"shunt call (\S+) '(\{.*\})'", done.out)
    assert node.call(*call).code == 0
    page = node.get("/").body.decode()
    assert "greeter" in page


@pytest.mark.slow
def test_a_new_cpp_service_builds_with_its_two_commands_and_runs(start, tmp_path):
    done = run("new", "c++", "counter", cwd=tmp_path)
    assert done.code == 0, done
    [commands] = re.findall(r"^\s*(cmake .* && cmake .*)$", done.out, re.M)
    subprocess.run(commands, shell=True, cwd=tmp_path, check=True, capture_output=True, timeout=300, env=environment())
    assert run("check", "counter", cwd=tmp_path).code == 0
    node = start(tmp_path / "counter")
    service = node.service("counter")
    assert service["state"] == "ready" and service["commands"]
    [call] = re.findall(r"shunt call (\S+) '(\{.*\})'", done.out)
    assert node.call(*call).code == 0
