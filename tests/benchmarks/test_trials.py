"""Training against the clock: grids widen until their best lies inside, and a loss counts when it is there."""

import itertools
import math

import pytest

from trials import Patience, Trial, best_of, best_so_far, thinned, wider

PATIENCE = Patience(screening=0.0, second=0.0, last=0.0, least_passes=5)


def falling(rate):
    """A trial whose loss falls by `rate` a step."""
    losses = (rate**k for k in itertools.count())
    return lambda record: record(0.0, next(losses))


def trial_of(best):
    """Trials that converge faster the nearer their setting is to `best`; far above it they diverge."""

    def start(value):
        if value > 5 * best:
            return Trial(value, lambda record: record(0.0, math.inf))
        return Trial(value, falling(0.5 + 0.1 * abs(math.log10(value / best))))

    return start


@pytest.mark.parametrize("best", [1.0, 30.0, 0.03])
def test_a_grid_is_widened_until_its_best_lies_inside(best):
    trials = best_of((0.3, 1.0, 3.0), trial_of(best), 0.0, PATIENCE)
    assert trials[0].setting == pytest.approx(best, rel=0.2)
    settings = [trial.setting for trial in trials]
    assert min(settings) < trials[0].setting < max(settings)


def test_a_grid_is_not_widened_for_ever():
    assert len(best_of((1.0, 3.0), trial_of(1e9), 0.0, PATIENCE)) == 5


def test_a_grid_that_fails_everywhere_is_widened_downwards():
    trials = {value: Trial(value, falling(1.0), failed=True) for value in (1.0, 10.0)}
    assert wider(trials) == pytest.approx(10**-0.5)


def test_training_ends_at_the_target_and_the_time_to_it_is_when_the_parameters_were_there():
    losses = iter([(0.0, 1.0), (1.0, 0.1), (2.0, 0.01), (3.0, 0.001)])
    trial = Trial(1.0, lambda record: record(*next(losses)))
    trial.go_on(until=1e9, target=0.01)
    assert trial.steps == 3
    assert trial.time_to(0.1) < trial.time_to(0.01)
    assert trial.time_to(0.1) - trial.time_to(1.0) == pytest.approx(1.0)
    assert trial.time_to(0.001) is None


def test_training_that_breaks_down_ends_as_failed():
    def step(record):
        raise FloatingPointError("the loss is nan")

    for trial in (Trial(1.0, step), Trial(1.0, lambda record: record(0.0, math.nan))):
        trial.go_on(until=1e9, target=0.0)
        assert trial.failed
        assert math.isinf(trial.loss)


def test_a_better_start_that_breaks_down_later_does_not_win():
    def start(value):
        if value == 1.0:
            losses = iter([1.0, 0.1, 0.01, math.nan])
            return Trial(value, lambda record: record(0.0, next(losses)))
        return Trial(value, falling(0.9 + 0.01 * value))

    trials = best_of((0.5, 1.0, 2.0), start, 0.0, Patience(0.0, 0.0, 0.01, least_passes=3))
    assert trials[0].setting == 0.5


def test_thinned_curves_keep_their_start_and_their_end():
    curve = [(float(k), 1.0 / (k + 1)) for k in range(1234)]
    some = thinned(curve, most=100)
    assert some[0] == curve[0]
    assert some[-1] == curve[-1]
    assert 50 <= len(some) <= 101
    assert thinned(curve[:7], most=100) == curve[:7]


def test_a_curve_of_the_best_so_far_never_rises():
    assert best_so_far([(0, 3.0), (1, 5.0), (2, 1.0), (3, 2.0)]) == [(0, 3.0), (1, 3.0), (2, 1.0), (3, 1.0)]
