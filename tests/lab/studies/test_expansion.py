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
from revgn_lab.studies.grids import SCALES
from revgn_lab.studies.rows import runs_of

BESIDE = ("all", "talk", "demo")  # made of the others, or for a first look
FIGURES = [name for name in shipped_studies() if name not in BESIDE]
WHOLE = {"smoke": 1438, "cpu": 4096, "paper": 7680}
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
        if row.seed != 42:
            continue
        parts, training = row.config.parts, row.config.training
        assert training.seed == 42
        whole = row.study == "theorem" or row.setting == f"batch size {WHOLE[row.scale]}"
        assert (training.batch_size is None) == ("full batch" in row.setting or whole)
        swept = SWEPT.search(row.setting)
        if swept and swept[0] != "batch size 1438" and training.batch_size is not None:
            named = [
                part.init_args for name, part in parts.items() if name in ("optimizer", "model", "optimizer.solver")
            ]
            values = [training.batch_size, *(value for arguments in named for value in arguments.values())]
            assert float(swept[2]) in [value for value in values if isinstance(value, int | float)]


def test_the_diagnosed_studies_look_at_the_runs_of_full_batch_and_mini_batch(everything):
    folders = {name: {row.folder for row in everything if row.study == name} for name in FIGURES}
    trained = [row for row in everything if row.study in ("full-batch", "mini-batch")]
    plain = {row.folder for row in trained if row.setting in ("full batch", "mini-batches")}
    assert folders["ntk"] == folders["cka"] == folders["weights"] == folders["exactness"] == plain
    for row in everything:
        if row.study == "ntk":
            assert row.config.training.diagnostics == ["ntk", "cka", "weights", "exactness"]


def test_claims_rest_on_three_seeds(everything):
    seeds = {}
    for row in everything:
        if row.study in ("full-batch", "mini-batch", "theorem"):
            seeds.setdefault((row.study, row.dataset, row.setting, row.optimizer), set()).add(row.seed)
    assert all(own == {42, 43, 44} for own in seeds.values())


def test_each_run_belongs_to_one_batch_of_one_kind(everything):
    batches, kinds = {}, {}
    for row in everything:
        assert batches.setdefault(row.folder, row.batch) == row.batch
        assert kinds.setdefault(row.batch, row.dataset) == row.dataset


def test_paper_scale_is_that_of_the_authors():
    """The settings that the issue lists; the network has 147 million parameters on CIFAR-10."""
    rows = [*expand("full-batch", "paper"), *expand("mini-batch", "paper")]
    configs = {(row.dataset, row.setting, row.optimizer): row.config for row in rows}
    rates = {key: config.parts["optimizer"].init_args["lr"] for key, config in configs.items()}
    released = configs["cifar10", "mini-batches", "GN as released"]
    assert released.parts["optimizer"].init_args["block_weights"] == "sum"
    assert released.parts["optimizer.solver"].class_path == "SVD"
    assert released.parts["optimizer.solver"].init_args == {"rtol": 0.01, "atol": 1e-5}
    assert released.parts["loss"].init_args["curvature"] == "identity"
    assert (released.training.epochs, released.training.batch_size) == (100, 1024)
    assert configs["mnist", "full batch", "GN as released"].data["rows"] == 1024
    assert rates["cifar10", "mini-batches", "GN as released"] == 0.1
    assert rates["mnist", "full batch", "GN as released"] == 0.5
    assert rates["cifar10", "full batch", "Adam"] == 1e-5
    assert rates["cifar10", "mini-batches", "Adam"] == rates["mnist", "full batch", "Adam"] == 1e-4
    for dataset, expected in (("mnist", 0.1), ("cifar10", 0.01)):
        assert {rate for (data, _, name), rate in rates.items() if (data, name) == (dataset, "SGD")} == {expected}
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


def test_a_row_holds_all_that_its_run_needs_the_same_every_time(define):
    rows = expand(define(overrides={"epochs": 5}), "smoke")
    assert rows == expand(define(overrides={"epochs": 5}), "smoke")
    others = expand(define(overrides={"epochs": 5}, seeds=[0, 2]), "smoke")
    assert {row.batch for row in rows}.isdisjoint(row.batch for row in others)  # other runs, another name
    for row in rows:
        assert folder_of(row.config) == row.folder
        assert (row.config.training.epochs, row.config.training.seed) == (5, row.seed)


@pytest.mark.parametrize(("share", "batches"), [(1, 4), (2, 2), (3, 2), (4, 1), (100, 1)])
def test_as_many_runs_share_a_process_as_the_grid_says(define, share, batches):
    sizes = Counter(row.batch for row in runs_of(expand(define(share=share), "smoke")))
    assert len(sizes) == batches
    assert max(sizes.values()) <= share


WRONG = {
    "given twice": ({"settings": {"lr 1": {"optimizer.lr": 1.0}}}, "smoke", "lr 1, SGD: optimizer.lr is given twice"),
    "misspelt": (
        {"optimizers": {"mine": {"optimizer": "Adam", "optimizer.lrr": 1.0}}},
        "smoke",
        "study tiny at scale smoke, mini-batches, mine: unknown setting 'optimizer.lrr'",
    ),
    "no runs": ({}, "paper", "study tiny has no runs at scale paper; choose another with --scale"),
}


@pytest.mark.parametrize(("changes", "scale", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_expanded_is_refused_with_its_place(define, changes, scale, message):
    with pytest.raises(ConfigError, match=message):
        expand(define(**changes), scale)


def test_studies_that_lead_in_a_circle_are_refused(tmp_path):
    path = tmp_path / "circle.yaml"
    path.write_text(f"summary: round and round\nsame_runs_as: [{path}]\n")
    with pytest.raises(ConfigError, match="study circle leads back to"):
        expand(str(path), "smoke")


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
