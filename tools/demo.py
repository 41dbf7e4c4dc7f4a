#!/usr/bin/env python3
"""Runs the demo in the foreground: starts `shunt run`, prints a banner when it is ready, drains it on Ctrl-C.

The node runs in a process group of its own, so that Ctrl-C reaches it once, through us: a second signal would tell it to
hurry. It gets SIGTERM from the kernel should we die ourselves.
"""

import argparse
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1


def parse_listen(text):
    """ADDR:PORT, [V6]:PORT or PORT -> (family, address, port)."""
    match = re.fullmatch(r"(?:(?:\[([0-9a-fA-F:.%]+)\]|([^:\[\]]*)):)?([0-9]{1,5})", text)
    if not match or int(match[3]) > 65535:
        sys.exit(f"./dev demo: '{text}' is not ADDR:PORT. Type for example: ./dev demo --listen 127.0.0.1:8081")
    if match[1]:
        return socket.AF_INET6, match[1], int(match[3])
    return socket.AF_INET, match[2] or "127.0.0.1", int(match[3])


def is_free(family, address, port):
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
            return None
        except OSError as error:
            return error


def check_port(listen):
    family, address, port = parse_listen(listen)
    if port == 0:
        return
    error = is_free(family, address, port)
    if error is None:
        return
    shown = f"[{address}]" if family == socket.AF_INET6 else address
    for other in range(port + 1, min(port + 200, 65536)):
        if is_free(family, address, other) is None:
            sys.exit(f"./dev demo: {shown}:{port} can't be used: {error.strerror.lower()}. "
                     f"Type: ./dev demo --listen {shown}:{other}")
    sys.exit(f"./dev demo: {shown}:{port} can't be used: {error.strerror.lower()}. Type: ./dev demo --listen 127.0.0.1:0")


def services(shunt, data):
    """What `shunt ps` knows, or nothing: the banner is a courtesy and never fails the demo."""
    try:
        done = subprocess.run([shunt, "ps", "--json", "--data", data], capture_output=True, timeout=10, check=True)
        answer = json.loads(done.stdout)
        for service in answer["services"]:
            for instance in service.get("instances", []):
                instance["pid"] = instance.get("pid") or answer["node"]["pid"]  # In the node's own process.
        return answer["services"]
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError):
        return []


def pids(service):
    return ", ".join(str(instance["pid"]) for instance in service.get("instances", []))


def language(service):
    return {"c++": "C++", "python": "Python"}.get(service.get("type", ""), service.get("type", ""))


def banner(shunt, data, urls):
    bold, dim, end = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else ("",) * 3
    url = urls[0].rstrip("/") if urls else "http://127.0.0.1:8080"
    lines = ["", f"{bold}The shop is open.{end} Ctrl-C closes it.", ""]
    for each in urls:
        lines.append(f"  {each.rstrip('/')}/   {dim}the services and their commands; also /livez /readyz /metrics{end}")
    found = services(shunt, data)
    if found:
        lines += ["", f"  {'SERVICE':<14}{'LANGUAGE':<10}{'BACKEND':<10}PID"]
        for service in found:
            lines.append(f"  {service.get('name', ''):<14}{language(service):<10}{service.get('backend', ''):<10}{pids(service)}")
    lines += ["", "Try, in another terminal:", ""]
    json_type = "-H 'content-type: application/json'"
    lines += [f"  curl '{url}/prices/get?sku=tea'",
              f"""  curl {json_type} -d '{{"items": [{{"sku": "tea", "count": 2}}]}}' {url}/cart/total""",
              f"  curl -N '{url}/stock/watch?sku=tea&times=3'" if "watch" in commands(found, "stock") else
              f"  curl '{url}/stock/count?sku=tea'", ""]
    print("\n".join(lines), flush=True)


def commands(found, name):
    for service in found:
        if service.get("name", "").rsplit(".", 1)[-1] == name:
            return service.get("commands", [])
    return []


def run(shunt, app, listen):
    check_port(listen)
    parent = os.getpid()
    data = os.path.abspath(os.path.join("build", "demo", re.sub(r"[^0-9A-Za-z]", "-", listen)))
    if parse_listen(listen)[2] == 0:
        data += f"-{parent}"
    os.makedirs(data, exist_ok=True)

    libc = ctypes.CDLL(None, use_errno=True)

    def die_with_us():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    child = subprocess.Popen([shunt, "run", app, "--listen", listen, "--data", data], stdout=subprocess.PIPE,
                             process_group=0, preexec_fn=die_with_us)

    def forward(number, _frame):
        try:
            child.send_signal(number)
        except ProcessLookupError:
            pass

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)

    def relay():
        ready = False
        for line in child.stdout:
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
            text = line.decode(errors="replace")
            if not ready and re.match(r"(\x1b\[[0-9;]*m)*ready\b", text):
                ready = True
                banner(shunt, data, re.findall(r"https?://[^\s,]+", text))

    # A thread reads, so that the main one is free to take signals.
    reader = threading.Thread(target=relay, daemon=True)
    reader.start()
    code = child.wait()
    reader.join(5)
    return code if code >= 0 else 128 - code


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", default="127.0.0.1:8080")
    parser.add_argument("--check", action="store_true", help="only check that the port is free")
    parser.add_argument("--shunt", default="build/release/shunt")
    parser.add_argument("--app", default="examples/shop")
    options = parser.parse_args()
    if options.check:
        return check_port(options.listen)
    return run(options.shunt, options.app, options.listen)


if __name__ == "__main__":
    sys.exit(main())
