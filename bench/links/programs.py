"""Runs one row of ./dev bench links by its program, and the servers that some peers need."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "shared"))
from measure import BUILD, Node, pinned  # noqa: E402

APP = BUILD / "bench/links"
PACKAGES = {"zeromq": "libzmq3-dev", "capnp": "libcapnp-dev and capnproto", "iceoryx": "libiceoryx-posh-dev and iceoryx",
            "nats": "libnats-dev and nats-server", "grpcpp": "libgrpc++-dev and protobuf-compiler-grpc"}


def failed(why):
    lines = [line for line in str(why).strip().splitlines() if line.strip()]
    return {"error": lines[-1].strip() if lines else "it ended without a word"}


class Server:
    """A server that a peer needs beside it: started on the callee's core, ended by its process id."""

    def __init__(self, command, log):
        self.log = log
        self.output = open(log, "w", encoding="utf-8")
        self.process = subprocess.Popen(command, stdout=self.output, stderr=subprocess.STDOUT)

    def wait_for(self, there, seconds=10):
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up and self.process.poll() is None:
            found = there()
            if found:
                return found
            time.sleep(0.02)
        self.stop()
        raise OSError(f"{self.process.args[-1]} did not become ready: {self.text()[-300:]}")

    def text(self):
        return pathlib.Path(self.log).read_text(encoding="utf-8", errors="replace")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.output.close()


def start_roudi(folder):
    program = shutil.which("iox-roudi")
    if program is None:
        raise OSError("iox-roudi is not installed (Debian's package iceoryx)")
    pools = ((512, 4000), (8192, 2000), ((1 << 20) + 1024, 300))
    config = folder / "roudi.toml"
    config.write_text("[general]\nversion = 1\n\n[[segment]]\n" + "".join(
        f"\n[[segment.mempool]]\nsize = {size}\ncount = {count}\n" for size, count in pools), encoding="utf-8")
    # Monitoring ends roudi itself when one that it watches has gone.
    server = Server([*pinned(1), program, "-m", "off", "-c", str(config)], folder / "roudi.log")
    server.wait_for(lambda: "ready for clients" in server.text())
    return server


def start_nats(folder):
    program = shutil.which("nats-server") or "/usr/sbin/nats-server"
    if not os.path.exists(program):
        raise OSError("nats-server is not installed")
    config = folder / "nats.conf"
    config.write_text('listen: "127.0.0.1:-1"\nmax_payload: 8388608\nmax_pending: 1073741824\n', encoding="utf-8")
    server = Server([*pinned(1), program, "-c", str(config)], folder / "nats.log")
    port = server.wait_for(lambda: re.search(r"client connections on 127\.0\.0\.1:(\d+)", server.text()))
    server.url = f"nats://127.0.0.1:{port.group(1)}"
    return server


class Programs:
    """bench_links_*: each measures one row with a child of its own as the callee."""

    def __init__(self, folder):
        self.folder = folder
        self.servers = {}

    def server(self, name, start):
        if name not in self.servers:
            try:
                self.servers[name] = start(self.folder)
            except OSError as why:
                self.servers[name] = why
        if isinstance(self.servers[name], OSError):
            raise self.servers[name]
        return self.servers[name]

    def run(self, row, seconds):
        program = BUILD / f"bench/bench_links_{row.program}"
        if not program.exists():
            return failed(f"not measured: it needs {PACKAGES.get(row.program, 'a build')}, installed before the build (./dev bench does)")
        variant, environment = row.variant, dict(os.environ)
        try:
            if row.program == "iceoryx":
                self.server("roudi", start_roudi)
            if row.program == "nats":
                nats = self.server("nats", start_nats)
                variant, environment["SHUNT_BENCH_SERVER"] = nats.url, str(nats.process.pid)
                if len(os.sched_getaffinity(0)) > 1:
                    pin(nats.process.pid, 0 if row.cores == "one" else 1)
            done = subprocess.run([str(program), variant, str(row.bytes), str(row.in_flight), str(seconds), row.waiting, row.cores, str(row.pause_us)],
                                  capture_output=True, text=True, check=False, timeout=8 + 40 * seconds, env=environment)
        except (OSError, subprocess.TimeoutExpired) as why:
            return failed(why)
        if done.returncode != 0 or not done.stdout.strip():
            return failed(done.stderr or f"it ended with {done.returncode}")
        return json.loads(done.stdout.strip().splitlines()[-1])

    def stop(self):
        for server in self.servers.values():
            if isinstance(server, Server):
                server.stop()
        self.servers = {}


def pin(pid, core):
    """All threads of the process."""
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), {core})
        except OSError:
            pass


class House:
    """The whole thing: a node with a driver and an echo for each distance, and a second node that it is joined to."""

    def __init__(self, folder):
        self.nodes = []
        self.there = self.error = None
        has_peers = "--peer" in subprocess.run([str(BUILD / "shunt"), "run", "--help"], capture_output=True, text=True, check=False).stdout
        arguments = ()
        if has_peers:
            self.there = Node(folder, APP / "there", "there", core=1)
            self.nodes.append(self.there)
            arguments = ("--peer", self.there.url.replace("http://", "grpc://"))
        try:
            self.node = Node(folder, APP, "here", arguments=arguments)
            self.nodes.append(self.node)
        except BaseException:
            self.stop()
            raise

    def callee_pid(self, service):
        if service == "there":
            return self.there.pids()[0]
        report = json.loads(subprocess.run([str(BUILD / "shunt"), "ps", "--json", "--data", str(self.node.data)],
                                           capture_output=True, text=True, check=True).stdout)
        for each in report["services"]:
            if each["name"] == f"links.{service}" and each["instances"]:
                return each["instances"][0]["pid"]
        return None

    def distance(self, caller, callee):
        """Which way a call takes now, as the node itself says."""
        name = callee if callee == "there" else f"links.{callee}"
        done = subprocess.run([str(BUILD / "shunt"), "explain", f"links.{caller}", name, "--json", "--data", str(self.node.data)],
                              capture_output=True, text=True, check=False)
        try:
            said = json.loads(done.stdout)
        except ValueError:
            return None
        # A worker that calls another directly has ways of its own; else it is as for every caller.
        ways = said.get("direct") or [one for one in said.get("instances", []) if one.get("chosen")]
        return ways[0].get("distance") if ways else None

    def run(self, row, seconds):
        caller, callee = row.variant.split(" to ")
        if callee == "there" and self.there is None:
            return failed("not measured: this node has no peers")
        try:
            pid = self.callee_pid(callee) if callee != "near" else None
            if pid and len(os.sched_getaffinity(0)) > 1:
                pin(pid, 0 if row.cores == "one" else 1)
            figures = self.node.call("measure", service=f"links.{caller}", target=callee, message=row.message, bytes=row.bytes,
                                     in_flight=row.in_flight, duration=int(seconds * 1000), pause_us=row.pause_us)
        except SystemExit as why:
            return failed(str(why).splitlines()[0])
        if callee == "near":
            del figures["callee_cpu_us"]
        said = self.distance(caller, callee)
        if said is None and row.distance == "shm":
            return failed("not measured: the node has no shared memory")
        if said is not None and said != row.distance:
            return failed(f"the node says that this call goes by {said}")
        return figures

    def stop(self):
        for node in reversed(self.nodes):
            node.stop()
        self.nodes = []
