import pandas as pd
import pytest

from revgn_lab.errors import ConfigError
from revgn_lab.runs.run import run

ADAM = ("--optimizer", "Adam", "--optimizer.lr=0.003")
THEN_NEWTON = ("--second_optimizer", "GaussNewton", "--second_optimizer.lr=0.5", "--switch_after=1")


def without_times(frame):
    return frame.drop(columns="seconds")


def test_the_second_optimizer_takes_over_after_the_first_epochs(tiny, tmp_path):
    alone = run(tiny(*ADAM), tmp_path / "adam", progress=False).metrics
    switched = run(tiny(*ADAM, *THEN_NEWTON), tmp_path / "switched", progress=False).metrics
    common = [name for name in alone if name != "seconds"]
    # Four steps an epoch; the fifth step's loss is still that of Adam's weights.
    pd.testing.assert_frame_equal(alone.loc[:4, common], switched.loc[:4, common], check_exact=True)
    assert switched["loss"][5] == alone["loss"][5]
    assert switched["loss_after"][5] < 0.4 * alone["loss_after"][5]
    assert switched["lr"].dropna().tolist() == 4 * [0.003] + 8 * [0.5]
    assert switched["defect"].notna().tolist() == 5 * [False] + 8 * [True]


def test_gauss_newton_may_come_first(tiny, tmp_path):
    alone = run(tiny(), tmp_path / "newton", progress=False).metrics
    words = ("--second_optimizer", "SGD", "--second_optimizer.lr=0.01", "--switch_after=2")
    switched = run(tiny(*words), tmp_path / "switched", progress=False).metrics
    pd.testing.assert_frame_equal(without_times(alone)[:9], without_times(switched)[:9], check_exact=True)
    assert switched["defect"].notna().tolist() == [False] + 8 * [True] + 4 * [False]


@pytest.mark.parametrize("words", [("--switch_after=2",), ("--second_optimizer", "Adam")])
def test_half_a_switch_is_refused(tiny, words):
    with pytest.raises(ConfigError, match="give both to switch, or neither"):
        tiny(*words)
