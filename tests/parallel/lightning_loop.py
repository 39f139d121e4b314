"""A Lightning module with revgn's optimizers, and what training it gives: in one process, or in one of several."""

import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import revgn
from networks import normal
from revgn.losses import MSELoss

ROWS, BATCH = 24, 8
INPUTS, TARGETS = normal(ROWS, 5), normal(ROWS, 3, seed=1)


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 40), nn.Tanh(), nn.Linear(40, 3)).double()


class Module(pl.LightningModule):
    """Manual optimization as the how-to has it; `how` says what differs from that."""

    def __init__(self, how: str, turned: bool = False) -> None:
        super().__init__()
        self.how, self.turned, self.network = how, turned, network()
        self.automatic_optimization = how == "automatic"
        self.losses: list[float] = []

    def configure_optimizers(self) -> Any:
        model, loss, group = self.network, MSELoss(), dist.group.WORLD
        if self.how == "control":
            return revgn.LevenbergMarquardt(model, group=group)
        if self.how == "control, no group":
            return revgn.LevenbergMarquardt(model)
        if self.how == "residuals":
            return revgn.LevenbergMarquardt(model, residuals=lambda m, batch: m(batch[0]) - batch[1])
        if self.how == "remembering":
            solver = revgn.solvers.RunningCurvature()
            return revgn.GaussNewton(
                model, loss, 0.1, right_inverse="adjoint", solver=solver, momentum=0.5, group=group
            )
        if self.how == "two optimizers":
            head = revgn.GaussNewton(model, loss, 0.5, params=model[2].parameters(), group=group)
            return [head, torch.optim.SGD(model[0].parameters(), lr=0.1)], []
        if self.how == "no group":
            return revgn.GaussNewton(model, loss, 0.5, momentum=0.5)
        optimizer = revgn.GaussNewton(model, loss, 0.5, momentum=0.5, group=group)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]

    def train_dataloader(self) -> DataLoader[Any]:
        order = torch.arange(ROWS)
        if self.turned:
            order = order.unflatten(0, (-1, BATCH)).flip(1).flatten()
        rows = TensorDataset(INPUTS[order], TARGETS[order])
        # Lightning's own sampler would shuffle.
        count, index = self.trainer.world_size, self.trainer.global_rank
        sampler = DistributedSampler(rows, count, index, shuffle=False)
        return DataLoader(rows, batch_size=BATCH // count, sampler=sampler)

    def training_step(self, batch: list[Tensor], _: int) -> Any:
        inputs, targets = batch
        if self.how == "automatic":
            return functional.mse_loss(self.network(inputs), targets)
        first, *others = found if isinstance(found := self.optimizers(), list) else [found]
        if self.how == "a loss's backward":
            self.manual_backward(functional.mse_loss(self.network(inputs), targets))
        elif self.how == "residuals":
            first.optimizer.step(batch)
        elif self.how.startswith("control"):
            self.losses.append(first.optimizer.step(inputs, targets).new_loss)
        else:
            self.losses.append(first.backward(inputs, targets).loss)
        if not self.how.startswith(("control", "residuals")):
            for optimizer in (first, *others):
                optimizer.step()
        if self.losses:
            self.log("loss", self.losses[-1])
        return None

    def on_train_epoch_end(self) -> None:
        if self.how == "group":
            self.lr_schedulers().step()


def train(
    how: str,
    epochs: int,
    *,
    count: int = 1,
    turned: bool = False,
    going_on: Path | None = None,
    saved: Path | None = None,
    **options: Any,
) -> Tensor:
    """Losses of the steps and parameters in the end.

    Args:
        how: of `Module`.
        epochs: in all.
        count: of processes, among which the rows of a batch are divided.
        turned: whether the rows of each batch come in the reversed order.
        going_on: a checkpoint.
        saved: where one is written in the end.
        options: of the trainer.
    """
    module = Module(how, turned)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=count,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(module, ckpt_path=going_on)
    if saved is not None:
        trainer.save_checkpoint(saved)
    losses = torch.tensor(module.losses, dtype=torch.float64)
    return torch.cat([losses, *(p.detach().flatten() for p in module.parameters())])


if __name__ == "__main__":
    _, strategy, how, count, path = sys.argv
    torch.set_num_threads(1)
    train(how, 2, count=int(count), strategy=strategy, saved=Path(path))
