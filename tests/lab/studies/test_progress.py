import io
import sys

import pytest

from revgn_lab.studies import progress
from revgn_lab.studies.progress import completion


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """The seconds that `progress` reads; a test sets them."""
    seconds = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    return seconds


def test_a_log_file_gets_a_line_a_minute(monkeypatch, clock):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with completion(10, 2, shown=True) as show:
        for seconds, complete in ((1.0, 2), (59.0, 3), (60.0, 4), (90.0, 5), (125.0, 6)):
            clock[0] = seconds
            show(complete)
    assert log.getvalue().splitlines() == [
        "4 of 10 runs are complete, 01:00 elapsed, about 03:00 left",
        "6 of 10 runs are complete, 02:05 elapsed, about 02:05 left",
    ]


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with completion(10, 2, shown=True) as show:
        show(7)
        show(10)
    assert "2/10" in terminal.getvalue()
    assert "10/10" in terminal.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_nothing_is_shown_where_nothing_should_be(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    with completion(10, 2, shown=False) as show:
        show(10)
    assert not sys.stderr.getvalue()
