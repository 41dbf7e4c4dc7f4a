"""The tests that are written in JavaScript (clients/), as pytest's: their names are read from the scripts, each script runs
once, and every test of it is one test here."""

import json
import pathlib
import re
import subprocess

import harness
import programs

CLIENTS = pathlib.Path(__file__).resolve().parent / "clients"
PLAIN = re.compile(r'^\s*test\("([^"]+)"', re.M)
FOR_EACH = re.compile(r"^\s*test\(`\$\{name\}: ([^`]+)`", re.M)
# A page learns nothing of what no service lets it in to.
SENDS = ("client streaming", "what does not exist")
BOTH = "bidirectional"


def names(script):
    return PLAIN.findall((CLIENTS / script).read_text())


def names_of_transport(name, sends, both):
    """The tests of connect.mjs that a transport of these abilities runs."""
    found = FOR_EACH.findall((CLIENTS / "connect.mjs").read_text())
    return [f"{name}: {test}" for test in found
            if (sends or not test.startswith(SENDS)) and (both or not test.startswith(BOTH))]


class Results:
    """What became of each test of a script that has run."""

    def __init__(self):
        self.errors = {}
        self.trouble = ""

    def add(self, line):
        result = json.loads(line)
        self.errors[result["name"]] = result.get("error")

    def check(self, name):
        assert name in self.errors, f"it did not run; the script said: {self.trouble or 'nothing'}"
        assert not self.errors[name], self.errors[name]

    def check_names(self, expected):
        """That nothing ran which is not counted."""
        assert sorted(self.errors) == sorted(expected), self.trouble


def run(script, **configuration):
    results = Results()
    command = [programs.need("node", "nodejs"), "run.mjs", script, json.dumps(configuration)]
    process = subprocess.Popen(command, cwd=programs.node_folder() / "clients", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, env=harness.environment())
    try:
        out, err = process.communicate(timeout=5 * harness.PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += b"\nit hung, and was ended"
    for line in out.splitlines():
        results.add(line)
    results.trouble = f"exit code {process.returncode} {err.decode(errors='replace')[-4000:]}"
    return results
