"""What the documents say of the tree is true: links lead somewhere, error ids exist, rooms and locks are listed."""

import json
import os
import re

import pytest
from conftest import ROOT

SKIPPED_FOLDERS = {"build", ".git", "node_modules", "templates", "__pycache__", ".pytest_cache", "testdata"}


def pages():
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [each for each in folders if each not in SKIPPED_FOLDERS]
        found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in files if name.endswith(".md")]
    return sorted(found)


def prose(text):
    """Without its code blocks: what stands there is no link."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def anchors(text):
    """The names that GitHub gives to headings."""
    names = set()
    for heading in re.findall(r"^#+ +(.*?)\s*$", prose(text), re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        names.add(re.sub(r"[^\w\- ]", "", heading).replace(" ", "-"))
    return names


@pytest.mark.parametrize("page", pages())
def test_every_relative_link_leads_somewhere(page):
    text = (ROOT / page).read_text()
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(text))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / page).parent / path) if path else ROOT / page
        if not file.exists():
            dead.append(f"{target}: is not there")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
            dead.append(f"{target}: has no such heading")
    assert not dead


@pytest.mark.parametrize("page", pages())
def test_every_error_id_exists(page):
    known = json.loads((ROOT / "spec/errors.json").read_text())["errors"]
    named = set(re.findall(r"\bS[1-5]\d{3}\b", (ROOT / page).read_text()))
    assert sorted(named - known.keys()) == []


def test_every_page_below_docs_is_in_the_index():
    index = (ROOT / "docs/README.md").read_text()
    folders = {"decisions"}  # These have a list of their own.
    missing = [page for page in pages()
               if page.startswith("docs/") and page != "docs/README.md" and page.split("/")[1] not in folders
               and f"({page.removeprefix('docs/')})" not in index]
    assert missing == []


def test_every_decision_is_listed_and_numbered_once():
    folder = ROOT / "docs/decisions"
    listed = (folder / "README.md").read_text()
    names = sorted(page.name for page in folder.glob("[0-9]*.md"))
    assert [name for name in names if f"({name})" not in listed] == []
    numbers = [name[:4] for name in names]
    assert sorted(set(numbers)) == numbers


def test_every_room_is_on_the_map():
    cmake = re.sub(r"#.*", "", (ROOT / "CMakeLists.txt").read_text())
    rooms = re.search(r"set\(SHUNT_ROOMS(.*?)\)", cmake, re.S)[1].split()
    assert "call" in rooms
    architecture = (ROOT / "ARCHITECTURE.md").read_text()
    assert [room for room in rooms if f"| `{room}/` |" not in architecture] == []


def test_every_lock_is_told_of():
    told = (ROOT / "docs/internals/locks.md").read_text()
    holders = []
    for top in ("src", "sdk"):
        for file in sorted((ROOT / top).rglob("*")):
            if file.suffix not in {".h", ".cpp"} or "tests" in file.parts or "testdata" in file.parts:
                continue
            if re.search(r"_(test|bench|fuzz)\.cpp$|_main\.cpp$", file.name):
                continue
            if re.search(r"\bstd::(recursive_|shared_|timed_)?mutex\b *&?\w+", re.sub(r"//.*", "", file.read_text())):
                holders.append(str(file.relative_to(ROOT)))
    assert holders, "the search finds nothing any more"
    assert [file for file in holders if f"`{file}`" not in told] == []


def test_every_page_that_code_names_exists():
    missing = set()
    for top in ("src", "sdk", "tools", "cmake", "spec", "examples", "bench"):
        for file in (ROOT / top).rglob("*"):
            if file.suffix not in {".h", ".cpp", ".c", ".py", ".json", ".txt", ".cmake"} or "__pycache__" in file.parts:
                continue
            for page in re.findall(r"\b(?:docs|spec)/[\w/-]+\.md\b", file.read_text(errors="replace")):
                if not (ROOT / page).exists():
                    missing.add(f"{file.relative_to(ROOT)}: {page}")
    assert not missing
