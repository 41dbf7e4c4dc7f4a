#!/usr/bin/env python3
"""Runs every test of a build: the GoogleTest executables, then the pytest suites, and closes with one line of totals.

Counts single test cases. A test executable that crashes counts as a failure of the test it was in, and one that hangs is
stopped by a watchdog (a hang is a bug of ours, not a matter of speed: the limit is ten minutes without a word).
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as xml
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parent.parent
SILENCE_SECONDS = 600


@dataclass
class Outcome:
    passed: int = 0
    skipped: int = 0
    failures: list = field(default_factory=list)  # (name, output)

    def add(self, other):
        self.passed += other.passed
        self.skipped += other.skipped
        self.failures += other.failures


def run_watched(command, environment, log):
    """Runs a command with its output to `log`; returns (exit code, output). Kills it after SILENCE_SECONDS of silence."""
    log.parent.mkdir(parents=True, exist_ok=True)
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             start_new_session=True)
    last = [time.monotonic()]
    finished = threading.Event()
    silent = []

    def watch():
        while not finished.wait(5):
            if time.monotonic() - last[0] > SILENCE_SECONDS:
                silent.append(True)
                os.killpg(child.pid, signal.SIGABRT)
                if not finished.wait(20):
                    os.killpg(child.pid, signal.SIGKILL)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    chunks = []
    with open(log, "wb") as file:
        while chunk := os.read(child.stdout.fileno(), 65536):
            last[0] = time.monotonic()
            chunks.append(chunk)
            file.write(chunk)
    code = child.wait()
    finished.set()
    output = b"".join(chunks).decode(errors="replace")
    if silent:
        output += f"\nstopped: it said nothing for {SILENCE_SECONDS} s\n"
    return code, output


def end_of(code):
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit code {code}"


def gtest_sections(output):
    """test name -> what it printed, from GoogleTest's [ RUN ] and [ OK ] lines; and the test that had not ended."""
    sections, current, lines = {}, None, []
    for line in output.splitlines():
        begin = re.search(r"\[ RUN      \] (\S+)", line)
        end = re.search(r"\[       OK \] |\[  FAILED  \] \S+ ?.*\(\d+ ms\)|\[  SKIPPED \] ", line)
        if begin:
            current, lines = begin[1], []
        elif current and end:
            sections[current] = "\n".join(lines + [line])
            current = None
        elif current:
            lines.append(line)
    if current:
        sections[current] = "\n".join(lines)
    return sections, current


def run_gtest(binary, options, environment):
    report = options.build / "tests" / f"{binary.name}.xml"
    report.unlink(missing_ok=True)
    if not binary.exists():
        return Outcome(failures=[(f"{binary.name}: was not built", str(binary))])
    command = [str(binary), f"--gtest_output=xml:{report}", "--gtest_color=no"]
    if options.k:
        command.append(f"--gtest_filter=*{options.k}*")
    code, output = run_watched(command, environment, options.build / "tests" / f"{binary.name}.log")
    sections, unfinished = gtest_sections(output)
    outcome = Outcome()
    try:
        cases = list(xml.parse(report).getroot().iter("testcase"))
    except (OSError, xml.ParseError):
        cases = None
    if cases is None:  # It died before it could write its report: count what it said.
        outcome.passed = len(re.findall(r"\[       OK \] \S+", output))
        outcome.skipped = len(re.findall(r"\[  SKIPPED \] \S+ \(", output))
        for name in dict.fromkeys(re.findall(r"\[  FAILED  \] (\S+?),? .*\(\d+ ms\)", output)):
            outcome.failures.append((f"{binary.name}: {name}", sections.get(name, "")))
        name = unfinished or "(outside of a test)"
        outcome.failures.append((f"{binary.name}: {name}: {end_of(code)}", sections.get(unfinished) or output[-6000:]))
        return outcome
    for case in cases:
        name = f"{case.get('classname')}.{case.get('name')}"
        if case.find("failure") is not None:
            outcome.failures.append((f"{binary.name}: {name}", sections.get(name) or case.find("failure").get("message", "")))
        elif case.get("status") == "notrun" or case.find("skipped") is not None or case.get("result") == "skipped":
            outcome.skipped += case.get("result") == "skipped"
        else:
            outcome.passed += 1
    if code != 0 and not outcome.failures:  # Such as a leak, found at exit.
        outcome.failures.append((f"{binary.name}: after its tests: {end_of(code)}", output[-6000:]))
    return outcome


def interpreter(folder, log):
    """The Python that runs a suite: this one; for a suite with a requirements.txt, that of a virtualenv with just these
    packages, kept in build/ until the file changes. Returns (path, None) or (None, why it could not be made)."""
    wanted = folder / "requirements.txt"
    if not wanted.exists():
        return sys.executable, None
    place = ROOT / "build" / folder.name / "venv"
    stamp = place / ".made-from"
    made_from = f"{sys.version}\n{wanted.read_text()}"
    if not stamp.exists() or stamp.read_text() != made_from:
        shutil.rmtree(place, ignore_errors=True)
        for command in ([sys.executable, "-m", "venv", str(place)],
                        [str(place / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary=:all:",
                         "-r", str(wanted)]):
            code, output = run_watched(command, os.environ, log)
            if code != 0:
                return None, f"{' '.join(command)}: {end_of(code)}\n{output[-6000:]}"
        stamp.write_text(made_from)
    return str(place / "bin/python"), None


def run_pytest(folder, options, environment):
    name = str(folder.relative_to(ROOT))
    report = options.build / "tests" / (name.replace("/", "-") + ".xml")
    report.unlink(missing_ok=True)
    python, trouble = interpreter(folder, report.with_suffix(".install.log"))
    if trouble:
        return Outcome(failures=[(f"{name}: its packages could not be installed", trouble)])
    command = [python, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", "--color=no", f"--junitxml={report}", str(folder)]
    if options.k:
        command += ["-k", options.k]
    code, output = run_watched(command, environment, report.with_suffix(".log"))
    outcome = Outcome()
    try:
        cases = list(xml.parse(report).getroot().iter("testcase"))
    except (OSError, xml.ParseError):
        cases = None
    if cases is None:
        outcome.failures.append((f"{name}: {end_of(code)}", output[-6000:]))
        return outcome
    for case in cases:
        test = f"{name}: {case.get('classname')}.{case.get('name')}"
        trouble = case.find("failure") if case.find("failure") is not None else case.find("error")
        if trouble is not None:
            outcome.failures.append((test, trouble.text or trouble.get("message", "")))
        elif case.find("skipped") is not None:
            outcome.skipped += 1
        else:
            outcome.passed += 1
    if code not in (0, 5) and not outcome.failures:  # 5: no tests were collected.
        outcome.failures.append((f"{name}: {end_of(code)}", output[-6000:]))
    return outcome


def test_binaries(build):
    """The test executables, as CMake lists them."""
    listed = (build / "tests.list").read_text().split()
    return sorted((pathlib.Path(path) for path in listed), key=lambda path: path.name)


def pytest_folders(e2e):
    folders = [ROOT / "tools/tests", ROOT / "sdk/python/tests"]
    if e2e:
        folders += [ROOT / "tests/e2e", ROOT / "tests/interop", ROOT / "tests/parity", ROOT / "tests/arch", ROOT / "tests/docs"]
    return [folder for folder in folders if any(folder.rglob("test_*.py"))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda text: pathlib.Path(text).resolve(), default=ROOT / "build/release")
    parser.add_argument("-k", help="only tests whose name has this text")
    parser.add_argument("--no-e2e", action="store_true", help="leave out what needs the whole product built")
    parser.add_argument("--no-pytest", action="store_true", help="only the C++ tests")
    options = parser.parse_args()
    (options.build / "tests").mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"SHUNT_BUILD": str(options.build), "PYTHONDONTWRITEBYTECODE": "1"}

    total = Outcome()
    suites = [(binary.name, run_gtest, binary) for binary in test_binaries(options.build)]
    if not options.no_pytest:
        folders = pytest_folders(not options.no_e2e) if not options.no_e2e else [ROOT / "tools/tests"]
        suites += [(str(folder.relative_to(ROOT)), run_pytest, folder) for folder in folders if folder.exists()]
    for name, run, what in suites:
        started = time.monotonic()
        print(f"{name} ...", end="", flush=True)
        outcome = run(what, options, environment)
        total.add(outcome)
        skipped = f", {outcome.skipped} skipped" if outcome.skipped else ""
        failed = f", {len(outcome.failures)} FAILED" if outcome.failures else ""
        print(f" {outcome.passed} passed{failed}{skipped} ({time.monotonic() - started:.1f} s)", flush=True)

    for name, output in total.failures:
        print(f"\n--- FAILED {name}\n{output.rstrip()}")
    if total.failures:
        print("\nfailed:")
        for name, _ in total.failures:
            print(f"  {name}")
        print(f"\nEach suite's whole output is in {options.build.relative_to(ROOT)}/tests/.")
    if not total.passed and not total.failures:
        total.failures.append(("no test ran", ""))
    skipped = f", {total.skipped} skipped" if total.skipped else ""
    print(f"\n{total.passed} passed, {len(total.failures)} failed{skipped}")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
