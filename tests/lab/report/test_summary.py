import numpy as np
import pytest

from revgn_lab.report.summary import TARGET_LOSS, final_numbers, summarize
from synthetic import FULL, MINI, metrics


def of(frame, optimizer="Adam", setting=FULL):
    table = summarize(frame)
    return table[(table["setting"] == setting) & (table["optimizer"] == optimizer)]


def test_steps_and_seconds_to_the_target_are_those_of_its_first_passing():
    frame = metrics(rates=(1.0, 0.5, 0.1), seeds=(42,))
    row = of(frame).iloc[0]
    losses = frame[(frame["setting"] == FULL) & (frame["optimizer"] == "Adam")]
    first = losses[losses["loss"] <= TARGET_LOSS].iloc[0]
    assert row["target_steps"] == first["step"] == 12
    assert row["target_seconds"] == first["seconds"]
    assert of(frame, "SGD")["target_steps"].isna().all()


def test_final_loss_is_the_mean_over_the_last_epoch():
    frame = metrics(seeds=(42,))
    last = frame[(frame["setting"] == MINI) & (frame["optimizer"] == "Adam") & (frame["epoch"] == 12)]
    np.testing.assert_allclose(of(frame, setting=MINI)["loss"], last["loss"].mean())


def test_exactness_is_the_share_of_exact_steps_and_the_worst_defect():
    frame = metrics(seeds=(42,))
    gauss_newton = (frame["setting"] == FULL) & (frame["optimizer"] == "GaussNewton")
    frame.loc[gauss_newton & (frame["step"] <= 3), ["exact", "defect"]] = [False, 0.5]
    row = of(frame, "GaussNewton").iloc[0]
    assert row["exact"] == 75.0
    assert row["defect"] == 0.5
    assert of(frame)["exact"].isna().all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_diverged_runs_are_counted_and_what_they_had_on_test_rows_before_is_not_their_last(value):
    frame = metrics(seeds=(42, 43))
    whole = of(frame, "SGD")["test_accuracy"]
    frame.loc[(frame["optimizer"] == "SGD") & (frame["seed"] == 43) & (frame["epoch"] > 5), "loss"] = value
    assert of(frame, "SGD")["test_accuracy"].tolist() == pytest.approx([whole.iloc[0], np.nan], nan_ok=True)
    numbers = final_numbers(frame).set_index(["setting", "optimizer"])
    for column in ("training loss", "test accuracy (%)"):
        assert "1 without a finite loss" in numbers.loc[(FULL, "SGD"), column]


def test_table_gives_mean_and_range_over_seeds():
    frame = metrics(seeds=(42, 43))
    assert len(summarize(frame)) == 2 * 3 * 2  # a row for each run
    finals = of(frame)["loss"]
    numbers = final_numbers(frame).set_index(["setting", "optimizer"])
    expected = f"{np.sqrt(finals.prod()):.1e} ({finals.min():.1e} to {finals.max():.1e})"
    assert numbers.loc[(FULL, "Adam"), "training loss"] == expected
    assert numbers.loc[(FULL, "Adam"), "steps"] == "12"
    assert numbers.loc[(FULL, "Adam"), "worst defect"] == "\N{EN DASH}"
