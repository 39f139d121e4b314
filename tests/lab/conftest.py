import pytest

from revgn_lab.runs.run import run
from revgn_lab.settings.parsing import parse
from revgn_lab.settings.words import overrides_of
from tiny_run import TINY


@pytest.fixture
def tiny():
    """A run of 12 steps in no time; settings by keyword, overrides as on the command line."""

    def config(*overrides, **settings):
        return parse(TINY | settings, overrides_of(overrides))

    return config


@pytest.fixture
def trained(tiny, tmp_path):
    """The metrics of such a run, in the test's folder or in one of that name within it."""

    def metrics(*overrides, folder="", **settings):
        return run(tiny(*overrides, **settings), tmp_path / folder, progress=False).metrics

    return metrics
