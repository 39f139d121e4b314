import itertools
import re

import pytest
import torch
import yaml

import revgn
from revgn_lab.errors import ConfigError
from revgn_lab.runs.build import build_data, build_loss, build_module
from revgn_lab.settings.kinds import OPTIMIZER
from revgn_lab.settings.parsing import parse, read_yaml
from revgn_lab.settings.shipped import find_config, shipped_configs
from revgn_lab.settings.words import overrides_of

SMALL = {
    "data": {"name_or_path": "digits", "rows": 64},
    "model": {"num_blocks": 2, "hidden_features": 100},
    "loss": "CrossEntropyLoss",
    "optimizer": "GaussNewton",
}


def build(settings, *overrides):
    config = parse(SMALL | settings, overrides_of(overrides))
    return build_module(config, build_data(config), build_loss(config))


def test_yaml_names_the_classes_and_arguments_of_python():
    module = build(
        yaml.safe_load("""
            model: {num_blocks: 3, hidden_features: 50, activation: tanh}
            loss: {class_path: CrossEntropyLoss, init_args: {label_smoothing: 0.1}}
            optimizer:
              class_path: revgn.GaussNewton
              init_args: {lr: 0.5, solver: {class_path: revgn.solvers.SVD, init_args: {rtol: 0.01}}}
        """)
    )
    (optimizer,), _ = module.configure_optimizers()
    assert isinstance(optimizer, revgn.GaussNewton)
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.solver == revgn.solvers.SVD(rtol=0.01)
    assert module.loss.label_smoothing == 0.1
    assert len(module.model.blocks) == 3
    assert module.model.blocks[0].f.linear.in_features == 50


def test_command_line_overrides_yaml():
    config = parse(SMALL | {"epochs": 7}, overrides_of(["--epochs", "3", "--optimizer.lr=0.25", "--data.rows", "null"]))
    assert config.training.epochs == 3
    assert config.parts["optimizer"].init_args["lr"] == 0.25
    assert config.data["rows"] is None


def test_another_class_does_not_inherit_the_arguments_of_the_first_which_keeps_its_own():
    settings = SMALL | {"optimizer": {"class_path": "GaussNewton", "init_args": {"lr": 0.5, "solver": "QR"}}}
    other, same = (parse(settings, {"optimizer": name}).parts for name in ("Adam", "GaussNewton"))
    assert other["optimizer"].class_path == "Adam"
    assert (other["optimizer"].init_args["lr"], same["optimizer"].init_args["lr"]) == (1e-3, 0.5)
    assert set(other) == {"model", "loss", "optimizer"} == set(same) - {"optimizer.solver"}


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configurations_are_valid(name):
    parse(read_yaml(find_config(name)))


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--optimizer Adam --optimizer.betas [0.8,0.9]",
        "--optimizer.solver SVD --scheduler StepLR --scheduler.step_size 2",
        "--optimizer.block_weights [0.5,0.5]",
        "--optimizer.right_inverse moore-penrose --optimizer.control Ridge --optimizer.control.rule=gcv",
        "--model MLP --model.hidden_features [5,6]",
        "--diagnostics=[ntk,cka,weights,exactness] --probe_rows=12",
    ],
)
def test_a_configuration_comes_back_from_yaml_unchanged(words):
    config = parse(SMALL, overrides_of(words.split()))
    assert parse(yaml.safe_load(yaml.safe_dump(config.as_dict()))) == config


def test_arguments_alone_are_those_of_the_reversible_network():
    plain = parse(SMALL)
    named = parse(SMALL | {"model": {"class_path": "RevMLP", "init_args": SMALL["model"]}})
    assert named == plain
    assert named.as_dict()["model"]["init_args"]["num_blocks"] == 2


@pytest.mark.parametrize("name", ["MLP", "ConvNet", "RevMLP"])
def test_a_network_is_decided_by_the_seed_and_leaves_the_global_generator_alone(name):
    words = ["--model", name, *(["--model.num_blocks=2"] if name == "RevMLP" else []), "--dtype=float64"]
    state = torch.get_rng_state()
    first, again, other = (build({"seed": seed}, *words).model for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert type(first).__name__ == name
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), again.parameters(), strict=True))
    assert not any(torch.equal(p, q) for p, q in zip(first.parameters(), other.parameters(), strict=True))
    assert first(torch.zeros(3, 64, dtype=torch.float64)).shape == (3, 10)
    weights = [p for p in first.parameters() if p.ndim > 1]
    assert not any(torch.equal(p, q) for p, q in itertools.combinations(weights, 2))  # layers differ


@pytest.mark.parametrize(
    ("part", "words", "expected"),
    [
        ("control", ("LineSearch", "max_attempts=5"), revgn.control.LineSearch(max_attempts=5)),
        ("right_inverse", ("adjoint",), revgn.right_inverses.Adjoint()),
        ("right_inverse", ("MoorePenrose", "memory=2 GB"), revgn.right_inverses.MoorePenrose(memory="2 GB")),
    ],
)
def test_parts_reach_the_optimizer_by_name_or_by_class_with_their_arguments(part, words, expected):
    name, *arguments = words
    named = [f"--optimizer.{part}={name}", *(f"--optimizer.{part}.{argument}" for argument in arguments)]
    (optimizer,), _ = build({}, *named).configure_optimizers()
    assert getattr(optimizer, part) == expected


def test_a_network_of_ones_own_is_named_by_its_import_path_or_its_file(tmp_path):
    assert build({}, "--model", "torch.nn.Linear").model.weight.shape == (10, 64)
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n\nclass Net(nn.Sequential):\n    def __init__(self, in_features, width: int = 3):\n"
        "        super().__init__(nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, 10))\n"
    )
    model = build({}, "--model", f"{path}:Net", "--model.width", "7").model
    assert [layer.weight.shape[0] for layer in (model[0], model[2])] == [7, 10]


def test_flags_need_no_value_and_lists_may_come_in_parts():
    words = ["--drop_last", "--diagnostics", "ntk,cka", "--loss_after_step=false", "--diagnostics", "weights"]
    training = parse(SMALL, overrides_of(words)).training
    assert training.drop_last
    assert not training.loss_after_step
    assert training.diagnostics == ["ntk", "cka", "weights"]


def test_muon_leaves_what_is_no_matrix_to_adamw():
    optimizers, _ = build({"optimizer": {"class_path": "Muon", "init_args": {"lr": 0.01}}}).configure_optimizers()
    muon, adamw = optimizers
    assert isinstance(muon, torch.optim.Muon)
    assert {p.ndim for p in muon.param_groups[0]["params"]} == {2}
    assert isinstance(adamw, torch.optim.AdamW)
    assert {p.ndim for p in adamw.param_groups[0]["params"]} == {1}
    assert adamw.param_groups[0]["lr"] == 0.01


def test_an_import_path_is_imported_whatever_short_names_it_ends_in():
    assert OPTIMIZER.find("revgn.dense.GaussNewton") is OPTIMIZER.find("DenseGaussNewton") is revgn.dense.GaussNewton
    assert OPTIMIZER.find("revgn.GaussNewton") is OPTIMIZER.find("GaussNewton") is revgn.GaussNewton
    assert OPTIMIZER.find("torch.optim.SGD") is torch.optim.SGD
    (optimizer,) = build({"optimizer": "revgn.dense.GaussNewton"}).configure_optimizers()[0]
    assert type(optimizer) is revgn.dense.GaussNewton


ERRORS = [  # settings, overrides, message
    ({"optimizr": "Adam"}, "", "unknown setting 'optimizr'; did you mean 'optimizer'?"),
    ({"model": {"hiden_features": 5}}, "", "unknown setting 'model.hiden_features'; did you mean 'model.hidden_feat"),
    (
        {"optimizer": {"class_path": "SGD", "init_args": {"momentumm": 0.9}}},
        "",
        "unknown setting 'optimizer.momentumm'; did you mean 'optimizer.momentum'?",
    ),
    (
        {"optimizer": {"class_path": "SGD", "init_arg": {"lr": 0.9}}},
        "",
        "unknown setting 'optimizer.init_arg'; did you mean 'optimizer.init_args'?",
    ),
    (
        {"model": {"class_path": "MLP", "init_args": {"num_blocks": 2}}},
        "",
        "unknown setting 'model.num_blocks'; known: model.activation, model.hidden_features",
    ),
    ({}, "--optimizer.lrr 1", "unknown setting 'optimizer.lrr'; did you mean 'optimizer.lr'?"),
    ({}, "--epoch 3", "unknown setting 'epoch'; did you mean 'epochs'?"),
    ({"optimizer": "Adm"}, "", "unknown optimizer 'Adm'; did you mean 'Adam'? known: Adam, AdamW"),
    ({}, "--optimizer GausNewton", "did you mean 'GaussNewton'?"),
    ({"loss": "CrossEntropy"}, "", "unknown loss 'CrossEntropy'; did you mean 'CrossEntropyLoss'?"),
    ({"scheduler": "StepL"}, "", "unknown scheduler 'StepL'; did you mean 'StepLR'?"),
    ({}, "--model MPL", "unknown model 'MPL'; did you mean 'MLP'? known: ConvNet, MLP, RevMLP"),
    ({}, "--optimizer.solver SVDD", "unknown optimizer.solver 'SVDD'; did you mean 'SVD'?"),
    ({}, "--optimizer.control Fix", "unknown optimizer.control 'Fix'; did you mean 'Fixed'?"),
    ({}, "--optimizer.right_inverse adjont", "did you mean 'adjoint'?"),
    ({"optimizer": "no.such.Thing"}, "", "optimizer 'no.such.Thing' cannot be imported"),
    ({"optimizer": "no.such.SGD"}, "", "optimizer 'no.such.SGD' cannot be imported"),
    ({}, "--model none.py:Net", "model 'none.py:Net' cannot be imported"),
    ({"optimizer": "torch.nn.Linear"}, "", "torch.nn.Linear is not a Optimizer, as every optimizer"),
    ({}, "--optimizer Adam --optimizer.solver QR", "Adam takes no solver"),
    ({}, "--optimizer SGD --optimizer.control Fixed", "SGD takes no control"),
    ({}, "--optimizer Adam --optimizer.right_inverse adjoint", "Adam takes no right_inverse"),
    ({"epochs": "many"}, "", "epochs: expected int, got many"),
    ({"model": {"hidden_features": 3.5}}, "", "model.hidden_features: expected int or null, got 3.5"),
    ({}, "--optimizer.lr abc", "optimizer.lr: expected float, got abc"),
    ({"optimizer": "Adam"}, "--optimizer.lr abc", "optimizer.lr: expected float, got abc"),
    ({}, "--dtype float3", "dtype: expected one of 'float32', 'float64', got float3"),
    ({}, "--diagnostics=[ntk,ckaa]", "ckaa"),
    ({}, "--epochs", "epochs: expected int, got True"),
    ({"data": 3}, "", "data is 3; expected settings within it, such as data."),
    ({"data": None}, "", "data is None; expected settings within it"),
    ({"model": 3}, "", "model is 3; expected the name of a class, or class_path and init_args"),
    ({"optimizer": 3}, "", "optimizer is 3; expected the name of a class"),
    ({"optimizer": None}, "", "no optimizer chosen; name one of GaussNewton, SGD, Adam"),
    ({"model": {}}, "", "the following arguments are required: model.num_blocks"),
    ({}, "stray", "unrecognized arguments: stray"),
    ({"seed": -1}, "", "seed must not be negative, got -1"),
    ({"epochs": 0}, "", "epochs must be at least 1, got 0"),
    ({}, "--probe_rows=0", "probe_rows must be at least 1, got 0"),
    ({}, "--diagnose_every=0", "diagnose_every must be at least 1, got 0"),
    ({}, "--diagnostics=[cka] --probe_rows=3", "cka compares at least 4 rows, got 3; raise probe_rows"),
    ({}, "--switch_after=2", "give both to switch, or neither"),
    ({}, "--second_optimizer Adam", "give both to switch, or neither"),
]


@pytest.mark.parametrize(("settings", "words", "message"), ERRORS, ids=lambda part: str(part)[:40])
def test_what_is_wrong_is_named_in_one_line(settings, words, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as raised:
        parse(SMALL | settings, overrides_of(words.split()))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--optimizer.lr=-1", "optimizer GaussNewton: Invalid learning rate: -1"),
        ("--model.activation=rellu", "did you mean 'relu'?"),
        ("--optimizer.block_weights=exactt", "did you mean 'exact'?"),
        ("--loss.damping=0.1", "use curvature='exact'"),
        ("--data.rows=100000", "rows must be a whole number from 1 to 1438, the training rows of digits"),
    ],
)
def test_values_that_a_class_refuses_are_reported_with_its_message(word, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build({}, word)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epochs: [1", "is not valid YAML"),
        ("just words", "holds no settings; expected lines such as 'epochs: 10'"),
        ("", "holds no settings"),
        (b"\xff\xfe\x00", "is not valid YAML"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(tmp_path, content, message):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=message):
        read_yaml(path)


def test_a_configuration_is_found_by_path_by_name_and_by_the_folder_of_its_run(tmp_path):
    (tmp_path / "config.yaml").write_text("epochs: 1\n")
    assert find_config(str(tmp_path)) == find_config(str(tmp_path / "config.yaml")) == tmp_path / "config.yaml"
    assert find_config("digits") == shipped_configs()["digits"]
