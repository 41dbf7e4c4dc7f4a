"""The examples of README.md and docs/start.md work as they stand, from the first line to the last."""

import pytest
from conftest import BUILD, ROOT
from transcript import Session, pattern_of, steps_of

PAGES = ["README.md", "docs/start.md", "docs/from-cppshift.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_work(page, tmp_path):
    steps = steps_of(ROOT / page)
    assert steps
    session = Session(tmp_path, BUILD)
    try:
        for step in steps:
            session.do(step)
    finally:
        session.close()


def test_what_a_page_shows_is_compared_with_what_is_printed():
    assert pattern_of(["a ... b"], False).fullmatch("a 1 2 b\n")
    assert pattern_of(["a", "...", "c"], False).fullmatch("a\nb\nb\nc\n")
    assert pattern_of(["pid 12  up"], True).fullmatch("pid 7 up\n")
    assert not pattern_of(["pid 12"], False).fullmatch("pid 13\n")
    assert not pattern_of(["a"], False).fullmatch("a\nb\n")
