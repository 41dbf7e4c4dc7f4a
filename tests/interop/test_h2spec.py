"""h2spec: what RFC 7540 and 7541 demand of a server, case by case."""

import subprocess
import xml.etree.ElementTree as xml

import pytest

import harness

# RFC 9113 took back, or left open, what these ask for.
NOT_ASKED = {}


@pytest.fixture(scope="module")
def cases(node, go_folder, tmp_path_factory):
    host, port = node.address
    report = tmp_path_factory.mktemp("h2spec") / "report.xml"
    done = subprocess.run([str(go_folder / "h2spec"), "-h", host, "-p", str(port), "-P", "/livez", "-o", "5", "-j", str(report), "http2", "generic", "hpack"],
                          capture_output=True, timeout=5 * harness.PATIENCE, check=False)
    assert report.exists(), done.stdout.decode() + done.stderr.decode()
    return [case for case in xml.parse(report).getroot().iter("testcase")]


def text(case):
    return f"{case.get('package')}: {case.get('classname')}: {'; '.join(''.join(part.itertext()) for part in case if part.tag in ('failure', 'error'))}"


def test_every_case_passes(cases):
    failed = [text(case) for case in cases if case.find("failure") is not None or case.find("error") is not None]
    failed = [told for told in failed if not any(told.startswith(known) for known in NOT_ASKED)]
    assert not failed, "\n".join(failed)


def test_all_of_them_ran(cases):
    assert sum(case.find("skipped") is None for case in cases) > 130


def test_the_node_is_well_after_it(node, cases):
    assert node.get("/readyz").status == 200
