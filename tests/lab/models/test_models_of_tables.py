"""`revgn train TABLE` and `revgn predict`, end to end."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from revgn_lab.cli import main
from revgn_lab.models.model_folder import CARD, FILES, WEIGHTS

ROWS = 120


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(0)
    x = pd.DataFrame({"a": random.normal(size=ROWS), "b": random.uniform(10, 20, ROWS)})
    x["colour"] = random.choice(["red", "green"], ROWS)
    x["y"] = 3 * x["a"] + np.sin(x["b"]) + (x["colour"] == "red") + 0.1 * random.normal(size=ROWS)
    x["high"] = np.where(x["y"] > 0, "yes", "no")
    return x


@pytest.fixture(scope="module")
def models(frame, tmp_path_factory):
    """The folder with a model of each kind, and the tables that they were trained on; tests only read it."""
    place = tmp_path_factory.mktemp("models")
    frame.drop(columns="high").to_csv(place / "quantity.csv", index=False, sep=";", decimal=",")
    frame.drop(columns="y").to_csv(place / "classes.csv", index=False)
    for name, target in (("quantity", "y"), ("classes", "high")):
        words = ["train", str(place / f"{name}.csv"), "--target", target, "--networks", "2", "--quiet"]
        assert main([*words, "--out", str(place / name)]) == 0
    return place


@pytest.mark.parametrize(("name", "task"), [("quantity", "regression"), ("classes", "classification")])
def test_a_model_is_five_files_of_which_none_is_a_pickle(models, name, task):
    assert {path.name for path in (models / name).iterdir()} == set(FILES)
    config = yaml.safe_load((models / name / "config.yaml").read_text())
    assert config["task"] == task
    assert config["training_rows"] + config["test_rows"] == ROWS
    measure = {"regression": "R2", "classification": "accuracy"}[task]
    assert config["scores"]["revgn"][measure] > 0.85
    assert set(config["scores"]) >= {"revgn", "boosted trees"}
    card = (models / name / CARD).read_text()
    assert "| boosted trees |" in card
    assert "None" not in card


def test_predictions_have_error_bars_and_come_near(models, frame, capsys):
    assert main(["predict", str(models / "quantity"), str(models / "quantity.csv")]) == 0
    said = capsys.readouterr()
    predicted = pd.read_csv(pd.io.common.StringIO(said.out))
    assert list(predicted) == ["y", "y std"]
    errors = (predicted["y"] - frame["y"]).abs()
    assert errors.mean() < 0.2
    assert 0.8 < (errors < 1.645 * predicted["y std"]).mean() <= 1
    assert "revgn: numbers have a decimal comma" in said.err


def test_classes_have_probabilities_and_their_own_names(models, frame, tmp_path, capsys):
    out = tmp_path / "p.csv"
    assert main(["predict", str(models / "classes"), str(models / "classes.csv"), "--out", str(out)]) == 0
    assert f"{ROWS} predictions are in {out}" in capsys.readouterr().out
    predicted = pd.read_csv(out)
    assert list(predicted) == ["high", "probability of no", "probability of yes"]
    assert (predicted["high"] == frame["high"]).mean() > 0.9
    np.testing.assert_allclose(predicted.iloc[:, 1:].sum(axis=1), 1)


def test_scores_and_predictions_come_as_json(models, tmp_path, capsys):
    words = ["train", str(models / "quantity.csv"), "--target", "y", "--networks", "1", "--rows", "60", "--json"]
    assert main([*words, "--out", str(tmp_path / "m")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["training_rows"] + told["test_rows"] == 60
    assert main(["predict", str(tmp_path / "m"), str(models / "quantity.csv"), "--json", "--quiet"]) == 0
    assert len(json.loads(capsys.readouterr().out)["y"]) == ROWS


def test_the_same_seed_gives_the_same_model(models, tmp_path):
    words = ["train", str(models / "quantity.csv"), "--target", "y", "--networks", "2", "--quiet"]
    assert main([*words, "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (models / "quantity" / WEIGHTS).read_bytes()


REFUSED = {
    "no target": (["train", "{q}"], "no --target; name the column to predict, one of a, b, colour, y"),
    "unknown target": (["train", "{q}", "--target", "yy"], "unknown target column 'yy'; did you mean 'y'?"),
    "words as a quantity": (["train", "{q}", "--target", "colour", "--task", "regression"], "is not numeric"),
    "too few rows": (["train", "{q}", "--target", "y", "--rows", "5"], "has 5 rows to learn from"),
    "rows out of range": (
        ["train", "{q}", "--target", "y", "--rows", "500"],
        "--rows must be a whole number from",
    ),
    "a model is there": (["train", "{q}", "--target", "y", "--out", "{m}"], "holds a model already; replace it with"),
    "no such option": (["train", "{q}", "--targt", "y"], "unrecognized arguments: --targt y"),
    "no model": (["predict", "{d}", "{q}"], "holds no model: model.safetensors, config.yaml, preprocessing.json is"),
    "a column missing": (["predict", "{m}", "{c}"], "holds"),
}


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused_in_one_line(models, words, message, tmp_path, capsys):
    (tmp_path / "other.csv").write_text("a,b\n" + "1,2\n" * 20)
    places = {"q": models / "quantity.csv", "m": models / "quantity", "d": tmp_path, "c": tmp_path / "other.csv"}
    status = main([word.format(**places) for word in words])
    said = capsys.readouterr().err
    assert status in (1, 2)
    assert message in said or "lacks 'colour'" in said
    assert len([line for line in said.splitlines() if not line.startswith("training on ")]) == 1


def test_a_million_rows_are_answered_in_one_line(tmp_path, capsys):
    random = np.random.default_rng(0)
    pd.DataFrame(random.normal(size=(1_000_000, 2)).round(3), columns=["a", "y"]).to_csv(
        tmp_path / "t.csv", index=False
    )
    assert main(["train", str(tmp_path / "t.csv"), "--target", "y", "--out", str(tmp_path / "m")]) == 1
    said = capsys.readouterr().err
    assert "800,000 rows for training, more than the" in said
    assert "give --rows" in said
    assert said.count("\n") == 2  # after what is about to be done


def test_a_table_of_classes_may_have_as_many_rows_as_the_classifier_takes(tmp_path):
    """A network takes other rows in every step: many more than a network of the regressor."""
    x = np.random.default_rng(0).normal(size=(1500, 2))
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": x.sum(1) > 0}).to_csv(tmp_path / "t.csv", index=False)
    words = ["train", str(tmp_path / "t.csv"), "--target", "y", "--networks", "1", "--quiet"]
    assert main([*words, "--out", str(tmp_path / "m")]) == 0
    assert yaml.safe_load((tmp_path / "m" / "config.yaml").read_text())["training_rows"] == 1200


def test_a_damaged_model_is_named(models, tmp_path, capsys):
    for name in FILES:
        (tmp_path / name).write_bytes((models / "quantity" / name).read_bytes())
    (tmp_path / WEIGHTS).write_bytes((models / "quantity" / WEIGHTS).read_bytes()[:5000])
    assert main(["predict", str(tmp_path), str(models / "quantity.csv")]) == 1
    assert "holds a damaged model" in capsys.readouterr().err
