import pytest

from revgn_lab.settings.parsing import parse
from revgn_lab.settings.words import overrides_of
from tiny_run import TINY


@pytest.fixture
def tiny():
    """A run of 12 steps in no time; settings by keyword, overrides as on the command line."""

    def config(*overrides, **settings):
        return parse(TINY | settings, overrides_of(overrides))

    return config
