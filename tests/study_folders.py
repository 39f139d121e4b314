"""Folders of studies and of runs as `revgn study` and `revgn train` leave them, made without any training."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import yaml

SEEDS = (42, 43, 44)
ENVIRONMENT = {
    "revgn": "0.1.0",
    "Python": "3.11.2",
    "torch": "2.13.0",
    "CPU": "a processor, 2 cores",
    "date": "2026-01-01",
}
HALVES = ("1f", "1g", "2f", "2g")
OPTIMIZERS = {
    "GN exact": ("GaussNewton", 1.0),
    "GN as released": ("GaussNewton", 0.4),
    "Adam": ("Adam", 0.2),
    "SGD": ("SGD", 0.1),
}


@dataclass
class Runs:
    """Rows of runs.tsv in the making, with the folders of the runs."""

    home: object
    rows: list

    def add(self, studies, setting, optimizer, seed, frame, settings, *, dataset="digits", scale="smoke"):
        digest = hashlib.sha1(json.dumps([settings, seed], sort_keys=True).encode()).hexdigest()[:8]
        folder = f"runs/{optimizer.replace(' ', '-')}-{digest}"
        if not (self.home / folder).is_dir():
            write_run(self.home / folder, {**settings, "seed": seed}, frame)
        labels = {"scale": scale, "dataset": dataset, "setting": setting, "optimizer": optimizer, "seed": seed}
        rest = {"folder": folder, "batch": "b0", "threads": 1}
        self.rows += [{"study": study, **labels, **rest} for study in studies]
        return self.home / folder

    def write(self):
        self.home.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(self.rows).to_csv(self.home / "runs.tsv", sep="\t", index=False)
        return self.home


def write_run(folder, settings, frame, *, diverged=None):
    """A complete run; without metrics one that was only begun."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / "checkpoint.ckpt").touch()
    if frame is not None:
        frame.to_csv(folder / "metrics.csv", index=False)
        results = {"final": {}, "environment": ENVIRONMENT} | ({"diverged": diverged} if diverged else {})
        (folder / "results.json").write_text(json.dumps(results))


def settings_of(class_path, lr, *, rows=1024, batch_size=None, data="digits", **others):
    """What config.yaml holds."""
    return {
        "data": {"name_or_path": data, "rows": rows},
        "model": {"num_blocks": 2, "hidden_features": 2000},
        "loss": {"class_path": "CrossEntropyLoss", "init_args": {}},
        "optimizer": {"class_path": class_path, "init_args": {"lr": lr, **others}},
        "epochs": 10,
        "batch_size": batch_size,
    }


def metrics_of_run(
    rate, seed, *, epochs=12, batches=1, floor=1e-9, lr=0.1, accuracy=90.0, wobble=0.05, evaluated="accuracy"
):
    """A loss that falls by exp(-rate) a step down to `floor`, with a row before training."""
    rng = np.random.default_rng([seed, round(1000 * rate)])
    step = np.arange(epochs * batches + 1)
    loss = 2.3 * np.exp(-rate * (step - 1)) * np.exp(wobble * rng.normal()) + floor
    ends = step % batches == 0
    frame = pd.DataFrame(
        {
            "step": step,
            "epoch": -(-step // batches),
            "seconds": step * (0.02 + 0.1 * rate),
            "lr": lr,
            "loss": loss,
            "loss_after": loss * np.exp(-rate),
            "accuracy": 100 * (1 - np.exp(-rate * step)),
            "test_loss": np.where(ends, loss + 0.3, np.nan),
            f"test_{evaluated}": np.where(ends, accuracy * (1 - 0.9 * np.exp(-rate * step)) + rng.normal(), np.nan),
        }
    )
    frame.loc[0, ["lr", "loss", "loss_after", "accuracy"]] = np.nan
    return frame


def diagnosed(frame, optimizer, rate, seed):
    """The same with what callbacks record: kernel, representations, weights, exactness."""
    rng = np.random.default_rng(seed)
    frame = frame.copy()
    ends = frame["test_loss"].notna()
    time = np.linspace(0, 1, ends.sum())
    moved = 0.02 / rate
    similarity = 1 - moved * time * (1 + 0.1 * rng.random())
    frame.loc[ends, "ntk_similarity"] = similarity
    frame.loc[ends, "ntk_similarity_error"] = 0.01 * (time > 0)
    frame.loc[ends, "ntk_change"] = np.concatenate([[np.nan], np.abs(np.diff(similarity))])
    for block in (1, 2):
        frame.loc[ends, f"cka_{block}"] = 1 - moved * block * time
    for half in HALVES:
        still = optimizer == "GN exact" and half.startswith("1")
        frame.loc[ends, f"weight_change_{half}"] = 0.0 if still else 30 * time + 0 * moved
        frame.loc[ends, f"weight_cosine_{half}"] = 1.0 if still else 1 - 0.9 * time
        solved = optimizer.startswith("GN") and not still
        frame[f"defect_{half}"] = np.where(solved & (frame["step"] > 0), 1e-5 * rng.lognormal(size=len(frame)), np.nan)
        frame[f"rank_{half}"] = np.where(solved & (frame["step"] > 0), 900 + rng.integers(0, 9, len(frame)), np.nan)
    defects = frame[[f"defect_{half}" for half in HALVES]]
    exact = (defects.max(axis=1) < 1e-3).astype(float).where(defects.notna().any(axis=1))
    return frame.assign(defect=defects.max(axis=1), exact=exact)


def representations(folder, seed, spread):
    """Final outputs of both blocks, the nearer to those of other optimizers the smaller the spread."""
    shared = np.random.default_rng(seed).normal(size=(32, 12))
    own = np.random.default_rng(abs(hash(spread)) % 1000).normal(size=(32, 12))
    blocks = {f"block_{block}": (shared + block * spread * own).astype(np.float32) for block in (1, 2)}
    np.savez(folder / "representations.npz", **blocks)


def every_study(home, seeds=SEEDS):
    """A folder with a few runs of every kind of study."""
    runs = Runs(home, [])
    inside = ["ntk", "cka", "weights", "exactness"]
    for seed in seeds:
        for label, (name, rate) in OPTIMIZERS.items():
            full = diagnosed(metrics_of_run(rate, seed, accuracy=80 - 9 * rate), label, rate, seed)
            folder = runs.add(["full-batch", *inside], "full batch", label, seed, full, settings_of(name, rate))
            representations(folder, seed, 1 - rate)
            mini = metrics_of_run(rate, seed, batches=3, floor=0.5 * rate, accuracy=90 - 9 * rate)
            mini = diagnosed(mini, label, rate, seed)
            folder = runs.add(
                ["mini-batch", *inside], "mini-batches", label, seed, mini, settings_of(name, rate, batch_size=128)
            )
            representations(folder, seed, 1 - rate)
        _theorem(runs, seed)
        _sweeps(runs, seed)
        for data in ("diabetes", "concrete"):
            for label, (name, rate) in OPTIMIZERS.items():
                frame = metrics_of_run(rate, seed, floor=0.1, evaluated="r2", accuracy=0.8)
                runs.add(
                    ["regression"], "full batch", label, seed, frame, settings_of(name, rate, data=data), dataset=data
                )
    return runs.write()


def _theorem(runs, seed):
    for lr in (0.4, 0.2, 0.1, 0.05):
        steps = round(4 / lr)
        for label, apart in {"J^+ (dense)": 0.0, "GN exact": 0.3, "GN last block": 0.8, "GN weights 1:3": 0.5}.items():
            frame = metrics_of_run(lr, seed, epochs=steps, wobble=0, lr=lr)
            start = frame["loss"].iloc[1]
            time = lr * (frame["step"] - 1)
            frame["loss"] = frame["loss"] + start * apart * lr * time * np.exp(-time)
            runs.add(["theorem"], f"lr {lr:g}", label, seed, frame, settings_of("GaussNewton", lr, right_inverse=label))


def _sweeps(runs, seed):
    for label in ("GN exact", "Adam"):
        for lr in (0.01, 0.1, 1.0):
            frame = metrics_of_run(lr, seed, epochs=4)
            runs.add(["learning-rate"], f"lr {lr:g}", label, seed, frame, settings_of(label, lr))
        for size in (16, 64, None):
            frame = metrics_of_run(0.3, seed, epochs=4)
            setting = f"batch {size}" if size else "full batch"
            runs.add(["batch-size"], setting, label, seed, frame, settings_of(label, 0.3, batch_size=size))
    for setting in ("none", "truncation 0.1", "truncation 0.01", "damping 0.1", "damping 0.001"):
        frame = metrics_of_run(0.5, seed, epochs=4)
        runs.add(["regularisation"], setting, "GN exact", seed, frame, settings_of("GaussNewton", 0.5, solver=setting))
