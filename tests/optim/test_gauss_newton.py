"""GaussNewton as a torch optimizer: what it writes, what it accepts, what it refuses."""

import io
import math
import re

import pytest
import torch

import revgn
from memory import PeakMemory
from networks import classes, normal, rev_mlp
from revgn.losses import CrossEntropyLoss, MSELoss
from revgn.solvers import SVD, Cholesky, Eigh

INPUTS, TARGETS = normal(20, 16), normal(20, 3, seed=5)


def optimizer(network=None, loss=None, **options):
    return revgn.GaussNewton(network or rev_mlp(), loss or MSELoss(), **options)


def train(opt, steps=4, scheduler=None):
    for _ in range(steps):
        opt.backward(INPUTS, TARGETS)
        opt.step()
        if scheduler is not None:
            scheduler.step()
    return [p.detach().clone() for p in opt.model.parameters()]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


class TestReport:
    def test_report_describes_the_step(self):
        opt = optimizer(rev_mlp(first_activation="identity"), lr=0.5)
        report = opt.backward(INPUTS, TARGETS)
        outputs = opt.model(INPUTS).detach()
        torch.testing.assert_close(report.outputs, outputs)
        assert report.loss == pytest.approx(MSELoss()(outputs, TARGETS).item())
        assert report.predicted_loss == pytest.approx(report.loss / 4)
        assert report.exact
        assert report.defect == max(report.defects[1] + report.defects[2])
        assert report.block_weights == (0, 0.5, 0.5)
        assert report.ranks == (None, (20, 20), (20, 20))

    def test_predicted_loss_is_what_a_small_step_reaches(self):
        opt = optimizer(loss=CrossEntropyLoss(), lr=1e-3)
        report = opt.backward(INPUTS, classes(20, 3))
        opt.step()
        reached = opt.backward(INPUTS, classes(20, 3)).loss
        assert reached - report.loss == pytest.approx(report.predicted_loss - report.loss, rel=1e-2)

    def test_ranks_show_what_truncation_keeps(self):
        report = optimizer(solver=Eigh(rtol=0.2), block_weights="sum").backward(INPUTS, TARGETS)
        expected = optimizer(solver=SVD(rtol=0.2), block_weights="sum").backward(INPUTS, TARGETS)
        assert report.ranks == expected.ranks
        assert all(0 < rank < 20 for pair in report.ranks for rank in pair)

    def test_defect_of_the_worst_coupling_in_use(self):
        network = rev_mlp(first_activation="identity")
        report = optimizer(network, block_weights=(0.5, 0.5, 0.0)).backward(INPUTS, TARGETS)
        assert report.defect == max(report.defects[0]) > 0.1
        assert report.defects[2] is None


class TestBlockWeights:
    def test_last_stops_at_the_last_surjective_block(self):
        network = rev_mlp(num_blocks=4)
        opt = optimizer(network, block_weights="last")
        report = opt.backward(INPUTS, TARGETS)
        assert report.block_weights == (0, 0, 0, 1)
        assert report.ranks == (None, None, None, (20, 20))
        assert report.exact

    def test_last_passes_over_a_block_that_is_not_surjective(self):
        network = rev_mlp(num_blocks=3)
        with torch.no_grad():
            network.blocks[2].g.features.projection.zero_()
        report = optimizer(network, block_weights="last").backward(INPUTS, TARGETS)
        assert report.block_weights == (0, 1, 0)
        assert report.ranks[2][1] == 1
        assert report.exact

    @pytest.mark.parametrize("block_weights", ["exact", "last"])
    def test_without_a_surjective_block_the_step_is_uniform_and_says_so_once(self, block_weights):
        opt = optimizer(rev_mlp(hidden_features=10), block_weights=block_weights)
        with pytest.warns(UserWarning, match=r"no block is surjective on this batch: its 20 rows .* has 11") as caught:
            report = opt.backward(INPUTS, TARGETS)
        assert caught[0].filename == __file__
        assert report.block_weights == (1 / 3, 1 / 3, 1 / 3)
        expected = optimizer(opt.model, block_weights="uniform").direction(INPUTS, TARGETS)
        second = opt.direction(INPUTS, TARGETS)  # warnings are errors here: it does not warn again
        assert_same(second.values(), expected.values())

    def test_sum_is_as_many_times_uniform_as_there_are_blocks(self):
        network = rev_mlp()
        total, mean = (optimizer(network, block_weights=w).direction(INPUTS, TARGETS) for w in ("sum", "uniform"))
        for name in total:
            torch.testing.assert_close(total[name], 3 * mean[name])

    def test_a_frozen_block_takes_no_part(self):
        network = rev_mlp()
        network.blocks[1].g.requires_grad_(False)
        report = optimizer(network).backward(INPUTS, TARGETS)
        assert report.block_weights == (0.5, 0, 0.5)
        assert network.blocks[1].g.linear.weight.grad is None
        assert network.blocks[1].f.linear.weight.grad.count_nonzero() == 0


class TestStep:
    @pytest.mark.parametrize("block_weights", ["exact", "last", "uniform", "sum"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("hidden_features", [12, 64])
    def test_features_kept_or_rebuilt_give_the_same_step(self, hidden_features, dtype, block_weights):
        network = rev_mlp(hidden_features=hidden_features, dtype=dtype)
        inputs, targets = INPUTS.to(dtype), TARGETS.to(dtype)
        kept, rebuilt = (
            optimizer(network, block_weights=_quiet(hidden_features, block_weights), keep_features=keep).direction(
                inputs, targets
            )
            for keep in (True, False)
        )
        for name in kept:
            error = (kept[name] - rebuilt[name]).norm() / (kept[name].norm() + 1e-30)
            assert error <= (2e-3 if dtype == torch.float32 else 1e-10)

    def test_direction_is_what_backward_writes_and_touches_nothing(self):
        opt = optimizer(rev_mlp(first_activation="identity"))
        before = [p.detach().clone() for p in opt.model.parameters()]
        steps = opt.direction(INPUTS, TARGETS)
        assert all(p.grad is None for p in opt.model.parameters())
        assert_same(before, [p.detach() for p in opt.model.parameters()])
        opt.backward(INPUTS, TARGETS)
        assert_same(steps.values(), [p.grad for p in opt.model.parameters()])
        assert list(steps) == [name for name, _ in opt.model.named_parameters()]
        assert all(p.grad.is_contiguous() for p in opt.model.parameters())

    def test_backward_replaces_what_stood_in_grad(self):
        opt = optimizer()
        opt.backward(INPUTS, TARGETS)
        first = [p.grad.clone() for p in opt.model.parameters()]
        opt.backward(INPUTS, TARGETS)
        assert_same(first, [p.grad for p in opt.model.parameters()])

    def test_the_step_is_deterministic_and_leaves_the_random_state_alone(self):
        opt = optimizer()
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        first = opt.direction(INPUTS, TARGETS)
        assert torch.equal(torch.rand(3), expected)
        assert_same(first.values(), opt.direction(INPUTS, TARGETS).values())

    def test_a_solved_problem_is_left_alone(self):
        opt = optimizer()
        report = opt.backward(INPUTS, opt.model(INPUTS).detach())
        assert report.loss == 0
        assert report.exact
        assert all(p.grad.count_nonzero() == 0 for p in opt.model.parameters())

    def test_one_row_and_one_output_can_be_fitted(self):
        opt = optimizer(rev_mlp(1, 1, num_blocks=1))
        for _ in range(8):
            report = opt.backward(INPUTS[:1, :1], TARGETS[:1, :1])
            opt.step()
        assert report.loss < 1e-20

    def test_autograd_is_not_needed_and_not_left_behind(self):
        opt = optimizer()
        with torch.no_grad():
            report = opt.backward(INPUTS, TARGETS)
        assert not report.outputs.requires_grad
        assert all(not p.grad.requires_grad for p in opt.model.parameters())


class TestTorchHabits:
    def test_step_subtracts_lr_times_the_direction(self):
        opt = optimizer(lr=0.25)
        before = {name: p.detach().clone() for name, p in opt.model.named_parameters()}
        steps = opt.direction(INPUTS, TARGETS)
        train(opt, 1)
        for name, p in opt.model.named_parameters():
            torch.testing.assert_close(p.detach(), before[name] - 0.25 * steps[name])

    @pytest.mark.parametrize("options", [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 0.1}])
    def test_momentum_and_weight_decay_are_those_of_sgd(self, options):
        opt, reference = optimizer(lr=0.1, **options), rev_mlp()
        sgd = torch.optim.SGD(reference.parameters(), lr=0.1, **options)
        plain = optimizer(reference)
        for _ in range(3):
            for (_, p), step in zip(
                reference.named_parameters(), plain.direction(INPUTS, TARGETS).values(), strict=True
            ):
                p.grad = step
            sgd.step()
        assert_same(train(opt, 3), [p.detach() for p in reference.parameters()])

    def test_learning_rate_schedulers(self):
        opt = optimizer(lr=1.0)
        scheduler = torch.optim.lr_scheduler.StepLR(opt, 1, gamma=0.5)
        train(opt, 3, scheduler)
        assert opt.param_groups[0]["lr"] == 0.125

    def test_parameter_groups_have_rates_of_their_own(self):
        network = rev_mlp()
        groups = [{"params": network.blocks[0].parameters(), "lr": 0.0}, {"params": network.blocks[2].parameters()}]
        opt = optimizer(network, params=groups, lr=0.5)
        before = [p.detach().clone() for p in network.parameters()]
        report = opt.backward(INPUTS, TARGETS)
        opt.step()
        after = [p.detach() for p in network.parameters()]
        assert report.block_weights == (0.5, 0, 0.5)
        assert report.predicted_loss == pytest.approx(report.loss * 0.75**2)
        assert_same(before[:8], after[:8])
        assert not torch.equal(before[8], after[8])
        assert network.blocks[1].f.linear.weight.grad is not None  # its true gradient, for another optimizer

    def test_state_dict_round_trip_continues_to_the_same_end(self):
        straight = train(optimizer(lr=0.3, momentum=0.9), 6)
        first = optimizer(lr=0.3, momentum=0.9)
        train(first, 3)
        stream = io.BytesIO()
        torch.save({"model": first.model.state_dict(), "optimizer": first.state_dict()}, stream)
        stream.seek(0)
        saved = torch.load(stream)
        second = optimizer(rev_mlp(seed=9))
        second.model.load_state_dict(saved["model"])
        second.load_state_dict(saved["optimizer"])
        assert second.param_groups[0]["momentum"] == 0.9
        assert_same(straight, train(second, 3))

    def test_gradients_can_be_clipped_and_zeroed(self):
        opt = optimizer()
        opt.backward(INPUTS, TARGETS)
        torch.nn.utils.clip_grad_norm_(opt.model.parameters(), 0.5)
        total = torch.nn.utils.get_total_norm([p.grad for p in opt.model.parameters()])
        assert total.item() == pytest.approx(0.5)
        opt.zero_grad()
        assert all(p.grad is None for p in opt.model.parameters())

    def test_the_network_trains_by_ordinary_gradients_too(self):
        network = rev_mlp()
        adam = torch.optim.Adam(network.parameters(), lr=1e-2)
        for _ in range(200):
            adam.zero_grad()
            loss = MSELoss()(network(INPUTS), TARGETS)
            loss.backward()
            adam.step()
        assert loss.item() < 1e-2


class TestPrecision:
    def test_autocast_around_the_step_changes_nothing(self):
        network = rev_mlp(dtype=torch.float32)
        inputs, targets = INPUTS.float(), TARGETS.float()
        expected = optimizer(network).direction(inputs, targets)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert network(inputs).dtype == torch.bfloat16
            steps = optimizer(network).direction(inputs, targets)
        assert_same(steps.values(), expected.values())

    def test_reduced_precision_products_are_off_during_the_step_and_on_again_after(self):
        matmul = torch.backends.cuda.matmul
        seen = []

        class Spy(Cholesky):
            def factor_map(self, map, state):
                seen.append((matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision))
                return super().factor_map(map, state)

        torch.set_float32_matmul_precision("medium")
        try:
            before = (matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision)
            optimizer(solver=Spy()).direction(INPUTS, TARGETS)
            after = (matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision)
        finally:
            torch.set_float32_matmul_precision("highest")
        assert before == after == ("tf32", "bf16")
        assert set(seen) == {("ieee", "ieee")}

    def test_settings_are_restored_after_an_error(self):
        torch.set_float32_matmul_precision("medium")
        try:
            with pytest.raises(FloatingPointError, match="the loss is nan"):
                optimizer().backward(INPUTS * math.nan, TARGETS)
            assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        finally:
            torch.set_float32_matmul_precision("highest")


class TestMemory:
    @staticmethod
    def excess(num_blocks, keep_features):
        """Peak bytes of a step beyond parameters and step, at n = 64, d = 32, h = 512."""
        network = rev_mlp(32, 3, num_blocks=num_blocks, hidden_features=512, dtype=torch.float32)
        opt = optimizer(network, keep_features=keep_features)
        inputs, targets = normal(64, 32, dtype=torch.float32), normal(64, 3, dtype=torch.float32)
        with PeakMemory() as memory:
            opt.backward(inputs, targets)
        return memory.peak - sum(p.numel() * p.element_size() for p in network.parameters())

    def test_rebuilt_features_keep_memory_flat_in_depth(self):
        assert self.excess(32, keep_features=False) <= 1.02 * self.excess(4, keep_features=False)

    def test_kept_features_are_what_grows_with_depth(self):
        features_of_a_block = 2 * 64 * 512 * 4
        grown = self.excess(12, keep_features=True) - self.excess(4, keep_features=True)
        assert grown >= 8 * features_of_a_block
        assert grown <= 1.3 * 8 * features_of_a_block


class TestRefusals:
    BAD_BATCHES = [
        (INPUTS[:, :15], TARGETS, ValueError, "inputs of shape (20, 15); expected (n, 16)"),
        (INPUTS[:0], TARGETS[:0], ValueError, "an empty batch: 0 rows; expected at least one"),
        (INPUTS, TARGETS[:19], ValueError, "19 targets for 20 rows of outputs"),
        (INPUTS, classes(20, 3), ValueError, "class indices need a one-hot encoding"),
        (INPUTS.float(), TARGETS, TypeError, "inputs of torch.float32, but the network is torch.float64"),
        (INPUTS.long(), TARGETS, TypeError, "inputs of torch.int64, but the network is torch.float64"),
        (INPUTS.to("meta"), TARGETS, ValueError, "inputs on meta, but the network is on cpu"),
        (INPUTS, TARGETS.to("meta"), ValueError, "targets on meta, outputs on cpu"),
    ]

    @pytest.mark.parametrize(("inputs", "targets", "error", "message"), BAD_BATCHES)
    def test_bad_batches(self, inputs, targets, error, message):
        with pytest.raises(error, match=re.escape(message)):
            optimizer().backward(inputs, targets)

    @staticmethod
    def spoiled(tensor, value, rows):
        tensor = tensor.clone()
        tensor[rows, 1] = value
        return tensor

    def test_rows_that_are_not_finite_are_named_and_nothing_changes(self):
        cases = [
            (
                self.spoiled(INPUTS, math.nan, [3, 7]),
                TARGETS,
                "the loss is nan: inputs hold NaN or infinity in 2 of 20 rows (3, 7)",
            ),
            (self.spoiled(INPUTS, math.inf, list(range(9))), TARGETS, "in 9 of 20 rows (0, 1, 2, 3, 4, ...)"),
            (INPUTS, self.spoiled(TARGETS, math.nan, [0]), "targets hold NaN or infinity in 1 of 20 rows (0)"),
            (INPUTS * 1e300, TARGETS, "the loss is inf: the outputs are finite but too large; lower the learning rate"),
        ]
        opt = optimizer(momentum=0.9)
        train(opt, 2)
        before = [p.detach().clone() for p in opt.model.parameters()]
        gradients = [p.grad.clone() for p in opt.model.parameters()]
        for inputs, targets, message in cases:
            with pytest.raises(FloatingPointError, match=re.escape(message)):
                opt.backward(inputs, targets)
        assert_same(before, [p.detach() for p in opt.model.parameters()])
        assert_same(gradients, [p.grad for p in opt.model.parameters()])

    def test_a_step_that_is_not_finite_changes_nothing(self):
        calls = []

        class Broken(Cholesky):
            def factor_map(self, map, state):
                factor = super().factor_map(map, state)
                calls.append(factor)
                if len(calls) == 6:  # the last of three blocks' couplings, whose step goes nowhere else
                    solve = factor.solve
                    factor.solve = lambda *args: spoiled(solve(*args))
                return factor

        def spoiled(solution):
            solution.delta[0, 0] = math.nan
            return solution

        opt = optimizer(solver=Broken(), block_weights="uniform")
        with pytest.raises(FloatingPointError, match=r"the step for blocks\.0\.g\.linear\.weight is not finite"):
            opt.backward(INPUTS, TARGETS)
        assert all(p.grad is None for p in opt.model.parameters())

    BAD_OPTIONS = [
        ({"lr": -1.0}, ValueError, "Invalid learning rate: -1.0"),
        ({"momentum": -0.1}, ValueError, "Invalid momentum value: -0.1"),
        ({"block_weights": "exakt"}, ValueError, "unknown block_weights 'exakt'; did you mean 'exact'?"),
        ({"block_weights": (0.5, 0.5)}, ValueError, "expected 3 finite numbers, one a block"),
        ({"block_weights": (0.5, math.nan, 0.5)}, ValueError, "expected 3 finite numbers"),
        ({"block_weights": (0, 0, 0)}, ValueError, "not all zero"),
        ({"right_inverse": "reverse"}, ValueError, "unknown right_inverse 'reverse'; did you mean 'reversible'?"),
        ({"loss": torch.nn.L1Loss()}, TypeError, "loss is a L1Loss; its curvature is zero: use revgn.losses.Robust"),
        ({"right_inverse": 3}, TypeError, "right_inverse is a int; expected an object of revgn.right_inverses or one"),
        (
            {"right_inverse": "moore-penrose", "block_weights": "last", "chunk_rows": 3},
            ValueError,
            "block_weights, chunk_rows belong to the reversible right inverse; with MoorePenrose leave them out",
        ),
        (
            {"network": torch.nn.Linear(16, 3), "right_inverse": "reversible"},
            TypeError,
            "model is a Linear, not a revgn.nn.ReversibleNetwork",
        ),
        ({"network": torch.sin}, TypeError, "model is a builtin_function_or_method; expected a torch.nn.Module"),
        ({"network": rev_mlp().bfloat16()}, ValueError, "torch.bfloat16; Gauss-Newton needs float32 or float64"),
    ]

    @pytest.mark.parametrize(("options", "error", "message"), BAD_OPTIONS)
    def test_bad_options(self, options, error, message):
        with pytest.raises(error, match=re.escape(message)):
            optimizer(**options)

    def test_trainable_parameters_outside_the_couplings(self):
        network = rev_mlp(activation=torch.nn.PReLU(dtype=torch.float64))
        with pytest.raises(
            ValueError,
            match=r"features\.activation\.weight.* is no weight or bias of a half-coupling.*moore-penrose",
        ):
            optimizer(network)

    def test_weights_only_for_frozen_blocks(self):
        network = rev_mlp()
        network.blocks[1].requires_grad_(False)
        with pytest.raises(ValueError, match=r"weight only for blocks that are frozen .* which trains \[0, 2\]"):
            optimizer(network, block_weights=(0, 1, 0)).backward(INPUTS, TARGETS)

    def test_no_block_that_can_be_trained(self):
        network = rev_mlp(num_blocks=1)
        network.blocks[0].g.requires_grad_(False)
        with pytest.raises(ValueError, match="no block has all its parameters trainable and in this optimizer"):
            optimizer(network).backward(INPUTS, TARGETS)


def _quiet(hidden_features, block_weights):
    """Where no block is surjective "exact" and "last" warn; the fallback is uniform and tested as such."""
    return block_weights if hidden_features > 20 or block_weights == "sum" else "uniform"
