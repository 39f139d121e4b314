import math

import numpy as np
import pandas as pd
import pytest

from revgn_lab.claims import statistics
from revgn_lab.claims.statistics import STATISTICS
from revgn_lab.claims.trajectories import gaps, order
from study_folders import SEEDS, diagnosed, metrics_of_run

GN, ADAM, SGD = "GN exact", "Adam", "SGD"


def runs(rates, *, seeds=SEEDS, **options):
    """Metrics of one setting: a loss that falls by exp(-rate) a step for each optimizer."""
    frames = [
        metrics_of_run(rate, seed, **options).assign(setting="full batch", optimizer=name, seed=seed)
        for name, rate in rates.items()
        for seed in seeds
    ]
    return pd.concat(frames, ignore_index=True)


def test_speedup_is_the_ratio_of_steps_to_the_same_share_of_the_first_loss():
    frame = runs({GN: 1.0, ADAM: 0.2, SGD: 0.1}, epochs=40, wobble=0)
    # exp(-rate (step - 1)) <= 0.1 first at step 1 + ln(10) / rate, rounded up: 4, 13 and 25.
    found = statistics.speedup(frame, GN, [ADAM, SGD], fraction=0.1, by="step")
    assert found.value == pytest.approx(13 / 4)
    assert statistics.speedup(frame, GN, [SGD], fraction=0.1, by="step").value == pytest.approx(25 / 4)


def test_speedup_in_seconds_counts_the_time_of_a_step():
    frame = runs({GN: 1.0, ADAM: 0.2}, epochs=40, wobble=0)
    slower = frame.assign(seconds=frame["seconds"].where(frame["optimizer"] == ADAM, 10 * frame["seconds"]))
    once, tenth = (statistics.speedup(each, GN, [ADAM], fraction=0.1, by="seconds") for each in (frame, slower))
    assert once.value == pytest.approx(10 * tenth.value)


def test_speedup_over_others_that_never_arrive_is_a_lower_bound():
    found = statistics.speedup(runs({GN: 1.0, ADAM: 0.01}, epochs=20), GN, [ADAM], fraction=0.1, by="step")
    assert found.value == pytest.approx(20 / 4)
    assert found.high == math.inf
    assert found.note == "a lower bound for 3 of the seeds"


def test_who_never_arrives_is_infinitely_slow():
    found = statistics.speedup(runs({GN: 0.01, ADAM: 1.0}), GN, [ADAM], fraction=0.1, by="step")
    assert (found.value, found.high) == (0.0, 0.0)


def test_speedup_is_unknown_where_nobody_arrives():
    found = statistics.speedup(runs({GN: 0.01, ADAM: 0.01}), GN, [ADAM], fraction=0.1, by="step")
    assert found.seeds == 0
    assert "no optimizer got there with 3 of the seeds" in found.note


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


def test_accuracy_gap_is_to_the_best_of_the_others():
    frame = runs({GN: 1.0, ADAM: 0.3, SGD: 0.1})
    last = frame["step"] == 12
    for name, accuracy in ((GN, 70.0), (ADAM, 80.0), (SGD, 75.0)):
        frame.loc[last & (frame["optimizer"] == name), "test_accuracy"] = accuracy
    assert statistics.accuracy_gap(frame, GN, [ADAM, SGD]).value == pytest.approx(10.0)


def test_diagnostics_are_those_of_the_end():
    frames = [
        diagnosed(metrics_of_run(rate, seed), name, rate, seed).assign(setting="", optimizer=name, seed=seed)
        for name, rate in ((GN, 1.0), (ADAM, 0.1))
        for seed in SEEDS
    ]
    frame = pd.concat(frames, ignore_index=True)
    ends = frame[frame["step"] == 12].groupby("optimizer")
    similarity = ends["ntk_similarity"].mean()
    assert statistics.kernel_similarity(frame, GN, []).value == pytest.approx(similarity[GN])
    assert statistics.kernel_change_ratio(frame, GN, [ADAM]).value == pytest.approx(0.1)
    assert statistics.lowest_cka(frame, GN, []).value == pytest.approx(ends["cka_2"].mean()[GN])


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
    return pd.DataFrame(
        {"step": np.arange(1, len(loss) + 1), "lr": lr, "loss": loss, "seed": seed, "setting": f"lr {lr}"}
    )


def test_gap_is_the_largest_distance_relative_to_the_start():
    frame = pd.concat([euler(0.0, 0.5, 1).assign(optimizer="J"), euler(0.4, 0.5, 1).assign(optimizer="GN")])
    ours, theirs = np.cumprod(np.full(4, 0.6)) ** 2, np.cumprod(np.full(4, 0.5)) ** 2
    (row,) = gaps(frame, "GN", "J").to_dict("records")
    assert row == {"seed": 1, "lr": 0.5, "gap": pytest.approx(np.abs(ours - theirs).max())}


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_order_is_the_exponent_of_the_learning_rate(power):
    rates = np.array([0.4, 0.2, 0.1, 0.05])
    assert order(pd.DataFrame({"lr": rates, "gap": 3 * rates**power})) == pytest.approx(power)


def test_order_needs_three_learning_rates_with_a_gap():
    assert math.isnan(order(pd.DataFrame({"lr": [0.1, 0.1, 0.2], "gap": [1.0, 2.0, 3.0]})))
    assert math.isnan(order(pd.DataFrame({"lr": [0.1, 0.2, 0.4], "gap": [0.0, 1.0, 2.0]})))


def test_right_inverses_of_euler_steps_part_in_the_first_order():
    rates, seeds = (0.05, 0.025, 0.0125, 0.00625), (1, 2, 3)  # small: the order is that of the limit
    frame = pd.concat(
        [
            euler(gain, lr, seed).assign(optimizer=name)
            for name, gain in (("J^+ (dense)", 0.0), (GN, 0.5))
            for lr in rates
            for seed in seeds
        ]
    )
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


@pytest.mark.parametrize(("adam", "expected"), [(78.0, 25.0 - 3.0), (70.0, 25.0 - 5.0), (75.0, 25.0)])
def test_spread_of_the_others_is_held_against_the_distance_to_the_best_of_them(adam, expected):
    frame = ending({ADAM: adam, GN: 50.0, ADJOINT: 52.0, MP: 75.0})
    assert statistics.spread_beyond_gap(frame, ADAM, [GN, ADJOINT, MP]).value == pytest.approx(expected)


def test_one_right_inverse_has_no_spread():
    found = statistics.spread_beyond_gap(ending({ADAM: 80.0, MP: 75.0}), ADAM, [GN, ADJOINT, MP])
    assert (found.seeds, found.note) == (0, "fewer than two to tell apart")


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
