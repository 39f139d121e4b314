import re
from collections import Counter

import pytest
import torch

import revgn
from revgn_lab.errors import ConfigError
from revgn_lab.settings.parsing import parse, read_yaml
from revgn_lab.settings.shipped import find_config, shipped_studies
from revgn_lab.settings.words import overrides_of
from revgn_lab.studies.expansion import expand, folder_of
from revgn_lab.studies.grids import SCALES, find_study
from revgn_lab.studies.rows import runs_of

BESIDE = ("all", "talk", "demo")  # made of the others, or for a first look
FIGURES = [name for name in shipped_studies() if name not in BESIDE]
SWEPT = re.compile(r"(lr|init std|weight decay|rtol|damping|noise|batch size) ([\d.]+)$")


@pytest.fixture(scope="module", params=SCALES)
def everything(request):
    """Every study at a scale; that it can be had at all means that every setting in it is a valid one."""
    return expand("all", request.param)


def test_all_holds_every_study_and_each_curve_once(everything):
    assert set(dict.fromkeys(row.study for row in everything)) == set(FIGURES)
    curves = Counter((row.study, row.dataset, row.setting, row.optimizer, row.seed) for row in everything)
    assert set(curves.values()) == {1}


def test_labels_tell_the_settings_that_runs_have(everything):
    for row in everything:
        config = row.config if row.seed == 42 else None
        if config is None:
            continue
        assert config.training.seed == 42
        assert (config.training.batch_size is None) == ("full batch" in row.setting or full_batch_otherwise(row))
        swept = SWEPT.search(row.setting)
        if swept and swept[0] != "batch size 1438" and config.training.batch_size is not None:
            assert float(swept[2]) in values_of(config)


def full_batch_otherwise(row):
    whole = {"smoke": "1438", "cpu": "4096", "paper": "7680"}[row.scale]
    return row.study == "theorem" or row.setting == f"batch size {whole}"


def values_of(config):
    """Numbers that a label may name."""
    numbers = [
        *config.parts["optimizer"].init_args.values(),
        config.training.batch_size,
        *config.parts["model"].init_args.values(),
    ]
    solver = config.parts.get("optimizer.solver")
    numbers += solver.init_args.values() if solver else []
    return [float(number) for number in numbers if isinstance(number, int | float)]


def test_the_diagnosed_studies_look_at_the_runs_of_full_batch_and_mini_batch(everything):
    folders = {name: {row.folder for row in everything if row.study == name} for name in FIGURES}
    settings = ("full batch", "mini-batches")
    trained = {
        row.folder for row in everything if row.study in {"full-batch", "mini-batch"} and row.setting in settings
    }
    for name in ("ntk", "cka", "weights", "exactness"):
        assert folders[name] == trained
    for row in everything:
        if row.study == "ntk":
            assert row.config.training.diagnostics == ["ntk", "cka", "weights", "exactness"]


def test_claims_rest_on_three_seeds(everything):
    for study in ("full-batch", "mini-batch", "theorem"):
        seeds = {(row.dataset, row.setting, row.optimizer): set() for row in everything if row.study == study}
        for row in everything:
            if row.study == study:
                seeds[row.dataset, row.setting, row.optimizer].add(row.seed)
        assert set(map(frozenset, seeds.values())) == {frozenset({42, 43, 44})}


def test_each_run_belongs_to_one_batch_of_one_kind(everything):
    batches = {}
    for row in everything:
        assert batches.setdefault(row.folder, row.batch) == row.batch
    for batch in set(batches.values()):
        kinds = {(row.dataset, row.threads) for row in everything if row.batch == batch and row.folder in batches}
        assert len({dataset for dataset, _ in kinds}) == 1


def test_paper_scale_is_that_of_the_authors():
    """The settings that the issue lists; the network has 147 million parameters on CIFAR-10."""
    rows = {(row.dataset, row.setting, row.optimizer): row for row in expand("full-batch", "paper")}
    rows |= {(row.dataset, row.setting, row.optimizer): row for row in expand("mini-batch", "paper")}
    released = rows["cifar10", "mini-batches", "GN as released"].config
    assert released.parts["optimizer"].init_args["block_weights"] == "sum"
    assert released.parts["optimizer"].init_args["lr"] == 0.1
    assert released.parts["optimizer.solver"].class_path == "SVD"
    assert released.parts["optimizer.solver"].init_args == {"rtol": 0.01, "atol": 1e-5}
    assert released.parts["loss"].init_args["curvature"] == "identity"
    assert (released.training.epochs, released.training.batch_size) == (100, 1024)
    assert rows["mnist", "full batch", "GN as released"].config.parts["optimizer"].init_args["lr"] == 0.5
    assert rows["mnist", "full batch", "GN as released"].config.data["rows"] == 1024
    rates = {
        key: row.config.parts["optimizer"].init_args["lr"] for key, row in rows.items() if key[2] in ("Adam", "SGD")
    }
    assert rates["cifar10", "full batch", "Adam"] == 1e-5
    assert rates["cifar10", "mini-batches", "Adam"] == rates["mnist", "full batch", "Adam"] == 1e-4
    assert {rate for (data, _, name), rate in rates.items() if (data, name) == ("mnist", "SGD")} == {0.1}
    assert {rate for (data, _, name), rate in rates.items() if (data, name) == ("cifar10", "SGD")} == {0.01}
    with torch.device("meta"):  # shapes, without memory
        model = revgn.RevMLP(3072, 10, **released.parts["model"].init_args)
    assert sum(p.numel() for p in model.parameters()) == 147_474_432
    assert len(model.blocks) == 6


def test_modes_differ_as_they_should():
    rows = {row.optimizer: row for row in expand("full-batch", "smoke") if row.seed == 42}
    exact, released = rows["GN exact"].config, rows["GN as released"].config
    assert exact.parts["optimizer"].init_args["block_weights"] == "exact"
    assert exact.parts["optimizer"].init_args["lr"] == 1.0
    assert "optimizer.solver" not in exact.parts
    assert released.parts["optimizer.solver"].init_args == {"rtol": 0.01}
    assert exact.parts["model"] == released.parts["model"]
    assert exact.training == released.training


def test_a_folder_follows_from_all_settings_and_from_nothing_else():
    settings = read_yaml(find_config("digits"))
    folder = folder_of(parse(settings, {"seed": 3}))
    assert re.fullmatch(r"runs/digits-gaussnewton-3-[0-9a-f]{12}", folder)
    # Spelt out or by default, by its name or by its path: the same run.
    assert folder_of(parse(settings | {"schedule_by": "epoch"}, {"seed": "3", "optimizer.lr": 1})) == folder
    for change in ("--seed=4", "--optimizer.lr=0.9", "--epochs=9", "--data.rows=1000", "--model.init_std=0.002"):
        assert folder_of(parse(settings, overrides_of(["--seed=3", change]))) != folder


def test_a_row_holds_all_that_its_run_needs(define):
    for row in expand(define(overrides={"epochs": 5}), "smoke"):
        config = row.config
        assert folder_of(config) == row.folder
        assert config.training.epochs == 5
        assert config.training.seed == row.seed


def test_the_same_table_comes_out_every_time(define):
    assert expand(define(), "smoke") == expand(define(), "smoke")


@pytest.mark.parametrize(("share", "batches"), [(1, 4), (2, 2), (3, 2), (4, 1), (100, 1)])
def test_as_many_runs_share_a_process_as_the_grid_says(define, share, batches):
    sizes = Counter(row.batch for row in runs_of(expand(define(share=share), "smoke")))
    assert len(sizes) == batches
    assert max(sizes.values()) <= share


def test_a_batch_of_other_runs_has_another_name(define):
    first, more = expand(define(), "smoke"), expand(define(seeds=[0, 2]), "smoke")
    assert {row.batch for row in first}.isdisjoint(row.batch for row in more)


def test_a_setting_given_twice_is_refused(define):
    path = define(settings={"lr 1": {"optimizer.lr": 1.0}})
    with pytest.raises(ConfigError, match=r"lr 1, SGD: optimizer.lr is given twice; leave it to settings or to optimi"):
        expand(path, "smoke")


def test_a_wrong_setting_is_refused_with_the_curve_that_has_it(define):
    path = define(optimizers={"mine": {"optimizer": "Adam", "optimizer.lrr": 1.0}})
    with pytest.raises(
        ConfigError, match=r"study tiny at scale smoke, mini-batches, mine: unknown setting 'optimizer.l"
    ):
        expand(path, "smoke")


def test_a_study_without_runs_at_a_scale_is_refused(define):
    with pytest.raises(ConfigError, match="study tiny has no runs at scale paper; choose another with --scale"):
        expand(define(), "paper")


def test_an_unknown_scale_is_refused():
    with pytest.raises(ConfigError, match=r"unknown scale 'papr'; did you mean 'paper'\?"):
        expand("ntk", "papr")


def test_studies_that_lead_in_a_circle_are_refused(tmp_path):
    path = tmp_path / "circle.yaml"
    path.write_text(f"summary: round and round\nsame_runs_as: [{path}]\n")
    with pytest.raises(ConfigError, match="study circle leads back to"):
        expand(str(path), "smoke")
    assert find_study(str(path)).same_runs_as == (str(path),)


def test_a_study_can_look_at_some_panels_of_others(define, tmp_path):
    of_others = define(settings={"short": {}, "long": {"epochs": 6}})
    path = tmp_path / "look.yaml"
    path.write_text(f"summary: a closer look\nsame_runs_as: [{of_others}]\nsettings: [long]\n")
    rows = expand(str(path), "smoke")
    assert {(row.study, row.setting) for row in rows} == {("look", "long")}
    assert {row.folder for row in rows} == {row.folder for row in expand(of_others, "smoke") if row.setting == "long"}
    path.write_text(path.read_text().replace("[long]", "[lomg]"))
    with pytest.raises(ConfigError, match=r"study look: unknown setting 'lomg'; did you mean 'long'\?"):
        expand(str(path), "smoke")
