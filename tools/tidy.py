#!/usr/bin/env python3
"""The house rules that a machine can check. Each finding says where, what, and how to mend it.

    tools/tidy.py [--root DIR] [--only NAME...] [--list]

A line that has to break a banned-words rule says so and why, on itself or the line above:  // tidy: allow(sleep) because ...
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent
CODE_FOLDERS = ("src", "sdk", "tests", "bench", "examples")
CODE_SUFFIXES = {".h", ".cpp", ".c"}
LINES_WARN = 1000

# Which rooms may include a third-party header: the longest prefix that fits decides. A room is a folder of src/, or
# another folder by its path. "*" is everybody. A dependency hides in one room; nlohmann::json and {fmt} are values that
# several use, in .cpp files only.
THIRD_PARTY = {
    "boost/": ["net"],
    "rapidjson/": ["manifest"],
    "CLI/": ["cli"],
    "nlohmann/": ["*"],
    "fmt/": ["*"],
    "gtest/": ["*"],
    "gmock/": ["*"],
    "benchmark/": ["*"],
    "Python.h": ["sdk/python"],
    "nghttp2/": ["net"],
    "openssl/": ["net"],
    "zlib.h": ["net"],
    "zstd": ["net"],
    "google/protobuf/": ["schema"],
    "re2/": ["schema"],
    "sqlite3.h": ["store"],
    "zmq": ["driver", "bench"],
    "sodium": ["module"],
    "spdlog/": [],
    "simdjson": ["schema"],
}
# Headers that would burden everyone who includes ours.
HEAVY_IN_HEADERS = ("boost/", "rapidjson/", "nlohmann/", "CLI/", "fmt/", "google/protobuf/", "openssl/", "Python.h", "nghttp2/", "iostream", "regex")


@dataclass(order=True)
class Finding:
    place: str
    what: str
    fix: str = ""
    warning: bool = False

    def __str__(self):
        kind = "warning" if self.warning else "error"
        return f"{self.place}: {kind}: {self.what}" + (f"\n    fix: {self.fix}" if self.fix else "")


class Tree:
    """The files under a root, each read once."""

    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()
        self._texts = {}
        self.files = sorted(
            path
            for folder in CODE_FOLDERS
            for path in self._walk(self.root / folder)
        )
        self.code = [path for path in self.files if path.suffix in CODE_SUFFIXES]

    def _walk(self, folder):
        for base, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if name not in ("build", "__pycache__", ".venv", "node_modules", "corpus") and
                          not (name == "templates" and base.endswith("cli"))]
            yield from (pathlib.Path(base) / name for name in names)

    def text(self, path):
        if path not in self._texts:
            self._texts[path] = path.read_text(errors="replace")
        return self._texts[path]

    def name(self, path):
        return path.relative_to(self.root).as_posix()

    def room(self, path):
        """`call` for src/call/link.h, `sdk/python` for sdk/python/extension/_shunt.cpp."""
        parts = path.relative_to(self.root).parts
        if parts[0] == "src":
            return parts[1] if len(parts) > 2 else "src"
        return "/".join(parts[:2]) if parts[0] == "sdk" else parts[0]

    def includes(self, path):
        """(line number, header, is it in quotes) of each #include."""
        for number, line in enumerate(self.text(path).splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', line)
            if match:
                yield number, match[1] or match[2], match[1] is not None


def is_test(path):
    return re.search(r"_(test|fuzz|bench)\.\w+$", path.name) is not None or "tests" in path.parts


# --- Rooms -------------------------------------------------------------------------------------------------------------


def read_floors(tree):
    """room -> floor number, and the order of the rooms, from the list in CMakeLists.txt."""
    text = tree.text(tree.root / "CMakeLists.txt")
    block = re.search(r"set\(SHUNT_ROOMS(.*?)^\s*(?:\w+\s+)*\w*\)\s*(?:#.*)?$", text, re.S | re.M)
    floors, order = {}, []
    if not block:
        return floors, order
    for line in block[0].splitlines():
        match = re.match(r"\s*(?:set\(SHUNT_ROOMS)?\s*([a-z_ ]*)\)?\s*#\s*F(\d)", line)
        if match:
            for room in match[1].split():
                floors[room] = int(match[2])
                order.append(room)
    return floors, order


def read_uses(tree, room):
    """(USES, TEST_USES) of the room's shunt_room(), or None where it has none."""
    path = tree.root / "src" / room / "CMakeLists.txt"
    if not path.exists():
        return None
    text = re.sub(r"#.*", "", path.read_text())
    match = re.search(r"shunt_room\(\s*%s\b([^)]*)\)" % re.escape(room.replace("/", "_")), text)
    if not match:
        return None
    lists, current = {"USES": [], "TEST_USES": []}, None
    for word in match[1].split():
        if re.fullmatch(r"[A-Z_]+", word):
            current = lists.get(word)
        elif current is not None:
            current.append(word)
    return lists["USES"], lists["TEST_USES"]


def nested_uses(tree, path):
    """What a folder of a room may include beyond the room's own, where it is a target of its own (src/link/grpc)."""
    room, folder = path.relative_to(tree.root).parts[1:3]
    cmake = tree.root / "src" / room / folder / "CMakeLists.txt"
    if not cmake.exists():
        return []
    found = read_uses(tree, f"{room}/{folder}")
    return found[0] if found else []


def check_rooms(tree):
    """Rooms include only what their CMakeLists.txt says they use, and that is on floors below."""
    floors, order = read_floors(tree)
    if not floors:
        return [Finding("CMakeLists.txt:1", "the list SHUNT_ROOMS with its floors (# F1) is not to be found", "Restore its form.")]
    findings = []
    top = max(floors.values()) - 2  # F5: the floor whose rooms never see each other.
    rooms = sorted({tree.room(path) for path in tree.code if path.relative_to(tree.root).parts[0] == "src"} - {"src"})
    for room in rooms:
        cmake = f"src/{room}/CMakeLists.txt:1"
        if room not in floors:
            findings.append(Finding(cmake, f"room '{room}' is on no floor", "Add it to SHUNT_ROOMS in CMakeLists.txt."))
            continue
        declared = read_uses(tree, room)
        if declared is None:
            findings.append(Finding(cmake, f"room '{room}' has no shunt_room({room} USES ...)", "Write one: it says what the room may include."))
            continue
        uses, test_uses = declared
        for used in uses:
            if used not in floors:
                findings.append(Finding(cmake, f"'{room}' USES '{used}', which is no room", f"There are: {' '.join(order)}."))
            elif floors[used] == floors[room] == top:
                findings.append(Finding(cmake, f"'{room}' and '{used}' are both on floor F{top}, whose rooms never see each other",
                                        "Let them meet at an interface in call/, wired by node/."))
            elif floors[used] > floors[room] or order.index(used) >= order.index(room):
                findings.append(Finding(cmake, f"'{room}' (F{floors[room]}) USES '{used}' (F{floors[used]}), which is not below it",
                                        "Move what is shared to a lower floor."))
        for path in tree.code:
            if path.relative_to(tree.root).parts[0] != "src" or tree.room(path) != room:
                continue
            allowed = {room, "shunt", *uses, *nested_uses(tree, path), *(test_uses if is_test(path) else [])}
            for number, header, quoted in tree.includes(path):
                first = header.split("/")[0]
                place = f"{tree.name(path)}:{number}"
                if quoted and "/" not in header:
                    findings.append(Finding(place, f'#include "{header}" does not say its room', f'Write #include "{room}/{header}".'))
                elif first in floors and first not in allowed:
                    findings.append(Finding(place, f"room '{room}' includes \"{header}\" but does not USE '{first}'",
                                            f"Add it to USES in src/{room}/CMakeLists.txt if its floor allows it, else meet at an interface below."))
    return findings


def check_public_headers(tree):
    """What users include needs nothing of ours but what users have: <shunt/...> and the standard library."""
    findings = []
    for path in tree.code:
        name = tree.name(path)
        if not re.match(r"sdk/\w+/include/", name):
            continue
        for number, header, quoted in tree.includes(path):
            if "/" in header and not header.startswith(("shunt/", "sys/")):
                findings.append(Finding(f"{name}:{number}", f"a public header includes {header}", "Users don't have it: do without."))
    return findings


def check_third_party(tree):
    """A third-party header appears in one room only, and never in our headers when it is heavy."""
    findings = []
    for path in tree.code:
        room = tree.room(path)
        in_src_header = path.suffix == ".h" and path.relative_to(tree.root).parts[0] in ("src", "sdk") and not is_test(path)
        for number, header, _ in tree.includes(path):
            place = f"{tree.name(path)}:{number}"
            known = max((prefix for prefix in THIRD_PARTY if header.startswith(prefix)), key=len, default=None)
            if known is not None:
                rooms = THIRD_PARTY[known]
                if "*" not in rooms and room not in rooms and not (is_test(path) and path.relative_to(tree.root).parts[0] == "tests"):
                    findings.append(Finding(place, f"<{header}> belongs to {' '.join(rooms) or 'no room'}, not to {room}",
                                            "Ask that room for what you need; or change the table in tools/tidy.py, with a page in docs/decisions/."))
            if in_src_header and any(header == heavy or (heavy.endswith("/") and header.startswith(heavy)) for heavy in HEAVY_IN_HEADERS):
                findings.append(Finding(place, f"our headers don't include <{header}>", "Include it in the .cpp; declare, or hide it behind a pointer."))
    return findings


# --- Words -------------------------------------------------------------------------------------------------------------


def strip_code(text):
    """The text with comments and literals blanked, lines kept. Good enough for banned words."""
    pattern = re.compile(r'R"([^(\s]*)\(.*?\)\1"|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)

    def blank(match):
        return re.sub(r"[^\n]", " ", match[0])

    return pattern.sub(blank, text)


@dataclass
class Ban:
    name: str
    pattern: str
    what: str
    fix: str
    where: object = lambda path: True
    in_comments: bool = False


BANS = [
    Ban("format", r"\bstd::(v?format(_to|_to_n|ted_size)?|print(ln)?)\s*\(|#\s*include\s*<format>|#\s*include\s*<print>", "std::format is not in this standard library", "Use {fmt}, in a .cpp file."),
    Ban("sleep", r"\bthis_thread::sleep_(for|until)\b|\b(u|nano)sleep\s*\(|(?<!\w)::sleep\s*\(", "a test sleeps", "Wait for what you mean: a Flag, a condition, a file descriptor, the simulated clock.", lambda path: path.suffix != ".py" and is_test(path)),
    Ban("rand", r"\b(s?rand|random|drand48)\s*\(\s*\)|\bsrand\s*\(|\bstd::(rand|mt19937|random_device)\b", "randomness comes by constructor", "Take a shunt::Random&.", lambda path: not is_test(path) and "bench" not in path.parts),
    Ban("strcpy", r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok)\s*\(", "an unbounded or stateful C function", "Use std::string, {fmt}, or the function's bounded form."),
    Ban("regex", r"\bstd::(basic_)?regex\b|#\s*include\s*<regex>", "std::regex crashes on hostile patterns", "Write the few lines, or use RE2 in schema/."),
    Ban("using-namespace", r"^\s*using\s+namespace\b", "a header says `using namespace`", "Name what you need.", lambda path: path.suffix == ".h"),
    Ban("detach", r"\.\s*detach\s*\(\s*\)", "nothing is detached here", "Join the thread, or give the task to a Scope."),
    Ban("endl", r"\bstd::endl\b", "std::endl flushes", "Write '\\n'."),
    Ban("pragma", r"^\s*#\s*ifndef\s+\w+_(H|H_|HPP)\s*$", "an include guard", "Use #pragma once.", lambda path: path.suffix == ".h" and "sdk" not in path.parts),
    Ban("todo", r"\b(TODO\(now\)|FIXME\b|XXX\b|HACK\b)", "work left undone", "Do it now, or write TODO(soon), TODO(perf) or TODO(security).", in_comments=True),
    Ban("todo-kind", r"\bTODO\b(?!\((now|soon|perf|security)\))", "a TODO without its kind", "Write TODO(soon), TODO(perf) or TODO(security).", in_comments=True),
]


def check_words(tree):
    """Banned words, each with its replacement."""
    findings = []
    for path in tree.code:
        text = tree.text(path)
        bare = strip_code(text).splitlines()
        lines = text.splitlines()
        for ban in BANS:
            if not ban.where(path):
                continue
            for index, line in enumerate(lines if ban.in_comments else bare):
                # Strings are blanked in `bare`, and <format> is none.
                if not re.search(ban.pattern, line):
                    continue
                allow = f"tidy: allow({ban.name})"
                if allow in lines[index] or (index > 0 and allow in lines[index - 1]):
                    continue
                findings.append(Finding(f"{tree.name(path)}:{index + 1}", f"{ban.what}: {lines[index].strip()[:80]}", ban.fix))
        if len(lines) > LINES_WARN:
            findings.append(Finding(f"{tree.name(path)}:1", f"{len(lines)} lines: a file is read in one sitting", "Split it by what changes together.", warning=True))
    return findings


def check_headers_open(tree):
    """A header of src/ opens with #pragma once and a comment that says what it is."""
    findings = []
    for path in tree.code:
        if path.suffix != ".h" or tree.name(path).split("/")[0] != "src":
            continue
        lines = tree.text(path).splitlines()
        if not lines or lines[0].strip() != "#pragma once":
            findings.append(Finding(f"{tree.name(path)}:1", "the first line is not #pragma once", "Put it there."))
        elif len(lines) < 2 or not lines[1].startswith("//"):
            findings.append(Finding(f"{tree.name(path)}:2", "the header does not open with a comment", "Say what it is, why, and what it does not know."))
    return findings


# --- Errors ------------------------------------------------------------------------------------------------------------

CODES = {"cancelled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists", "permission_denied",
         "resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented", "internal", "unavailable",
         "data_loss", "unauthenticated"}


def check_errors(tree):
    """Every error id in the code stands in spec/errors.json, whole, and every one there is used."""
    path = tree.root / "spec" / "errors.json"
    place = "spec/errors.json"

    def unique(pairs):
        keys = [key for key, _ in pairs]
        for key in sorted({key for key in keys if keys.count(key) > 1}):
            findings.append(Finding(f"{place}:1", f"key {key} stands there twice", "Give the newer one another number."))
        return dict(pairs)

    findings = []
    try:
        text = path.read_text()
        errors = json.loads(text, object_pairs_hook=unique)["errors"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return findings + [Finding(f"{place}:1", f"can't be read: {error}", "It is {\"errors\": {ID: {title, code, text, fix}}}.")]
    if not isinstance(errors, dict):
        return findings + [Finding(f"{place}:1", "\"errors\" is not an object", "It is {ID: {title, code, text, fix}}.")]
    lines = {match[1]: text.count("\n", 0, match.start()) + 1 for match in re.finditer(r'"(S\d+)"\s*:', text)}
    for key, entry in errors.items():
        at = f"{place}:{lines.get(key, 1)}"
        if not re.fullmatch(r"S[1-5]\d{3}", key):
            findings.append(Finding(at, f"'{key}' is not an id", "S1 calls, S2 manifests, S3 hosting, S4 gateway, S5 command line and node; then three digits."))
        if not isinstance(entry, dict):
            findings.append(Finding(at, f"{key} is not an object", "It has title, code, text and fix."))
            continue
        missing = [name for name in ("title", "code", "text", "fix") if not isinstance(entry.get(name), str) or not entry[name].strip()]
        extra = sorted(set(entry) - {"title", "code", "text", "fix"})
        if missing:
            findings.append(Finding(at, f"{key} has no {', '.join(missing)}", "Say what happened and what to do."))
        if extra:
            findings.append(Finding(at, f"{key} has unknown keys: {', '.join(extra)}", "It has title, code, text and fix."))
        if isinstance(entry.get("code"), str) and entry["code"] and entry["code"] not in CODES:
            findings.append(Finding(at, f"{key}: there is no code '{entry['code']}'", f"There are: {' '.join(sorted(CODES))}."))
    used = {}
    sources = [path for path in tree.files if path.suffix in CODE_SUFFIXES | {".py"} and tree.name(path).split("/")[0] in ("src", "sdk") and not is_test(path)]
    for path in sources:
        for match in re.finditer(r"""["'](S[1-5]\d{3})["']""", tree.text(path)):
            used.setdefault(match[1], f"{tree.name(path)}:{tree.text(path).count(chr(10), 0, match.start()) + 1}")
    for key in sorted(set(used) - set(errors)):
        findings.append(Finding(used[key], f"error {key} is not in spec/errors.json", "Add it: title, code, text, fix."))
    for key in sorted(set(errors) - set(used)):
        findings.append(Finding(f"{place}:{lines.get(key, 1)}", f"no code uses error {key}", "Remove it, or use it."))
    return findings


def check_json(tree):
    """The JSON files of the contract can be read."""
    findings = []
    for path in sorted((tree.root / "spec").rglob("*.json")) if (tree.root / "spec").exists() else []:
        try:
            json.loads(path.read_text())
        except ValueError as error:
            findings.append(Finding(f"{path.relative_to(tree.root)}:{getattr(error, 'lineno', 1)}", f"is not JSON: {error}", "Mend it."))
    return findings


# --- Tools -------------------------------------------------------------------------------------------------------------


def jobs():
    return max(1, len(os.sched_getaffinity(0)))


def closure(tree, header, seen):
    """The header and every one of ours that it includes, for the key of the cache."""
    if header in seen:
        return seen
    seen.add(header)
    for _, name, _ in tree.includes(header):
        for folder in ("src", "sdk/c/include", "sdk/cpp/include"):
            path = tree.root / folder / name
            if path.is_file():
                closure(tree, path, seen)
    return seen


COMPILE = ["clang++-19", "-fsyntax-only", "-std=c++23", "-Wall", "-Wextra", "-Werror", "-Wno-pragma-once-outside-header", "-x", "c++"]


def compile_alone(tree, header, cache):
    paths = sorted(closure(tree, header, set()))
    digest = hashlib.sha256("\0".join(COMPILE).encode())
    for path in paths:
        digest.update(tree.name(path).encode() + b"\0" + tree.text(path).encode() + b"\0")
    mark = cache / digest.hexdigest()
    if mark.exists():
        return None
    include = [f"-I{tree.root / folder}" for folder in ("src", "sdk/c/include", "sdk/cpp/include")]
    done = subprocess.run([*COMPILE, *include, str(header)], capture_output=True, text=True, cwd=tree.root)
    if done.returncode == 0:
        mark.touch()
        return None
    first = next((line for line in done.stderr.splitlines() if "error:" in line), done.stderr.strip()[:200])
    return Finding(f"{tree.name(header)}:1", f"does not compile alone: {first}", "Include what it uses.")


def check_headers_alone(tree):
    """Every header of ours compiles on its own."""
    cache = tree.root / "build" / "tidy"
    cache.mkdir(parents=True, exist_ok=True)
    headers = [path for path in tree.code if path.suffix == ".h" and tree.name(path).split("/")[0] in ("src", "sdk")]
    with concurrent.futures.ThreadPoolExecutor(jobs()) as pool:
        return [finding for finding in pool.map(lambda header: compile_alone(tree, header, cache), headers) if finding]


def check_format(tree):
    """clang-format has nothing to change."""
    if not tree.code:
        return []

    def run(paths):
        return subprocess.run(["clang-format-19", "--dry-run", "--ferror-limit=1", *map(str, paths)], capture_output=True, text=True, cwd=tree.root).stderr

    size = max(1, -(-len(tree.code) // (4 * jobs())))
    slices = [tree.code[at:at + size] for at in range(0, len(tree.code), size)]
    findings, seen = [], set()
    with concurrent.futures.ThreadPoolExecutor(jobs()) as pool:
        for output in pool.map(run, slices):
            for match in re.finditer(r"^(.+?):(\d+):\d+: (?:error|warning): code should be clang-formatted", output, re.M):
                name = os.path.relpath(match[1], tree.root)
                if name not in seen:
                    seen.add(name)
                    findings.append(Finding(f"{name}:{match[2]}", "is not formatted", f"./dev fmt, or: clang-format-19 -i {name}"))
            if "rror" in output and not findings and "clang-formatted" not in output:
                findings.append(Finding(".clang-format:1", output.strip()[:300], "Mend it."))
    return findings


CHECKS = {
    "rooms": check_rooms,
    "public-headers": check_public_headers,
    "third-party": check_third_party,
    "words": check_words,
    "headers-open": check_headers_open,
    "errors": check_errors,
    "json": check_json,
    "headers-alone": check_headers_alone,
    "format": check_format,
}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=ROOT, help="the tree to check")
    parser.add_argument("--only", action="append", choices=CHECKS, help="only this check; may be given several times")
    parser.add_argument("--list", action="store_true", help="list the checks")
    options = parser.parse_args(arguments)
    if options.list:
        for name, check in CHECKS.items():
            print(f"{name:<16}{check.__doc__.strip()}")
        return 0
    tree = Tree(options.root)
    findings = []
    for name in options.only or CHECKS:
        findings += CHECKS[name](tree)
    findings.sort(key=lambda finding: (finding.warning, finding.place))
    for finding in findings:
        print(finding)
    errors = sum(not finding.warning for finding in findings)
    warnings = len(findings) - errors
    print(f"tidy: {len(tree.code)} files, {errors} errors" + (f", {warnings} warnings" if warnings else ""))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
