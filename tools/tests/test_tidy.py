"""Each check of tools/tidy.py on a small tree: what it must find, and what it must let pass."""

import json
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import tidy

CMAKE = """
set(SHUNT_ROOMS
    base             # F1
    wire os          # F2
    call             # F4
    link pool        # F5
    node             # F6
    cli)             # F7
"""

ENTRY = {"title": "t", "code": "not_found", "text": "x.", "fix": "y."}


@pytest.fixture
def tree(tmp_path):
    def make(files, uses=None, errors=None):
        (tmp_path / "CMakeLists.txt").write_text(CMAKE)
        for room, words in (uses or {}).items():
            files.setdefault(f"src/{room}/CMakeLists.txt", f"shunt_room({room} {words})\n")
        files.setdefault("spec/errors.json", json.dumps({"errors": errors or {}}))
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tidy.Tree(tmp_path)

    return make


def places(findings):
    return [finding.place for finding in findings]


def test_a_room_may_include_itself_and_what_it_uses(tree):
    built = tree({"src/wire/a.h": '#include "base/b.h"\n#include "wire/c.h"\n#include <vector>\n'}, uses={"wire": "USES base LIBRARIES x"})
    assert tidy.check_rooms(built) == []


def test_a_room_that_is_not_used_is_found_with_its_line(tree):
    findings = tidy.check_rooms(tree({"src/wire/a.h": '#pragma once\n#include "os/b.h"\n'}, uses={"wire": "USES base"}))
    assert places(findings) == ["src/wire/a.h:2"]
    assert "does not USE 'os'" in findings[0].what


def test_a_room_may_not_use_a_floor_above(tree):
    findings = tidy.check_rooms(tree({"src/wire/a.h": ""}, uses={"wire": "USES call"}))
    assert "which is not below it" in findings[0].what


def test_rooms_of_floor_five_never_use_each_other(tree):
    findings = tidy.check_rooms(tree({"src/pool/a.h": '#include "link/b.h"\n'}, uses={"pool": "USES link"}))
    assert "whose rooms never see each other" in findings[0].what


def test_tests_may_use_more_when_their_room_says_so(tree):
    text = '#include "link/b.h"\n'
    built = tree({"src/pool/a_test.cpp": text, "src/pool/a.cpp": text}, uses={"pool": "USES base TEST_USES link"})
    assert places(tidy.check_rooms(built)) == ["src/pool/a.cpp:1"]


def test_an_include_says_its_room(tree):
    findings = tidy.check_rooms(tree({"src/wire/a.h": '#include "b.h"\n'}, uses={"wire": "USES base"}))
    assert findings[0].fix == 'Write #include "wire/b.h".'


def test_a_room_without_floor_or_cmake_is_found(tree):
    findings = tidy.check_rooms(tree({"src/attic/a.h": "", "src/os/a.h": ""}))
    assert [finding.place for finding in findings] == ["src/attic/CMakeLists.txt:1", "src/os/CMakeLists.txt:1"]


def test_a_third_party_header_stays_in_its_room(tree):
    built = tree({"src/call/a.cpp": "#include <boost/beast/http.hpp>\n", "src/net/a.cpp": "#include <boost/beast/http.hpp>\n"})
    assert places(tidy.check_third_party(built)) == ["src/call/a.cpp:1"]


def test_heavy_headers_stay_out_of_ours(tree):
    built = tree({"src/cli/a.h": "#include <nlohmann/json.hpp>\n", "src/cli/a.cpp": "#include <nlohmann/json.hpp>\n"})
    assert places(tidy.check_third_party(built)) == ["src/cli/a.h:1"]


def test_public_headers_need_only_the_standard_library(tree):
    built = tree({"sdk/cpp/include/shunt/a.h": '#include <vector>\n#include <shunt/b.h>\n#include "base/c.h"\n'})
    assert places(tidy.check_public_headers(built)) == ["sdk/cpp/include/shunt/a.h:3"]


@pytest.mark.parametrize("name, line", [
    ("src/wire/a.cpp", "auto s = std::format(\"{}\", 1);"),
    ("src/wire/a.cpp", "#include <format>"),
    ("src/wire/a_test.cpp", "std::this_thread::sleep_for(1s);"),
    ("tests/e2e/a.cpp", "usleep(10);"),
    ("src/wire/a.cpp", "int r = rand();"),
    ("src/wire/a.cpp", "strcpy(a, b);"),
    ("src/wire/a.h", "using namespace std;"),
    ("src/wire/a.cpp", "thread.detach();"),
    ("src/wire/a.cpp", "std::regex pattern;"),
    ("src/wire/a.cpp", "// TODO: later"),
    ("src/wire/a.cpp", "// TODO(soon): later\n// TODO(now): this"),
])
def test_banned_words_are_found(tree, name, line):
    findings = tidy.check_words(tree({name: line + "\n"}))
    assert findings and all(finding.fix for finding in findings)


@pytest.mark.parametrize("name, line", [
    ("src/wire/a.cpp", "// We do not use std::format( here, nor strcpy(."),
    ("src/wire/a.cpp", 'log("rand() strcpy( std::regex");'),
    ("src/wire/a.cpp", 'auto text = R"(thread.detach())";'),
    ("src/wire/a.cpp", "std::this_thread::sleep_for(1s);"),
    ("src/wire/a.cpp", "using namespace std;"),
    ("src/wire/a.cpp", "auto left = operand();"),
    ("src/wire/a.cpp", "// TODO(perf): a faster way"),
    ("src/wire/a_test.cpp", "::usleep(1);  // tidy: allow(sleep) because the kernel offers nothing to wait for"),
    ("src/wire/a_test.cpp", "co_await loop::sleep_for(rig.loop(), 5ms);"),
    ("src/wire/a_test.cpp", "// tidy: allow(sleep) because of this\n::usleep(1);"),
])
def test_what_only_looks_banned_passes(tree, name, line):
    assert tidy.check_words(tree({name: line + "\n"})) == []


def test_a_long_file_is_a_warning_only(tree):
    findings = tidy.check_words(tree({"src/wire/a.cpp": "int x;\n" * 1001}))
    assert [finding.warning for finding in findings] == [True]


def test_a_header_opens_with_pragma_once_and_what_it_is(tree):
    built = tree({"src/wire/a.h": "int x;\n", "src/wire/b.h": "#pragma once\nint x;\n", "src/wire/c.h": "#pragma once\n// What it is.\n"})
    assert places(tidy.check_headers_open(built)) == ["src/wire/a.h:1", "src/wire/b.h:2"]


def test_error_ids_of_code_and_spec_agree(tree):
    built = tree({"src/wire/a.cpp": 'fail("S1001");\nfail("S1002");\n', "src/wire/a_test.cpp": 'expect("S1999");\n'},
                 errors={"S1001": ENTRY, "S1003": ENTRY})
    findings = tidy.check_errors(built)
    assert sorted(finding.what for finding in findings) == ["error S1002 is not in spec/errors.json", "no code uses error S1003"]
    assert "src/wire/a.cpp:2" in places(findings)


def test_error_entries_are_whole(tree):
    code = "".join(f'"{key}" ' for key in ("S1001", "S1002", "S1003", "S1004"))
    built = tree({"src/wire/a.cpp": code}, errors={"S1001": {**ENTRY, "fix": " "}, "S1002": {**ENTRY, "code": "broken"},
                                                   "S1003": {**ENTRY, "more": 1}, "S1004": []})
    assert [finding.what for finding in tidy.check_errors(built)] == [
        "S1001 has no fix", "S1002: there is no code 'broken'", "S1003 has unknown keys: more", "S1004 is not an object"]


def test_an_error_id_that_stands_twice_is_found(tree):
    entry = json.dumps(ENTRY)
    built = tree({"src/wire/a.cpp": '"S1001"', "spec/errors.json": f'{{"errors": {{"S1001": {entry}, "S1001": {entry}}}}}'})
    assert [finding.what for finding in tidy.check_errors(built)] == ["key S1001 stands there twice"]


def test_a_broken_spec_is_a_finding_not_a_traceback(tree):
    for text in ("", "[]", "{", '{"errors": 3}'):
        assert tidy.check_errors(tree({"spec/errors.json": text})), text


@pytest.mark.skipif(shutil.which("clang++-19") is None, reason="needs clang++-19")
def test_a_header_that_does_not_compile_alone_is_found_once_mended_it_passes(tree, tmp_path):
    built = tree({"src/wire/a.h": "#pragma once\ninline std::string f() { return {}; }\n", "src/wire/b.h": "#pragma once\n#include <string>\n"})
    findings = tidy.check_headers_alone(built)
    assert places(findings) == ["src/wire/a.h:1"]
    (tmp_path / "src/wire/a.h").write_text("#pragma once\n#include <string>\ninline std::string f() { return {}; }\n")
    assert tidy.check_headers_alone(tidy.Tree(tmp_path)) == []


@pytest.mark.skipif(shutil.which("clang++-19") is None, reason="needs clang++-19")
def test_the_cache_sees_a_change_in_an_included_header(tree, tmp_path):
    files = {"src/wire/a.h": '#pragma once\n#include "wire/b.h"\ninline int f() { return value; }\n', "src/wire/b.h": "#pragma once\ninline int value = 1;\n"}
    assert tidy.check_headers_alone(tree(files)) == []
    (tmp_path / "src/wire/b.h").write_text("#pragma once\n")
    assert places(tidy.check_headers_alone(tidy.Tree(tmp_path))) == ["src/wire/a.h:1"]


@pytest.mark.skipif(shutil.which("clang-format-19") is None, reason="needs clang-format-19")
def test_an_unformatted_file_is_found(tree, tmp_path):
    (tmp_path / ".clang-format").write_text("BasedOnStyle: Google\n")
    built = tree({"src/wire/a.cpp": "int   x;\n", "src/wire/b.cpp": "int x;\n"})
    assert places(tidy.check_format(built)) == ["src/wire/a.cpp:1"]


def test_the_command_tells_how_many(tree, tmp_path, capsys):
    tree({"src/wire/a.cpp": "strcpy(a, b);\n"})
    assert tidy.main(["--root", str(tmp_path), "--only", "words"]) == 1
    out = capsys.readouterr().out
    assert "src/wire/a.cpp:1: error: an unbounded" in out and "    fix: " in out and "1 files, 1 errors" in out
