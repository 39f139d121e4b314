import itertools
import math

import numpy as np
import pandas as pd
import pytest

from revgn_lab.claims import statistics
from revgn_lab.claims.statistics import STATISTICS
from revgn_lab.claims.trajectories import gaps, order
from study_folders import SEEDS, diagnosed, metrics_of_run

GN, ADAM, SGD = "GN exact", "Adam", "SGD"
RATES = (0.4, 0.2, 0.1, 0.05)


def runs(rates, *, seeds=SEEDS, **options):
    """Metrics of one setting: a loss that falls by exp(-rate) a step for each optimizer."""
    frames = [
        metrics_of_run(rate, seed, **options).assign(setting="full batch", optimizer=name, seed=seed)
        for name, rate in rates.items()
        for seed in seeds
    ]
    return pd.concat(frames, ignore_index=True)


def test_speedup_is_the_ratio_of_steps_or_seconds_to_the_same_share_of_the_first_loss():
    frame = runs({GN: 1.0, ADAM: 0.2, SGD: 0.1}, epochs=40, wobble=0)
    slower = frame.assign(seconds=frame["seconds"].where(frame["optimizer"] != GN, 10 * frame["seconds"]))

    def found(runs, against, by):
        return statistics.speedup(runs, GN, against, fraction=0.1, by=by).value

    # exp(-rate (step - 1)) <= 0.1 first at step 1 + ln(10) / rate, rounded up: 4, 13 and 25.
    assert found(frame, [ADAM, SGD], "step") == pytest.approx(13 / 4)
    assert found(frame, [SGD], "step") == pytest.approx(25 / 4)
    assert found(frame, [ADAM], "seconds") == pytest.approx(10 * found(slower, [ADAM], "seconds"))


@pytest.mark.parametrize(
    ("rates", "value", "high", "note"),
    [
        ({GN: 1.0, ADAM: 0.01}, 20 / 4, math.inf, "a lower bound for 3 of the seeds"),
        ({GN: 0.01, ADAM: 1.0}, 0.0, 0.0, ""),
        ({GN: 0.01, ADAM: 0.01}, math.nan, math.nan, "no optimizer got there with 3 of the seeds"),
    ],
    ids=["the others", "the optimizer itself", "nobody"],
)
def test_whoever_never_arrives_takes_forever(rates, value, high, note):
    found = statistics.speedup(runs(rates, epochs=20), GN, [ADAM], fraction=0.1, by="step")
    assert (found.value, found.high) == pytest.approx((value, high), nan_ok=True)
    assert found.note == note


def test_spread_is_compared_with_the_steadiest_of_the_others():
    frame = runs({GN: 0.5, ADAM: 0.5, SGD: 0.5}, wobble=0)
    widths = {GN: 0.01, ADAM: 0.2, SGD: 0.1}
    scale = 1 + frame["optimizer"].map(widths) * (frame["seed"] - 43)
    found = statistics.spread_ratio(frame.assign(loss=frame["loss"] * scale), GN, [ADAM, SGD])
    assert found.value == pytest.approx(0.1)


def test_late_decrease_tells_saturation_from_progress():
    flat = statistics.late_decrease(runs({GN: 1.0}, epochs=20, floor=0.5), GN, [])
    falling = statistics.late_decrease(runs({GN: 0.2}, epochs=20), GN, [])
    assert flat.value < 1
    assert falling.value > 80
    assert statistics.late_decrease(runs({GN: 0.2}, epochs=4), GN, []).seeds == 0


def test_loss_ratio_is_over_the_lowest_of_the_others():
    frame = runs({GN: 1.0, ADAM: 0.3, SGD: 0.1}, wobble=0, floor=0)
    found = statistics.loss_ratio(frame, GN, [ADAM, SGD], column="loss")
    assert found.value == pytest.approx(math.exp(-0.7 * 11))


def test_diverged_run_has_an_infinite_loss_and_no_accuracy():
    frame = runs({GN: 1.0, ADAM: 0.3})
    frame.loc[(frame["optimizer"] == GN) & (frame["seed"] == 42) & (frame["step"] == 12), "loss"] = math.nan
    diverged = statistics.loss_ratio(frame, GN, [ADAM], column="loss")
    assert diverged.high == math.inf
    assert diverged.note == "diverged with 1 of the seeds"
    assert statistics.accuracy_gap(frame, GN, [ADAM]).seeds == 2


def test_stronger_change_is_in_percentage_points():
    found = statistics.stronger_change(runs({GN: 1.0, ADAM: 0.3, SGD: 0.1}), GN, [ADAM, SGD])
    assert found.value == pytest.approx(100 * (math.exp(-0.3) - math.exp(-1.0)))


def test_diagnostics_are_those_of_the_end():
    frame = pd.concat(
        diagnosed(metrics_of_run(rate, seed), name, rate, seed).assign(setting="", optimizer=name, seed=seed)
        for name, rate in ((GN, 1.0), (ADAM, 0.1))
        for seed in SEEDS
    )
    ends = frame[(frame["step"] == 12) & (frame["optimizer"] == GN)]
    assert statistics.kernel_similarity(frame, GN, []).value == pytest.approx(ends["ntk_similarity"].mean())
    assert statistics.kernel_change_ratio(frame, GN, [ADAM]).value == pytest.approx(0.1)
    assert statistics.lowest_cka(frame, GN, []).value == pytest.approx(ends["cka_2"].mean())


@pytest.mark.parametrize("name", STATISTICS)
def test_every_statistic_says_nothing_of_runs_that_are_not_there(name):
    arguments = {
        "speedup": {"fraction": 0.1, "by": "step"},
        "loss_ratio": {"column": "loss"},
        "setting_gain": {"setting": "full batch", "beyond": "full batch"},
    }.get(name, {})
    found = STATISTICS[name].function(runs({ADAM: 0.5}), GN, [SGD], **arguments)
    assert found.seeds == 0
    assert math.isnan(found.value)


@pytest.mark.parametrize(
    "name", ["kernel_similarity", "kernel_change_ratio", "lowest_cka", "cka_change_ratio", "stronger_change"]
)
def test_what_was_not_recorded_is_not_measured(name):
    frame = runs({GN: 0.5, ADAM: 0.2}).drop(columns="loss_after")
    assert STATISTICS[name].function(frame, GN, [ADAM]).seeds == 0


def euler(gain, lr, seed):
    """Loss along x' = -x by Euler steps, with a step that is wrong in the second order: another right inverse."""
    x = np.cumprod(np.full(round(2 / lr), 1 - lr + gain * lr**2))
    loss = np.concatenate([[1.0], x]) ** 2 * seed
    steps = {"step": np.arange(1, len(loss) + 1), "lr": lr, "loss": loss}
    return pd.DataFrame({**steps, "seed": seed, "setting": f"lr {lr}"})


def test_gap_is_the_largest_distance_relative_to_the_start():
    frame = pd.concat([euler(0.0, 0.5, 1).assign(optimizer="J"), euler(0.4, 0.5, 1).assign(optimizer="GN")])
    ours, theirs = np.cumprod(np.full(4, 0.6)) ** 2, np.cumprod(np.full(4, 0.5)) ** 2
    (row,) = gaps(frame, "GN", "J").to_dict("records")
    assert row == {"seed": 1, "lr": 0.5, "gap": pytest.approx(np.abs(ours - theirs).max())}


@pytest.mark.parametrize(
    ("lr", "gap", "expected"),
    [
        *([RATES, [3 * rate**power for rate in RATES], power] for power in (0.5, 1.0, 2.0)),
        ([0.1, 0.1, 0.2], [1.0, 2.0, 3.0], math.nan),
        ([0.1, 0.2, 0.4], [0.0, 1.0, 2.0], math.nan),
    ],
)
def test_order_is_the_exponent_of_the_learning_rate_of_which_it_needs_three_with_a_gap(lr, gap, expected):
    assert order(pd.DataFrame({"lr": lr, "gap": gap})) == pytest.approx(expected, nan_ok=True)


def test_right_inverses_of_euler_steps_part_in_the_first_order():
    rates, seeds = (0.05, 0.025, 0.0125, 0.00625), (1, 2, 3)  # small: the order is that of the limit
    cases = itertools.product((("J^+ (dense)", 0.0), (GN, 0.5)), rates, seeds)
    frame = pd.concat(euler(gain, lr, seed).assign(optimizer=name) for (name, gain), lr, seed in cases)
    found = statistics.gap_order(frame, GN, ["J^+ (dense)"])
    assert found.value == pytest.approx(1.0, abs=0.05)
    assert found.seeds == 3


def ending(values, *, column="test_accuracy", **options):
    """Runs whose last value of the column is given for each optimizer."""
    frame = runs(dict.fromkeys(values, 0.5), **options)
    last = frame["step"] == 12
    for name, value in values.items():
        frame.loc[last & (frame["optimizer"] == name), column] = value
    return frame


MP, ADJOINT = "GN Moore-Penrose", "GN adjoint"


def test_accuracy_gap_is_to_the_best_of_the_others():
    frame = ending({GN: 70.0, ADAM: 80.0, SGD: 75.0})
    assert statistics.accuracy_gap(frame, GN, [ADAM, SGD]).value == pytest.approx(10.0)


@pytest.mark.parametrize(("adam", "expected"), [(78.0, 25.0 - 3.0), (70.0, 25.0 - 5.0), (75.0, 25.0)])
def test_spread_of_the_others_is_held_against_the_distance_to_the_best_of_them(adam, expected):
    frame = ending({ADAM: adam, GN: 50.0, ADJOINT: 52.0, MP: 75.0})
    assert statistics.spread_beyond_gap(frame, ADAM, [GN, ADJOINT, MP]).value == pytest.approx(expected)
    one = statistics.spread_beyond_gap(ending({ADAM: adam, MP: 75.0}), ADAM, [GN, ADJOINT, MP])
    assert (one.seeds, one.note) == (0, "fewer than two to tell apart")


def test_gain_of_a_setting_is_that_of_each_optimizer_alone():
    short = ending({GN: 60.0, ADAM: 99.0}).assign(setting="short")
    whole = ending({GN: 52.0, ADAM: 80.0}).assign(setting="whole")
    frame = pd.concat([whole, short.loc[short["seed"] != 44]])
    found = statistics.setting_gain(frame, GN, [], setting="short", beyond="whole")
    assert (found.value, found.seeds) == (pytest.approx(8.0), 2)


def test_representations_move_as_far_as_the_block_that_moves_most():
    frame = ending({GN: 0.9, ADAM: 0.6}, column="cka_1").merge(
        ending({GN: 0.95, ADAM: 0.8}, column="cka_2")[["optimizer", "seed", "step", "cka_2"]]
    )
    assert statistics.cka_change_ratio(frame, GN, [ADAM]).value == pytest.approx(0.1 / 0.4)


def test_movement_that_is_not_known_is_none():
    frame = ending({GN: 0.9, ADAM: 0.6}, column="ntk_similarity")
    assert statistics.kernel_change_ratio(frame, GN, [ADAM]).seeds == 3
    frame.loc[frame["optimizer"] == GN, "ntk_similarity"] = math.nan
    assert statistics.kernel_change_ratio(frame, GN, [ADAM]).seeds == 0
