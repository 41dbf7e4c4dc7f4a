"""tools/demo.py with a stand-in for `shunt`: the banner, the port that is taken, the one signal that Ctrl-C sends."""

import pathlib
import signal
import socket
import stat
import subprocess
import sys

import pytest

DEMO = pathlib.Path(__file__).resolve().parent.parent / "demo.py"

STAND_IN = """#!{python}
import json, os, signal, sys
if sys.argv[1] == "ps":
    print(json.dumps({{"node": {{"pid": 40}}, "services": [{{"name": "shop.cart", "type": "python", "backend": "process", "commands": ["total"],
                                      "instances": [{{"pid": 41}}, {{"pid": 0}}]}}]}}))
    sys.exit(0)
count = 0
def told(number, frame):
    global count
    count += 1
signal.signal(signal.SIGINT, told)
signal.signal(signal.SIGTERM, told)
print("ready http://127.0.0.1:8123", flush=True)
while not count:
    signal.pause()
signal.sigtimedwait([], 0.3)  # Were a second signal to come, it would now.
print("drained after", count, flush=True)
sys.exit({code})
"""


@pytest.fixture
def stand_in(tmp_path):
    def make(code=0):
        path = tmp_path / "shunt"
        path.write_text(STAND_IN.format(python=sys.executable, code=code))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


def start(shunt, tmp_path):
    return subprocess.Popen([sys.executable, DEMO, "--shunt", shunt, "--app", "shop", "--listen", "127.0.0.1:0"], cwd=tmp_path,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def read_until(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    pytest.fail(f"no {text!r} in: {''.join(lines)}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_banner_comes_after_ready_and_one_signal_drains(stand_in, tmp_path, number):
    process = start(stand_in(), tmp_path)
    banner = read_until(process, "/cart/total")
    assert "http://127.0.0.1:8123/" in banner and "shop.cart" in banner and "Python" in banner and "41, 40" in banner
    process.send_signal(number)
    assert "drained after 1" in process.communicate()[0]
    assert process.returncode == 0


def test_the_exit_code_is_the_nodes(stand_in, tmp_path):
    process = start(stand_in(code=7), tmp_path)
    read_until(process, "/cart/total")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 7


def test_a_busy_port_is_told_with_what_to_type_instead(stand_in, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run([sys.executable, DEMO, "--check", "--listen", f"127.0.0.1:{port}"], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"127.0.0.1:{port} can't be used: address already in use. Type: ./dev demo --listen 127.0.0.1:" in done.stderr


@pytest.mark.parametrize("text", ["", "a:b", "127.0.0.1", "127.0.0.1:70000", "127.0.0.1:80:80"])
def test_what_is_no_address_is_told(text):
    done = subprocess.run([sys.executable, DEMO, "--check", "--listen", text], capture_output=True, text=True)
    assert done.returncode == 1 and "is not ADDR:PORT" in done.stderr
