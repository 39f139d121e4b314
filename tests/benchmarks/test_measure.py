"""What the benchmarks measure with: pairs, exponents, memory, and processes that may run out of it."""

import itertools
import math

import pytest
import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

import fresh
import measure
from collectives import Message
from fits import exponent
from links import Link, fitted
from measure import Times
from results import Check, at_least, at_most
from work import Work


def test_pairs_are_taken_in_alternating_order():
    seen = []
    times = measure.in_turns({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, 4)
    assert seen == ["b", "a", "a", "b", "b", "a", "a", "b"]
    assert {name: len(each.taken) for name, each in times.items()} == {"a": 4, "b": 4}


def test_ratios_are_made_pair_by_pair():
    ours, baseline = Times((2.0, 9.0, 4.0)), Times((1.0, 3.0, 8.0))
    ratios = ours.ratios(baseline)
    assert ratios.taken == (2.0, 3.0, 0.5)
    assert ratios.median == 2.0
    assert ratios.spread == (0.5, 3.0)
    assert ours.beside(baseline) == {"seconds": 4.0, "ratio": 2.0, "lowest": 0.5, "highest": 3.0}


def test_the_first_step_is_left_out_unless_it_takes_long_itself(monkeypatch):
    taken = iter([5.0, 1.0, 2.0, 3.0])
    monkeypatch.setattr(measure, "seconds", lambda step: next(taken))
    assert measure.repeated(None, at_least=6.0, most=10).taken == (1.0, 2.0, 3.0)
    taken = iter([5.0, 1.0])
    monkeypatch.setattr(measure, "seconds", lambda step: next(taken))
    assert measure.repeated(None, at_least=5.0, most=10).taken == (5.0,)


def test_the_fastest_candidate_is_found():
    matrix = torch.randn(600, 600)
    candidates = {"slow": lambda: matrix @ matrix @ matrix @ matrix, "quick": lambda: matrix[:8] @ matrix}
    assert measure.fastest(candidates) == "quick"


@pytest.mark.parametrize("power", [0.0, 1.0, 1.7, -2.0])
def test_fits_find_known_exponents(power):
    sizes = [2, 3, 8, 64, 100]
    assert exponent(sizes, [5 * size**power for size in sizes]) == pytest.approx(power, abs=1e-12)


def test_a_fit_is_not_thrown_off_by_noise_that_does_not_depend_on_the_size():
    sizes = [2**k for k in range(8)]
    noise = itertools.cycle([1.1, 0.9])
    assert exponent(sizes, [size**1.5 * next(noise) for size in sizes]) == pytest.approx(1.5, abs=0.05)


def test_fits_refuse_what_has_no_exponent():
    with pytest.raises(ValueError, match="at least two different sizes"):
        exponent([3, 3], [1, 2])
    with pytest.raises(ValueError, match="must be positive"):
        exponent([1, 2], [1, 0])


def test_checks_tell_met_from_not_met_from_not_measured():
    assert str(at_most("ratio", 1.5, 2)) == "met          ratio <= 2: 1.5"
    assert str(at_least("ratio", 1.5, 2)) == "NOT MET      ratio >= 2: 1.5"
    assert at_most("ratio", None, 2) == Check("ratio <= 2", None, None)
    assert str(at_most("ratio", None, 2)) == "not measured ratio <= 2"


def test_memory_in_a_fresh_process_is_that_of_the_arrays_alive_at_once():
    """Rebuilt features leave memory flat in depth, kept ones make it grow by two arrays of them a block."""
    rows, hidden = 256, 2048
    found = fresh.call(
        "lean", "memory", mapped=True, rows=rows, sizes={"in_features": 128, "hidden_features": hidden}, depths=(2, 8)
    )
    memory = {(row["path"], row["blocks"]): row["memory"] for row in found}
    features = rows * hidden * 4 / 1e6
    grown = (memory["fast", 8] - memory["fast", 2]) / (6 * 2 * features)
    assert grown == pytest.approx(1, abs=0.15)
    assert memory["lean", 8] / memory["lean", 2] == pytest.approx(1, abs=0.1)
    assert memory["lean", 2] / features == pytest.approx(4, abs=1.5)  # of f and g, a tangent, and small ones


def test_what_a_fresh_process_may_not_have_is_reported_as_out_of_memory():
    with pytest.raises(fresh.OutOfMemory, match=r"dense\.peak"):
        fresh.call("dense", "peak", method="closed form", rows=512, options={}, memory=1e7)


def test_a_fresh_process_that_takes_too_long_is_ended():
    with pytest.raises(fresh.TimedOut, match=r"math\.factorial took longer than 0\.01 s"):
        fresh.call("math", "factorial", timeout=0.01)


def test_errors_of_a_fresh_process_are_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match=r"math\.sqrt failed with status 1"):
        fresh.call("math", "sqrt")
    assert not fresh.is_out_of_memory(ValueError("math domain error"))
    assert fresh.is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."))
    assert math.isfinite(measure.address_space())


@pytest.mark.parametrize("world", [2, 8])
def test_links_are_fitted_and_tell_what_other_messages_take(world):
    link = Link(3e-5, {"all_gather": 1e9, "all_reduce": 2e9})
    plain = [Message(operation, size) for operation in ("all_reduce", "all_gather") for size in (16, 4096, 1 << 20)]
    found = fitted({message: link.seconds([message], world) for message in plain}, world)
    assert found.latency == pytest.approx(3e-5)
    assert found.bandwidth == pytest.approx(link.bandwidth)
    # A sum there and back through a tree, its bytes twice around a ring; parts of the others once.
    step = [Message("all_reduce", 800), Message("all_gather", 100)]
    rounds = {2: 2 + 1, 8: 6 + 3}[world]
    received = 2 * 800 * (world - 1) / world, 100 * (world - 1)
    assert found.seconds(step, world) == pytest.approx(3e-5 * rounds + received[0] / 2e9 + received[1] / 1e9)


def test_what_one_process_sends_and_computes_is_counted():
    matrix = torch.randn(6, 6, dtype=torch.float64)
    dist.init_process_group("fake", rank=0, world_size=4, store=FakeStore())
    try:
        with Work() as work:
            dist.all_reduce(matrix[:2].clone())
            dist.all_gather([torch.empty(6) for _ in range(4)], torch.ones(6))
            factor = torch.linalg.cholesky(matrix @ matrix.mT + torch.eye(6))
            torch.cholesky_solve(matrix[:, :3], factor)
    finally:
        dist.destroy_process_group()
    assert work.messages == [Message("all_reduce", 96), Message("all_gather", 24)]
    assert work.received == {"all_reduce": 96, "all_gather": 72}
    assert work.operations == 2 * 6**3 + 6**3 / 3 + 2 * 6**2 * 3
