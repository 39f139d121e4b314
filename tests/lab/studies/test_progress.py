import io
import sys

from revgn_lab.studies import progress


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.isatty = lambda: terminal


def shown_of(monkeypatch, moments, *, terminal):
    """What a study of ten runs, two of them complete before, shows; moments are (second, complete)."""
    stream, seconds = Stream(terminal), [0.0]
    monkeypatch.setattr(sys, "stderr", stream)
    if not terminal:
        monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    with progress.completion(10, 2) as show:
        for seconds[0], complete in moments:
            show(complete)
    return stream.getvalue()


def test_a_log_file_gets_a_line_a_minute(monkeypatch):
    moments = ((1.0, 2), (59.0, 3), (60.0, 4), (90.0, 5), (125.0, 6))
    assert shown_of(monkeypatch, moments, terminal=False).splitlines() == [
        "4 of 10 runs are complete, 01:00 elapsed, about 03:00 left",
        "6 of 10 runs are complete, 02:05 elapsed, about 02:05 left",
    ]


def test_a_terminal_gets_a_bar(monkeypatch):
    bar = shown_of(monkeypatch, ((1.0, 7), (2.0, 10)), terminal=True)
    assert "2/10" in bar
    assert "10/10" in bar
