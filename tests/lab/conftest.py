import pytest

from revgn_lab.settings.parsing import parse
from revgn_lab.settings.words import overrides_of

TINY = {
    "data": {"name_or_path": "digits", "rows": 64},
    "model": {"num_blocks": 2, "hidden_features": 80},
    "loss": "MSELoss",
    "optimizer": {"class_path": "GaussNewton", "init_args": {"lr": 0.5}},
    "epochs": 3,
    "batch_size": 16,
    "device": "cpu",
}


@pytest.fixture
def tiny():
    """A run of 12 steps in no time; settings by keyword, overrides as on the command line."""

    def config(*overrides, **settings):
        return parse(TINY | settings, overrides_of(overrides))

    return config
