"""The comparison on mini-batches: choices by validation alone, costs, marks, medians, and rows that are kept."""

import itertools
import json
import math

import pytest
import torch

import mini_batch
from epochs import Learner, Part, marks_of, train
from image_training import build, split
from mini_batch_methods import ADJOINT
from spaces import LogUniform, OneOf, draw

TINY = ["--tiny", "--networks", "MLP", "--epochs", "1", "--trials", "2", "--seeds", "1", "--pairs", "1"]


def curve(*accuracies, test=0.5):
    """A point an epoch."""
    return [{"epochs": k, "validation": accuracy, "test": test} for k, accuracy in enumerate(accuracies, 1)]


def rows_of(count):
    return Part(torch.arange(count, dtype=torch.float32)[:, None], torch.arange(count) % 10)


def run(folder, *options):
    mini_batch.main([*options, *TINY, "--out", str(folder)])
    return json.loads((folder / "mini_batch.json").read_text())["rows"]


@pytest.fixture
def made_up(monkeypatch, without_fashion_mnist):
    """Training is replaced by curves: the larger the learning rate the better on validation, the worse on test."""
    calls = []

    def pretend(learner, rows, judges, *, batch, epochs, seed):
        lr = learner.optimizers[0].param_groups[0]["lr"]
        calls.append({"lr": lr, "seed": seed, "judges": set(judges)})
        point = {"epochs": 1.0, "validation": lr, "test": 1 - lr}
        return [{key: point[key] for key in ("epochs", *judges)}]

    monkeypatch.setattr(mini_batch, "train", pretend)
    monkeypatch.setattr(mini_batch, "ratio_to_adam", lambda *arguments: 1.0)
    return calls


def test_settings_are_chosen_on_validation_rows_and_test_rows_are_seen_afterwards_from_other_seeds(made_up, tmp_path):
    (row,) = run(tmp_path, "Adam")
    *trials, final = made_up
    assert [call["judges"] for call in trials] == [{"validation"}] * 2
    assert final["judges"] == {"validation", "test"}
    assert final["seed"] not in {call["seed"] for call in trials}
    assert row["chosen"]["lr"] == final["lr"] == max(call["lr"] for call in trials)
    assert all("test" not in point for trial in row["tried"] for point in trial["curve"])


def test_rows_of_the_same_plan_are_kept_unless_asked_for_anew(made_up, tmp_path):
    run(tmp_path, "Adam")
    assert [row["method"] for row in run(tmp_path, "SGD")] == ["Adam", "SGD"]
    count = len(made_up)
    run(tmp_path, "Adam", "SGD")
    assert len(made_up) == count
    run(tmp_path, "SGD", "--anew")
    assert len(made_up) == count + 3


def test_a_row_of_another_plan_is_measured_again_and_one_of_more_epochs_stays_beside_it(made_up, tmp_path):
    run(tmp_path, "Adam")
    count = len(made_up)
    mini_batch.main(["Adam", *TINY, "--trials", "3", "--out", str(tmp_path)])
    assert len(made_up) == count + 4
    mini_batch.main(["Adam", *TINY, "--trials", "3", "--epochs", "2", "--out", str(tmp_path)])
    rows = json.loads((tmp_path / "mini_batch.json").read_text())["rows"]
    assert [row["epochs"] for row in rows] == [1, 2]
    assert all(len(row["tried"]) == 3 for row in rows)


def test_rows_of_other_data_are_not_mixed_in(made_up, tmp_path, capsys):
    run(tmp_path, "Adam")
    path = tmp_path / "mini_batch.json"
    path.write_text(path.read_text().replace("digits", "letters"))
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path, "SGD")
    assert "the JSON file holds rows of letters" in capsys.readouterr().err


def test_the_network_must_be_reversible_for_the_reversible_step(made_up, tmp_path):
    assert run(tmp_path, "Reversible", "Adam") == run(tmp_path, "Adam")


def test_validation_rows_are_none_of_those_that_are_trained_on(without_fashion_mnist):
    data = split(mini_batch.TINY)
    rows = torch.cat((data.training.inputs.cpu(), data.validation.inputs, data.test.inputs))
    assert len(data.training.classes) == 440
    assert len(data.validation.classes) == 40
    assert len(rows.unique(dim=0)) == len(rows)


@pytest.mark.parametrize("name", [name for name, method in mini_batch.METHODS.items() if method.installed])
def test_every_method_moves_the_network_that_is_judged(name, without_fashion_mnist):
    sizes, data = mini_batch.TINY, split(mini_batch.TINY)
    method = mini_batch.METHODS[name]
    learner = method.start(build("RevMLP", data, sizes, 0), draw(method.space, 1)[0])
    rows = data.training.inputs[:64], data.training.classes[:64]
    before = learner.judged(rows[0]).detach()
    for _ in range(2):  # SOAP only looks in its first step
        learner.step(*rows)
    after = learner.judged(rows[0]).detach()
    assert torch.isfinite(after).all()
    assert not torch.equal(before, after)


def test_every_row_is_seen_once_an_epoch_and_the_learning_rate_falls_to_zero():
    rows, seen, rates = rows_of(50), [], []
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)

    def step(inputs, classes):
        optimizer.step()
        seen.append(inputs[:, 0].tolist())
        rates.append(optimizer.param_groups[0]["lr"])

    learner = Learner([optimizer], step, torch.nn.Linear(1, 10))
    points = train(learner, rows, {"validation": rows}, batch=8, epochs=2, seed=3)
    first, second = (list(itertools.chain(*part)) for part in (seen[:7], seen[7:]))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert rates == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 14)) for k in range(14)])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)
    assert [point["epochs"] for point in points] == pytest.approx([2 / 7, 4 / 7, 5 / 7, 1, 2])


@pytest.mark.parametrize("error", [FloatingPointError("nan"), torch.linalg.LinAlgError("singular")])
def test_a_run_that_breaks_down_counts_as_guessing_from_there_on(error):
    steps = iter([None] * 5)

    def step(inputs, classes):
        if next(steps, error):
            raise error

    rows = rows_of(40)
    points = train(Learner([], step, torch.nn.Linear(1, 10)), rows, {"test": rows}, batch=10, epochs=3, seed=0)
    assert [point["epochs"] for point in points] == [0.25, 0.5, 0.75, 1, 2, 3]
    assert [point["test"] for point in points[4:]] == [0.1, 0.1]


def test_marks_lie_within_the_first_epoch_and_after_each():
    assert marks_of(54, 3) == [14, 27, 40, 54, 108, 162]
    assert marks_of(1, 2) == [1, 2]


def test_the_epochs_to_an_accuracy_are_the_median_over_seeds_and_infinite_where_most_do_not_get_there():
    curves = [curve(0.87, 0.88), curve(0.86, 0.87), curve(0.89, 0.90)]
    assert mini_batch.median_to(curves, 0.88) == 2
    assert mini_batch.median_to(curves, 0.89) is None


def row(method, *curves, network="RevMLP", ratio=1.0, **others):
    row = {"network": network, "method": method, "epochs": len(curves[0]), "curves": curves}
    return row | mini_batch.summary(curves, ratio) | others


def test_costs_are_measured_anew_and_all_else_stays(made_up, tmp_path, monkeypatch):
    (before,) = run(tmp_path, "Adam")
    monkeypatch.setattr(mini_batch, "ratio_to_adam", lambda *arguments: 1.5)
    (after,) = run(tmp_path, "--costs")
    assert after["ratio"] == 1.5
    assert {**after, "ratio": 1.0} == {**before, **{key: after[key] for key in after if key.startswith("shown")}}


def test_the_best_epoch_is_that_of_validation():
    seen = [point | {"test": test} for point, test in zip(curve(0.8, 0.9, 0.85), (0.99, 0.5, 0.7), strict=True)]
    assert row("Adam", seen)["best"] == 0.5


def test_at_equal_cost_only_what_was_reached_by_then_counts():
    adam = row("Adam", curve(0.7, 0.8, test=0.8), ratio=2.0)
    sgd = row("SGD", curve(0.9, 0.9, test=0.7))
    ours = [
        row(ADJOINT, curve(0.9, test=0.9), ratio=5.0),
        row(mini_batch.DEFAULT, curve(0.8, 0.85, test=0.85), ratio=1.5),
    ]
    margin = mini_batch.beside_the_best([adam, sgd, *ours], "RevMLP")
    assert (margin.baseline, margin.cost) == ("Adam, 2 epochs", 4.0)
    assert margin.lead == pytest.approx(0.05)
    assert mini_batch.beside_the_best([adam, sgd, *ours], "MLP") is None
    assert mini_batch.beside_the_best([adam, sgd], "RevMLP") is None


def test_checks_are_met_by_the_mean_and_only_by_the_planned_epochs():
    good, bad = curve(*[0.9] * 5, test=0.91), curve(*[0.9] * 5, test=0.87)
    adam = row("Adam", curve(*[0.5] * 5, test=0.5), ratio=2.0)

    def met(*curves, epochs=5):
        rows = [adam, row(mini_batch.DEFAULT, *curves, epochs=epochs, ratio=1.6)]
        return [check.met for check in mini_batch.checks(rows)]

    assert met(good, good) == [True, True, False, True]
    assert met(good, bad) == [True, False, False, True]
    assert met(good, epochs=10)[:3] == [None, None, None]


def test_draws_lie_in_their_space_and_spread_over_it():
    space = {"lr": LogUniform(1e-4, 1e-1), "smoothing": OneOf((0.0, 0.1))}
    settings = draw(space, 8)
    assert settings == draw(space, 8) != draw(space, 8, seed=1)
    assert draw(space, 3) == settings[:3]
    exponents = sorted((math.log10(setting["lr"]) + 4) / 3 for setting in settings)
    # One point of a Sobol sequence in each eighth, as three digits round it.
    assert [math.floor(8 * share + 1e-3) for share in exponents] == pytest.approx(range(8), abs=1)
    assert sorted(setting["smoothing"] for setting in settings) == [0.0] * 4 + [0.1] * 4


def test_a_space_of_one_point_needs_one_trial():
    assert draw({"lr": OneOf((0.5,)), "smoothing": OneOf((0.1,))}, 5) == [{"lr": 0.5, "smoothing": 0.1}]
