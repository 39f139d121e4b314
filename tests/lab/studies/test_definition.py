import pytest
import yaml

from revgn_lab.errors import ConfigError
from revgn_lab.settings.shipped import shipped_studies
from revgn_lab.studies.grids import SCALES, Grid, find_study

GRID = {"config": "digits", "seeds": [1], "settings": {"full batch": {}}, "optimizers": {"SGD": {"optimizer": "SGD"}}}


def study_file(folder, **settings):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"summary": "mine", "scales": {"smoke": [GRID]}} | settings))
    return str(path)


def test_every_study_of_the_paper_comes_with_the_package_at_every_scale():
    of_the_talk = ["full-batch", "mini-batch", "ntk", "cka", "weights", "theorem", "exactness"]
    sweeps = ["learning-rate", "init-scale", "weight-decay", "regularisation", "no-bottleneck", "switch", "batch-size"]
    expected = [*of_the_talk, *sweeps, "regression", "right-inverse"]
    assert set(shipped_studies()) == {*expected, "all", "talk", "demo"}
    assert list(find_study("talk").collects) == of_the_talk
    assert list(find_study("all").collects) == expected
    for name in shipped_studies():
        study = find_study(name)
        assert name not in expected or study.same_runs_as or set(study.scales) == set(SCALES)
        assert 5 < len(study.summary) <= 110  # a line
        assert "\n" not in study.summary


def test_a_study_of_the_user_is_read_from_its_file(tmp_path):
    study = find_study(study_file(tmp_path))
    assert study.name == "mine"
    assert study.scales["smoke"] == (Grid(**{**GRID, "seeds": (1,)}, overrides={}, share=1, threads=1),)


def grid_with(**settings):
    return {"scales": {"smoke": [GRID | settings]}}


ERRORS = {
    "unknown key": ({"summarry": "x"}, r"unknown setting 'summarry'; did you mean 'summary'\?"),
    "unknown scale": ({"scales": {"smok": [GRID]}}, r"unknown scale 'smok'; did you mean 'smoke'\?"),
    "no runs": ({"scales": {}}, "expected one of scales, with grids, and same_runs_as or collects"),
    "too much": ({"same_runs_as": ["ntk"]}, "expected one of scales, with grids, and same_runs_as or collects"),
    "no list": ({"scales": {"smoke": GRID}}, r"scales.smoke is .*; expected a list of grids"),
    "no names": ({"scales": {}, "collects": "ntk"}, "collects is 'ntk'; expected names of studies"),
    "settings of nobody": ({"settings": ["full batch"]}, "settings chooses among those of other studies; give same_"),
    "misspelt key of a grid": (grid_with(overridess={}), r"scales.smoke\[0\]: unknown setting 'overridess'; did you"),
    "missing key of a grid": ({"scales": {"smoke": [{"config": "digits"}]}}, "lacks optimizers, seeds, settings"),
    "seed twice": (
        grid_with(seeds=[1, 1]),
        r"seeds is \[1, 1\]; expected a list of whole numbers from 0 on, each once",
    ),
    "no seed": (grid_with(seeds=[]), r"seeds is \[\]; expected a list of whole numbers"),
    "negative seed": (grid_with(seeds=[-1]), r"seeds is \[-1\]; expected a list of whole numbers"),
    "no optimizers": (grid_with(optimizers={}), "optimizers is empty; expected at least one name with its overrides"),
    "no overrides": (grid_with(settings={"a": 3}), "settings.a is 3; expected settings by dotted name"),
    "share": (grid_with(share=0), "share is 0; expected a whole number from 1 on"),
}


@pytest.mark.parametrize(("settings", "message"), ERRORS.values(), ids=ERRORS)
def test_a_wrong_definition_is_refused_with_the_place(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=f"study mine: .*{message}"):
        find_study(study_file(tmp_path, **settings))
