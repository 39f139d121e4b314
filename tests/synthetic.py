"""Metrics that look like those of real runs, made without any training."""

import numpy as np
import pandas as pd

FULL, MINI = "full batch", "mini-batches"
OPTIMIZERS = ("GaussNewton", "Adam", "SGD")


def metrics(*, rates=(1.0, 0.2, 0.1), seeds=(42, 43), epochs=12, batches=3):
    """Losses that fall by exp(-rate) at every step, in the columns of `revgn_lab.runs.run`."""
    runs = [
        _run(setting, optimizer, seed, rate, epochs, 1 if setting == FULL else batches)
        for setting in (FULL, MINI)
        for optimizer, rate in zip(OPTIMIZERS, rates, strict=True)
        for seed in seeds
    ]
    return pd.concat(runs, ignore_index=True)


def _run(setting, optimizer, seed, rate, epochs, batches):
    step = np.arange(1, epochs * batches + 1)
    loss = 2.0 * (1 + 0.1 * (seed - 42)) * np.exp(-rate * (step - 1))
    last = step % batches == 0
    exact = optimizer == "GaussNewton"
    return pd.DataFrame(
        {
            "setting": setting,
            "optimizer": optimizer,
            "seed": seed,
            "step": step,
            "epoch": (step - 1) // batches + 1,
            "seconds": step * (0.05 if exact else 0.01),
            "loss": loss,
            "loss_after": loss * np.exp(-rate),
            "defect": 1e-6 * step if exact else np.nan,
            "exact": pd.array([True if exact else None] * len(step), dtype="boolean"),
            "test_loss": np.where(last, loss + 0.1, np.nan),
            "test_accuracy": np.where(last, 90.0 - seed % 42 - rate, np.nan),
        }
    )
