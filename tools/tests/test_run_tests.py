"""tools/run_tests.py with stand-ins for test executables: what it counts, and what it says of those that crash."""

import argparse
import os
import pathlib
import stat
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import run_tests

REPORT = """<testsuites><testsuite>
<testcase name="a" classname="S" status="run" result="completed"/>
<testcase name="b" classname="S" status="run" result="completed"><failure message="b is wrong"/></testcase>
<testcase name="c" classname="S" status="run" result="skipped"><skipped message="no"/></testcase>
<testcase name="d" classname="S" status="notrun" result="suppressed"/>
</testsuite></testsuites>"""


@pytest.fixture
def run(tmp_path):
    def make(body):
        path = tmp_path / "test_thing"
        path.write_text(f"#!{sys.executable}\nimport os, sys\nreport = [a for a in sys.argv if 'xml:' in a][0].split('xml:')[1]\n{body}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        (tmp_path / "tests").mkdir(exist_ok=True)
        return run_tests.run_gtest(path, argparse.Namespace(build=tmp_path, k=None), dict(os.environ))

    return make


def test_cases_are_counted_one_by_one(run):
    outcome = run(f"print('[ RUN      ] S.b\\nwhy\\n[  FAILED  ] S.b (0 ms)')\nopen(report, 'w').write('''{REPORT}''')\nsys.exit(1)\n")
    assert (outcome.passed, outcome.skipped) == (1, 1)
    assert [name for name, _ in outcome.failures] == ["test_thing: S.b"]
    assert "why" in outcome.failures[0][1]


def test_a_crash_is_a_failure_of_the_test_it_was_in(run):
    outcome = run("print('[ RUN      ] S.a\\n[       OK ] S.a (0 ms)\\n[ RUN      ] S.b\\nlast words', flush=True)\nos.abort()\n")
    assert outcome.passed == 1
    assert outcome.failures == [("test_thing: S.b: killed by SIGABRT", "last words")]


def test_a_failure_after_all_tests_is_a_failure(run):
    good = REPORT.replace('<failure message="b is wrong"/>', "")
    outcome = run(f"open(report, 'w').write('''{good}''')\nprint('leak')\nsys.exit(23)\n")
    assert outcome.passed == 2
    assert outcome.failures == [("test_thing: after its tests: exit code 23", "leak\n")]


def test_an_executable_that_is_not_there_is_a_failure(tmp_path):
    outcome = run_tests.run_gtest(tmp_path / "test_none", argparse.Namespace(build=tmp_path, k=None), {})
    assert outcome.failures[0][0] == "test_none: was not built"
