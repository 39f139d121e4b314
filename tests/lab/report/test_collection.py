import json

import pandas as pd
import pytest

from revgn_lab.errors import RunError
from revgn_lab.report.collection import SINGLE, collect, metrics_of
from revgn_lab.report.records import State, read_record
from revgn_lab.runs.run import run
from revgn_lab.studies.rows import LABELS
from study_folders import ENVIRONMENT, Runs, metrics_of_run, settings_of, write_run


@pytest.fixture
def study(tmp_path):
    """Two seeds of two optimizers, in two studies that share their runs."""
    runs = Runs(tmp_path / "study", [])
    for seed in (42, 43):
        for name in ("Adam", "SGD"):
            runs.add(["full-batch", "ntk"], "full batch", name, seed, metrics_of_run(0.2, seed), settings_of(name, 0.1))
    return runs.write()


def edit_table(study, change):
    table = pd.read_csv(study / "runs.tsv", sep="\t")
    change(table).to_csv(study / "runs.tsv", sep="\t", index=False)


def states(runs):
    return [(each.record.state, each.record.reason) for each in runs]


def test_study_has_the_labels_of_its_table(study):
    found = collect([study])
    assert [(each.labels.study, each.labels.optimizer, each.labels.seed) for each in found[:3]] == [
        ("full-batch", "Adam", 42),
        ("ntk", "Adam", 42),
        ("full-batch", "SGD", 42),
    ]
    assert len(found) == 8
    assert found[0].record is found[1].record


def test_metrics_have_the_labels_in_front_and_every_step(study):
    frame = metrics_of(collect([study]))
    assert tuple(frame.columns[: len(LABELS)]) == LABELS
    assert len(frame) == 8 * 13
    assert frame["step"].max() == 12


def test_real_run_is_read_with_settings_and_environment(tiny, tmp_path):
    metrics = run(tiny("--batch_size", "null"), tmp_path / "real", progress=False).metrics
    (one,) = collect([tmp_path / "real"])
    assert one.record.state is State.COMPLETE
    assert one.record.settings["optimizer.lr"] == 0.5
    assert one.record.settings["optimizer"].endswith("GaussNewton")
    assert "torch" in one.record.environment
    labels = one.labels
    assert (labels.study, labels.dataset, labels.setting) == (SINGLE, "digits", "full batch of 64 rows")
    assert (labels.optimizer, labels.seed) == ("GaussNewton", 0)
    pd.testing.assert_series_equal(metrics_of([one])["loss"], metrics["loss"])


def test_every_end_of_a_run_is_told(study):
    folders = [each.record.folder for each in collect([study])[::2]]
    (folders[0] / "results.json").unlink()
    (folders[1] / "results.json").write_text(json.dumps({"diverged": "the loss is inf", "environment": ENVIRONMENT}))
    (folders[2] / "metrics.csv").write_text("step,los\n1,2\n")
    for path in folders[3].iterdir():
        path.unlink()
    found = states(collect([study])[::2])
    assert found[0] == (State.UNFINISHED, "the same command goes on with it")
    assert found[1] == (State.DIVERGED, "the loss is inf")
    assert found[2][0] is State.UNREADABLE
    assert "metrics.csv lacks epoch, seconds, loss; remove the folder and run it again" in found[2][1]
    assert found[3][0] is State.MISSING
    assert set(metrics_of(collect([study]))["optimizer"]) == {"SGD"}  # the diverged one


def test_failure_is_told_as_the_study_noted_it(study):
    folder = collect([study])[0].record.folder
    (folder / "results.json").unlink()
    (study / "failures").mkdir()
    (study / "failures" / f"{folder.name}.txt").write_text("RuntimeError: out of\nmemory")
    assert states(collect([study]))[0] == (State.FAILED, "RuntimeError: out of memory")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.json", "{", "Expecting property name"),
        ("results.json", "[]", "results.json holds no results"),
        ("metrics.csv", "", "No columns to parse"),
        ("metrics.csv", "step,epoch,seconds,loss\n", "metrics.csv lacks rows"),
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


def test_seeds_of_single_runs_are_one_curve(tmp_path):
    found = labels(*(single(tmp_path / str(seed), seed=seed) for seed in (1, 2)))
    assert found == [("full batch of 1,024 rows", "Adam", 1), ("full batch of 1,024 rows", "Adam", 2)]


def test_single_runs_that_differ_are_curves_of_their_own(tmp_path):
    one, other = single(tmp_path / "a", lr=0.1), single(tmp_path / "b", lr=0.3)
    small = single(tmp_path / "c", batch_size=64)
    assert labels(one, other, small) == [
        ("full batch of 1,024 rows", "Adam, lr 0.1", 1),
        ("full batch of 1,024 rows", "Adam, lr 0.3", 1),
        ("batches of 64 of 1,024 rows", "Adam", 1),
    ]


def test_same_run_twice_is_told_apart_by_its_folder(tmp_path):
    found = labels(single(tmp_path / "first"), single(tmp_path / "second"))
    assert [optimizer for _, optimizer, _ in found] == ["Adam, first", "Adam, second"]


def test_folder_of_runs_and_mixes_are_searched(study, tmp_path):
    single(tmp_path / "deep" / "down" / "a")
    assert len(collect([tmp_path / "deep"])) == 1
    assert len(collect([tmp_path])) == 9
    assert len(collect([study, study])) == 8


def test_two_runs_of_the_same_labels_are_refused(study):
    edit_table(study, lambda table: table.assign(optimizer="Adam"))
    with pytest.raises(RunError, match="are both full-batch / smoke / digits / full batch / Adam / 42; give folders"):
        collect([study])


def test_folders_without_runs_are_refused(tmp_path):
    with pytest.raises(RunError, match="holds no runs; name a folder of a study"):
        collect([tmp_path])
    with pytest.raises(RunError, match="is no folder; name one of a study"):
        collect([tmp_path / "none"])
