"""docs/habits.md: every row names tests that exist, and every habit that is tested has a row."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/habits.md").read_text()
NAMED = set(re.findall(r"`(test_\w+)`", PAGE))


def named_in(*paths):
    return {name for path in paths for name in re.findall(r"def (test_\w+)\(", path.read_text())}


HABITS = named_in(*(path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)))
ELSEWHERE = named_in(
    ROOT / "tests/losses/test_adopted.py",
    ROOT / "tests/optim/test_out_of_memory.py",
    *(ROOT / "tests/parallel").glob("test_*.py"),
)


def test_every_test_that_is_named_exists():
    assert NAMED <= HABITS | ELSEWHERE


def test_every_row_names_a_test():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "| test |" not in line]
    assert len(rows) > 40
    for row in rows:
        last = row.rstrip("| ").rpartition("|")[2]
        assert "`test_" in last or "the same" in last or "the first of these" in last, row


def test_every_habit_that_is_tested_has_a_row():
    assert HABITS <= NAMED
