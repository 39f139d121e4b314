import json

import pandas as pd
import pytest

from revgn_lab.errors import RunError
from revgn_lab.report.collection import SINGLE, collect, metrics_of
from revgn_lab.report.records import State, read_record
from revgn_lab.runs.run import run
from revgn_lab.studies.rows import LABELS, Labels
from study_folders import ENVIRONMENT, Runs, metrics_of_run, settings_of, write_run


@pytest.fixture
def study(tmp_path):
    """Two seeds of two optimizers, in two studies that share their runs."""
    runs = Runs(tmp_path / "study", [])
    for seed in (42, 43):
        for name in ("Adam", "SGD"):
            runs.add(["full-batch", "ntk"], "full batch", name, seed, metrics_of_run(0.2, seed), settings_of(name, 0.1))
    return runs.write()


def test_study_has_the_labels_of_its_table_and_every_step_of_its_runs(study):
    found = collect([study])
    assert [(each.labels.study, each.labels.optimizer, each.labels.seed) for each in found[:3]] == [
        *(("full-batch", "Adam", 42), ("ntk", "Adam", 42), ("full-batch", "SGD", 42))
    ]
    assert found[0].record is found[1].record
    frame = metrics_of(found)
    assert tuple(frame.columns[: len(LABELS)]) == LABELS
    assert (len(found), len(frame), frame["step"].max()) == (8, 8 * 13, 12)


def test_real_run_is_read_with_settings_and_environment(tiny, tmp_path):
    metrics = run(tiny("--batch_size", "null"), tmp_path / "real", progress=False).metrics
    (one,) = collect([tmp_path / "real"])
    assert one.record.state is State.COMPLETE
    assert one.record.settings["optimizer.lr"] == 0.5
    assert one.record.settings["optimizer"].endswith("GaussNewton")
    assert "torch" in one.record.environment
    assert one.labels == Labels(SINGLE, "", "digits", "full batch of 64 rows", "GaussNewton", 0)
    pd.testing.assert_series_equal(metrics_of([one])["loss"], metrics["loss"])


def test_every_end_of_a_run_is_told(study):
    folders = [each.record.folder for each in collect([study])[::2]]
    for folder in folders[:2]:
        (folder / "results.json").unlink()
    (study / "failures").mkdir()
    (study / "failures" / f"{folders[1].name}.txt").write_text("RuntimeError: out of\nmemory")
    (folders[2] / "results.json").write_text(json.dumps({"diverged": "the loss is inf", "environment": ENVIRONMENT}))
    for path in folders[3].iterdir():
        path.unlink()
    assert [(each.record.state, each.record.reason) for each in collect([study])[::2]] == [
        (State.UNFINISHED, "the same command goes on with it"),
        (State.FAILED, "RuntimeError: out of memory"),
        (State.DIVERGED, "the loss is inf"),
        (State.MISSING, "the command that makes it runs it"),
    ]
    assert set(metrics_of(collect([study]))["seed"]) == {43}  # the diverged one


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.json", "{", "Expecting property name"),
        ("results.json", "[]", "results.json holds no results"),
        ("metrics.csv", "", "No columns to parse"),
        ("metrics.csv", "step,epoch,seconds,loss\n", "metrics.csv lacks rows; remove the folder and run it again"),
        ("metrics.csv", "step,los\n1,2\n", "metrics.csv lacks epoch, seconds, loss"),
        ("metrics.csv", "step,epoch,seconds,loss\n1,1,1,low\n", "something other than numbers in loss"),
        ("config.yaml", "a: [", "is not valid YAML"),
    ],
)
def test_damaged_files_are_a_state_with_a_reason(tmp_path, name, content, message):
    write_run(tmp_path / "run", settings_of("Adam", 0.1), metrics_of_run(0.2, 1))
    (tmp_path / "run" / name).write_text(content)
    record = read_record(tmp_path / "run")
    assert record.state is State.UNREADABLE
    assert message in record.reason
    assert record.metrics is None


def single(folder, *, seed=1, lr=0.1, name="Adam", **settings):
    write_run(folder, {**settings_of(name, lr, **settings), "seed": seed}, metrics_of_run(0.2, seed))
    return folder


def labels(*folders):
    return [(each.labels.setting, each.labels.optimizer, each.labels.seed) for each in collect(folders)]


def test_single_runs_are_curves_of_their_own_unless_only_their_seeds_differ(tmp_path):
    small = single(tmp_path / "c", batch_size=64)
    assert labels(single(tmp_path / "a", lr=0.1), single(tmp_path / "b", lr=0.3, seed=2), small) == [
        ("full batch of 1,024 rows", "Adam, lr 0.1", 1),
        ("full batch of 1,024 rows", "Adam, lr 0.3", 2),
        ("batches of 64 of 1,024 rows", "Adam", 1),
    ]
    found = labels(*(single(tmp_path / str(seed), seed=seed) for seed in (1, 2)))
    assert found == [("full batch of 1,024 rows", "Adam", 1), ("full batch of 1,024 rows", "Adam", 2)]
    # The very same run twice is told apart by its folder.
    assert [name for _, name, _ in labels(tmp_path / "1", single(tmp_path / "twin"))] == ["Adam, 1", "Adam, twin"]


def test_folder_of_runs_and_mixes_are_searched(study, tmp_path):
    single(tmp_path / "deep" / "down" / "a")
    assert len(collect([tmp_path / "deep"])) == 1
    assert len(collect([tmp_path])) == 9
    assert len(collect([study, study])) == 8


def test_two_runs_of_the_same_labels_and_folders_without_runs_are_refused(study, tmp_path):
    table = pd.read_csv(study / "runs.tsv", sep="\t").assign(optimizer="Adam")
    table.to_csv(study / "runs.tsv", sep="\t", index=False)
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("study", "are both full-batch / smoke / digits / full batch / Adam / 42; give folders"),
        ("empty", "holds no runs; name a folder of a study"),
        ("none", "is no folder; name one of a study"),
    ):
        with pytest.raises(RunError, match=message):
            collect([tmp_path / name])
