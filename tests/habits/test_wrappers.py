"""Modules that torch has wrapped: compiled, data-parallel; Lightning's loop around the optimizer."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import revgn
from networks import normal
from revgn.losses import MSELoss

INPUTS, TARGETS = normal(10, 4), normal(10, 2, seed=5)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 2)).double()


@pytest.fixture
def one_process():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def assert_same_steps(wrapped, plain):
    """Both optimizers on the same parameters; the names are those of the module within."""
    for make in (revgn.GaussNewton, revgn.LevenbergMarquardt):
        first, second = make(wrapped, MSELoss()), make(plain, MSELoss())
        assert first.model is plain
        expected = second.direction(INPUTS, TARGETS)
        found = first.direction(INPUTS, TARGETS)
        assert list(found) == list(expected)
        for name in expected:
            assert torch.equal(found[name], expected[name])


class TestCompiled:
    @pytest.mark.parametrize("backend", ["eager", "aot_eager"])
    def test_a_compiled_model_is_stepped_as_the_module_within(self, backend):
        model = network()
        compiled = torch.compile(model, backend=backend)
        compiled(INPUTS)
        assert_same_steps(compiled, model)
        optimizer = revgn.GaussNewton(compiled, MSELoss())
        report = optimizer.backward(INPUTS, TARGETS)
        optimizer.step()
        assert report.exact
        torch.testing.assert_close(compiled(INPUTS), model(INPUTS))

    def test_a_reversible_network_is_recognised_within(self):
        model = revgn.RevMLP(4, 2, num_blocks=2, hidden_features=40, dtype=torch.float64)
        optimizer = revgn.GaussNewton(torch.compile(model, backend="eager"), MSELoss())
        assert isinstance(optimizer.right_inverse, revgn.right_inverses.Reversible)
        assert optimizer.backward(INPUTS, TARGETS).exact

    @pytest.mark.parametrize("right_inverse", ["moore-penrose", "adjoint"])
    def test_parts_that_are_compiled_in_place_give_the_same_step(self, right_inverse):
        plain, model = network(), network()
        model[0].compile(backend="aot_eager")
        model[2] = torch.compile(model[2], backend="aot_eager")
        options = {"right_inverse": right_inverse}
        report = revgn.GaussNewton(model, MSELoss(), **options).backward(INPUTS, TARGETS)
        revgn.GaussNewton(plain, MSELoss(), **options).backward(INPUTS, TARGETS)
        assert report.exact
        for p, q in zip(model.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad)

    def test_fit_takes_a_compiled_model(self):
        model = network()
        compiled = torch.compile(model, backend="eager")
        optimizer = revgn.LevenbergMarquardt(compiled)
        fit = revgn.fit(compiled, None, INPUTS, TARGETS, optimizer=optimizer, max_steps=20)
        assert fit.model is model
        assert fit.history[-1]["loss"] < 1e-6


class TestParallel:
    def test_data_parallel_is_stepped_as_the_module_within(self):
        model = network()
        assert_same_steps(nn.DataParallel(model), model)

    @pytest.mark.usefixtures("one_process")
    def test_distributed_data_parallel_of_one_process_is_stepped_as_the_module_within(self):
        model = network()
        wrapped = DistributedDataParallel(model)
        assert_same_steps(wrapped, model)
        assert_same_steps(torch.compile(wrapped, backend="eager"), model)
        wrapped(INPUTS).sum().backward()  # its reducer is none the worse for it


class TestLightning:
    @staticmethod
    def fit(module):
        pl = pytest.importorskip("lightning.pytorch")
        rows = torch.utils.data.TensorDataset(INPUTS, TARGETS)
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, torch.utils.data.DataLoader(rows, batch_size=5))

    @staticmethod
    def module(training_step, automatic):
        pl = pytest.importorskip("lightning.pytorch")

        class Module(pl.LightningModule):
            def __init__(self):
                super().__init__()
                self.automatic_optimization = automatic
                self.network = network()

            def configure_optimizers(self):
                return revgn.GaussNewton(self.network, MSELoss())

        Module.training_step = training_step
        return Module()

    def test_manual_optimization_takes_the_steps_of_a_plain_loop(self):
        def training_step(self, batch, _):
            optimizer = self.optimizers()
            self.log("loss", optimizer.backward(*batch).loss)
            optimizer.step()

        module = self.module(training_step, automatic=False)
        self.fit(module)
        plain = revgn.GaussNewton(network(), MSELoss())
        for rows in (slice(0, 5), slice(5, 10)):
            plain.backward(INPUTS[rows], TARGETS[rows])
            plain.step()
        for p, q in zip(module.network.parameters(), plain.model.parameters(), strict=True):
            assert torch.equal(p, q)

    def test_automatic_optimization_is_refused(self):
        def training_step(self, batch, _):
            return nn.functional.mse_loss(self.network(batch[0]), batch[1])

        with pytest.raises(RuntimeError, match=r"call optimizer\.backward\(inputs, targets\) in place of loss\.backw"):
            self.fit(self.module(training_step, automatic=True))
