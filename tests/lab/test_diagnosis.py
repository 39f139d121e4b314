"""What runs record of their networks, against the plain functions on networks rebuilt from seed and checkpoint."""

import copy
import json
import math

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from networks import normal
from revgn.diagnostics import linear_cka, ntk_similarity, weight_change
from revgn_lab.runs import folders
from revgn_lab.runs.build import build_data, build_loss, build_module
from revgn_lab.runs.diagnosis.kernel import KernelDiagnosis
from revgn_lab.runs.diagnosis.representations import RepresentationDiagnosis
from revgn_lab.runs.diagnosis.weight_movement import WeightDiagnosis
from revgn_lab.runs.metrics_table import COLUMNS, DIAGNOSTIC_COLUMNS, in_order
from revgn_lab.runs.run import run

ALL = ("--diagnostics=[ntk, cka, weights, exactness]", "--probe_rows=12")
ADAM = ("--optimizer", "Adam", "--optimizer.lr=0.01")
HALVES = ["1f", "1g", "2f", "2g"]


def networks(config, folder):
    """The network before training and after it, and the test inputs."""
    dataset = build_data(config)
    start = build_module(config, dataset, build_loss(config)).model
    end = copy.deepcopy(start)
    state = torch.load(folder / folders.CHECKPOINT, weights_only=True)["state_dict"]
    end.load_state_dict({name.removeprefix("model."): value for name, value in state.items()})
    return start, end, dataset.test_inputs


@torch.no_grad()
def states(network, inputs):
    found = [network.lifted(inputs)]
    for block in network.blocks:
        found.append(block(found[-1]))
    return found[1:]


@pytest.fixture
def diagnosed(tiny, tmp_path):
    """The configuration, folder and metrics of a run with everything on."""
    config = tiny(*ALL, *ADAM)
    return config, tmp_path / "run", run(config, tmp_path / "run", progress=False).metrics


def test_the_end_of_a_run_is_compared_with_its_start(diagnosed):
    config, folder, metrics = diagnosed
    start, end, inputs = networks(config, folder)
    last = metrics.iloc[-1]
    similarity = ntk_similarity(end, start, inputs[:12])
    assert similarity.value < 0.999
    assert last["ntk_similarity"] == pytest.approx(similarity.value, rel=1e-4)
    assert last["ntk_similarity_error"] == 0
    alike = [linear_cka(x, y, debiased=True) for x, y in zip(states(start, inputs[:12]), states(end, inputs[:12]))]  # noqa: B905
    assert [last["cka_1"], last["cka_2"]] == pytest.approx(alike, rel=1e-4)
    assert min(alike) < 0.9999
    for number, half in HALVES:
        coupling = [getattr(network.blocks[int(number) - 1], half).linear for network in (start, end)]
        w0, w = (torch.cat([c.weight.flatten(), c.bias]).detach().double() for c in coupling)
        assert last[f"weight_change_{number}{half}"] == pytest.approx(float((w - w0).norm() / w0.norm()))
        assert last[f"weight_cosine_{number}{half}"] == pytest.approx(float(w @ w0 / (w.norm() * w0.norm())))


def test_diagnoses_stand_in_the_rows_of_epochs_and_begin_where_nothing_has_changed(diagnosed):
    metrics = diagnosed[2].set_index("step")
    columns = [name for name in metrics if name not in COLUMNS]
    assert columns == [
        *("ntk_similarity", "ntk_similarity_error", "ntk_change", "cka_1", "cka_2"),
        *(f"weight_change_{half}" for half in HALVES),
        *(f"weight_cosine_{half}" for half in HALVES),
    ]
    told = metrics[columns].drop(columns="ntk_change").notna()
    assert told.all(axis=1).tolist() == told.any(axis=1).tolist() == [step % 4 == 0 for step in range(13)]
    assert metrics["ntk_change"].dropna().index.tolist() == [4, 8, 12]
    first = metrics.loc[0]
    assert first[["ntk_similarity", "cka_1", "cka_2"]].tolist() == pytest.approx(3 * [1], abs=1e-12)
    assert first[[f"weight_change_{half}" for half in HALVES]].eq(0).all()
    assert first[[f"weight_cosine_{half}" for half in HALVES]].eq(1).all()


def test_the_change_of_the_kernel_is_from_one_diagnosis_to_the_next(tiny, trained, tmp_path):
    settings = ("--diagnostics=[ntk]", "--probe_rows=12", *ADAM)
    whole = trained(*settings, folder="whole")
    trained(*settings, epochs=2, folder="part")
    _, middle, inputs = networks(tiny(*settings), tmp_path / "part")
    _, end, _ = networks(tiny(*settings), tmp_path / "whole")
    expected = 1 - ntk_similarity(end, middle, inputs[:12]).value
    assert whole["ntk_change"].iloc[-1] == pytest.approx(expected, rel=1e-2)
    assert expected > 1e-5


def test_large_kernels_are_estimated_with_error_bars_and_the_seed_of_the_run(tiny, tmp_path):
    config = tiny("--diagnostics=[ntk]", "--probe_rows=65", *ADAM, epochs=2, seed=5)
    last = run(config, tmp_path / "run", progress=False).metrics.iloc[-1]
    start, end, inputs = networks(config, tmp_path / "run")
    generator = torch.Generator().manual_seed(5)
    expected = ntk_similarity(end, start, inputs[:65], samples=32, generator=generator)
    assert last["ntk_similarity"] == pytest.approx(expected.value, rel=1e-5)
    assert last["ntk_similarity_error"] == pytest.approx(expected.standard_error, rel=1e-2)
    exact = ntk_similarity(end, start, inputs[:65]).value
    assert 0 < abs(last["ntk_similarity"] - exact) < 4 * last["ntk_similarity_error"]


def test_diagnosis_changes_nothing_about_the_training_and_its_time_is_not_counted(trained, monkeypatch):
    now = iter(range(1000))
    monkeypatch.setattr("revgn_lab.runs.training.training_module.time.perf_counter", lambda: float(next(now)))
    plain, watched = trained(*ADAM, folder="plain"), trained(*ALL, *ADAM, folder="watched")
    assert watched["seconds"].tolist() == [float(step) for step in range(13)]
    pd.testing.assert_frame_equal(plain, watched[list(plain)], check_exact=True)


def test_diagnoses_come_every_few_epochs_and_at_the_end(trained):
    metrics = trained("--diagnostics=[weights]", batch_size=None, epochs=5, diagnose_every=2, evaluate_every=5)
    assert metrics.loc[metrics["weight_change_2g"].notna(), "step"].tolist() == [0, 2, 4, 5]


def test_exactness_is_told_of_every_half_coupling_that_was_solved(trained):
    words = ("--diagnostics=[exactness]", "--batch_size=48")
    last = trained(*words, folder="exact")
    names = [name for name in last if name not in COLUMNS]
    assert names == ["defect_2f", "defect_2g", "rank_2f", "rank_2g"]  # the first block, linear, was never solved
    steps = last.iloc[1:]
    assert steps[names].notna().all(axis=None)
    assert steps[["defect_2f", "defect_2g"]].max(axis=1).tolist() == steps["defect"].tolist()
    assert steps[["rank_2f", "rank_2g"]].eq(48).all(axis=None)
    words += ("--optimizer.block_weights=uniform", "--optimizer.solver=Eigh")
    both = trained(*words, folder="uniform").iloc[1:]
    assert both[[f"defect_{half}" for half in HALVES]].notna().all(axis=None)
    assert both[["rank_1f", "rank_1g"]].le(33).all(axis=None)  # half the state and the bias
    assert both["defect_1f"].min() > 0.1
    # First-order methods have no exactness, and the dense step no halves.
    for words in (ADAM, ("--optimizer", "DenseGaussNewton", "--model.hidden_features=null")):
        assert not set(trained("--diagnostics=[exactness]", *words, epochs=1, folder=words[1])) - set(COLUMNS)


def test_the_representations_at_the_end_are_kept_for_comparison_across_runs(diagnosed):
    config, folder, _ = diagnosed
    _, end, inputs = networks(config, folder)
    with np.load(folder / folders.REPRESENTATIONS) as arrays:
        assert sorted(arrays) == ["block_1", "block_2"]
        for name, state in zip(["block_1", "block_2"], states(end, inputs[:12]), strict=True):
            assert arrays[name].dtype == np.float32
            np.testing.assert_allclose(arrays[name], state.numpy(), rtol=1e-5, atol=1e-6)


def test_a_run_killed_between_its_last_checkpoint_and_its_results_still_leaves_representations(diagnosed):
    config, folder, metrics = diagnosed
    before = dict(np.load(folder / folders.REPRESENTATIONS))
    (folder / folders.REPRESENTATIONS).unlink()
    (folder / folders.RESULTS).unlink()
    again = run(config, folder, resume=True, progress=False).metrics
    pd.testing.assert_frame_equal(again, metrics, check_exact=True)
    with np.load(folder / folders.REPRESENTATIONS) as after:
        assert all(np.array_equal(after[name], before[name]) for name in ("block_1", "block_2"))
    assert (folder / folders.RESULTS).is_file()


def test_representations_are_of_all_rows_where_there_are_less_and_are_removed_by_a_run_without_them(
    tiny, trained, tmp_path
):
    trained("--diagnostics=[cka]", "--probe_rows=5000", epochs=1)
    with np.load(tmp_path / folders.REPRESENTATIONS) as arrays:
        assert arrays["block_2"].shape == (359, 64)
    run(tiny(epochs=1), tmp_path, progress=False, overwrite=True)
    assert not (tmp_path / folders.REPRESENTATIONS).exists()


def test_results_are_plain_json_also_where_a_cosine_does_not_exist(trained, tmp_path):
    metrics = trained("--diagnostics=[weights]", "--model.init_std=0", epochs=1)
    assert math.isinf(metrics["weight_change_2f"].iloc[-1])
    final = json.loads((tmp_path / folders.RESULTS).read_text(), parse_constant=pytest.fail)["final"]
    assert (final["weight_change_2f"], final["weight_cosine_2f"]) == (None, None)


def test_columns_stand_in_the_order_of_the_documentation():
    names = ["rank_10f", "cka_2", "weight_cosine_1g", "loss", "cka_10", "rank_2g", "rank_2f", "ntk_change", "step"]
    expected = ["step", "loss", "ntk_change", "cka_2", "cka_10", "weight_cosine_1g", "rank_2f", "rank_2g", "rank_10f"]
    assert in_order([*names, "unknown", "unknown_2f"]) == expected
    assert not set(COLUMNS) & set(DIAGNOSTIC_COLUMNS)


class Classifier(pl.LightningModule):
    """Somebody else's module: automatic optimization, dropout, batch norm, no block anywhere."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Sequential(torch.nn.Linear(5, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU())
        self.last = torch.nn.Sequential(torch.nn.Dropout(0.1), torch.nn.Linear(16, 3))

    def forward(self, inputs):
        return self.last(self.first(inputs))

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.mse_loss(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def fit(module, folder, epochs, callbacks, **options):
    rows = torch.utils.data.TensorDataset(normal(32, 5).float(), normal(32, 3, seed=1).float())
    logger = CSVLogger(folder, name="", version="")
    silent = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=epochs, callbacks=callbacks, logger=logger, log_every_n_steps=1, **silent
    )
    trainer.fit(module, torch.utils.data.DataLoader(rows, batch_size=8), **options)
    logger.save()
    return trainer, pd.read_csv(folder / "metrics.csv").groupby("step").first()


def diagnoses_of(module):
    probe = normal(10, 5, seed=2).float()
    return [
        KernelDiagnosis(module, probe),
        RepresentationDiagnosis(module, probe, {"hidden": module.first}),
        WeightDiagnosis({"first": list(module.first.parameters())}),
    ]


def test_the_callbacks_serve_any_lightning_module(tmp_path):
    module = Classifier()
    start = copy.deepcopy(module)
    _, metrics = fit(module, tmp_path, 3, diagnoses_of(module))
    assert metrics.index.tolist() == [0, 4, 8, 12]
    last, probe = metrics.iloc[-1], normal(10, 5, seed=2).float()
    assert last["ntk_similarity"] == pytest.approx(ntk_similarity(module, start, probe).value, rel=1e-5)
    hidden = [each.eval().first(probe).detach() for each in (module, start)]
    assert last["cka_hidden"] == pytest.approx(linear_cka(*hidden, debiased=True), rel=1e-5)
    change = weight_change(module, start)["first.0.weight"].norm
    assert 0.5 * change < last["weight_change_first"] < 2 * change


def test_the_callbacks_go_on_from_a_checkpoint_of_any_trainer(tmp_path):
    fitted = []
    for folder, epochs in ((tmp_path / "whole", 4), (tmp_path / "broken", 2)):
        module = Classifier()
        pl.seed_everything(0, verbose=False)
        fitted.append(fit(module, folder, epochs, diagnoses_of(module)))
    (_, expected), (trainer, first) = fitted
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    state = torch.get_rng_state()
    module = Classifier()
    diagnoses = diagnoses_of(module)
    torch.set_rng_state(state)
    _, second = fit(module, tmp_path / "resumed", 4, diagnoses, ckpt_path=tmp_path / "half.ckpt")
    pd.testing.assert_frame_equal(pd.concat([first, second]), expected, check_exact=True, check_like=True)
