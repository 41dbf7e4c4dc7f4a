#!/usr/bin/env python3
"""Runs clang-tidy on the C and C++ that changed since a commit, committed or not.

    tools/lint.py [COMMIT] [--all] [--list]

COMMIT defaults to the one before HEAD. A changed header is read through the .cpp files beside it, or else through one that
includes it. Files are judged by .clang-tidy; a line that has to differ says `// NOLINT(check): why`.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("SHUNT_BUILD", ROOT / "build" / "release"))
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"./dev lint: git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def is_commit(name):
    return subprocess.run(["git", "rev-parse", "--verify", "--quiet", name + "^{commit}"], cwd=ROOT, capture_output=True).returncode == 0


def start_commit(given):
    if given is None:
        return "HEAD~1" if is_commit("HEAD~1") else EMPTY_TREE
    if not is_commit(given):
        sys.exit(f"./dev lint: there is no commit '{given}'. Type for example: ./dev lint HEAD~3, or a hash, a branch, a tag")
    return given


def changed_files(commit):
    names = git("diff", "--name-only", "--diff-filter=d", commit).split("\n")
    names += git("ls-files", "--others", "--exclude-standard").split("\n")
    return sorted({name for name in names if name.endswith((".h", ".cpp", ".c")) and (ROOT / name).exists()})


def compiled_files():
    path = BUILD / "compile_commands.json"
    return {os.path.relpath(entry["file"], ROOT) for entry in json.loads(path.read_text())}


def sources_of(header, compiled):
    """The .cpp files through which a header is read: those beside it of its name, else the first that includes it."""
    stem = pathlib.Path(header).with_suffix("")
    beside = [str(path) for path in (stem.with_suffix(".cpp"), stem.with_name(stem.name + "_test.cpp")) if str(path) in compiled]
    if beside:
        return beside[:1]
    spelled = re.sub(r"^(src|sdk/\w+/include|sdk/\w+)/", "", header)
    pattern = re.compile(r'#\s*include\s+["<]%s[">]' % re.escape(spelled))
    for source in sorted(compiled, key=lambda name: (not name.startswith(str(stem.parent)), name)):
        if (ROOT / source).exists() and pattern.search((ROOT / source).read_text(errors="replace")):
            return [source]
    return []


def generated_headers():
    """protoc's: they have to be there to be read."""
    done = subprocess.run(["ninja", "-C", str(BUILD), "-t", "targets", "all"], capture_output=True, text=True, check=False)
    return [name for name in (line.partition(":")[0] for line in done.stdout.splitlines()) if name.endswith(".pb.h") and not name.startswith("/")]


def lint(source):
    done = subprocess.run(["clang-tidy-19", "-p", str(BUILD), "--quiet", source], cwd=ROOT, capture_output=True, text=True)
    output = re.sub(r"^(\d+ warnings? (treated as errors?|generated)|Suppressed \d+ warnings?|Use -header-filter).*\n?", "", done.stdout, flags=re.M).strip()
    if done.returncode != 0 and not output:
        output = done.stderr.strip()
    return source, done.returncode, output


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", help="lint what changed since (default: the commit before HEAD)")
    parser.add_argument("--all", action="store_true", help="lint everything that is built")
    parser.add_argument("--list", action="store_true", help="only list the files")
    options = parser.parse_args()
    compiled = compiled_files()
    if options.all:
        sources = {name for name in compiled if not name.startswith("build/")}
    else:
        sources = set()
        for name in changed_files(start_commit(options.commit)):
            if name in compiled:
                sources.add(name)
            elif name.endswith(".h"):
                sources.update(sources_of(name, compiled))
    sources = sorted(sources)
    if options.list:
        print("\n".join(sources))
        return 0
    if any(re.search(r"_test\.cpp$|^tests/|/tests/", name) for name in sources):
        # Tests are compiled with GoogleTest's precompiled header: it has to be there to be read.
        subprocess.run(["ninja", "-C", str(BUILD), "shunt_test_main"], stdout=subprocess.DEVNULL, check=False)
    subprocess.run(["ninja", "-C", str(BUILD), "shunt_build_info", *generated_headers()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   check=False)
    seen, failed = set(), 0
    with concurrent.futures.ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)))) as pool:
        for source, code, output in pool.map(lint, sources):
            failed += code != 0
            if output and output not in seen:  # A header's findings come once for each source.
                seen.add(output)
                print(output.replace(str(ROOT) + "/", ""), flush=True)
    print(f"lint: {len(sources)} files, {failed} with findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
