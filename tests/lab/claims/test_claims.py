import math

import pandas as pd
import pytest
import yaml

from revgn_lab.claims.claim import SHIPPED, Claim, load_claims
from revgn_lab.claims.evidence import Evidence
from revgn_lab.claims.verdicts import Verdict, decide, judge
from revgn_lab.errors import ConfigError
from revgn_lab.studies.expansion import expand
from study_folders import SEEDS, metrics_of_run

TEXTS = {"claim": "It falls.", "source": "a slide", "study": "mini-batch"}
GOOD = {**TEXTS, "statistic": {"name": "accuracy_gap"}, "at_least": 1.0, "against": ["Adam"]}


def claim(**changes):
    plain = {"arguments": {}, "statistic": "accuracy_gap", "threshold": 1.0, "at_least": True, "against": ("Adam",)}
    return Claim(**{"name": "c", **TEXTS, **plain, **changes})


def loaded(tmp_path, entry):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"one": entry}))
    return load_claims(path)


def test_shipped_claims_cover_the_talk():
    assert {each.name for each in load_claims()} >= {
        *("full-batch-steps", "full-batch-seconds", "full-batch-spread", "full-batch-generalises-worse"),
        *("mini-batch-saturates", "mini-batch-overfits", "mini-batch-generalises-worse"),
        *("ntk-constant", "cka-near-one", "theorem-order", "right-inverse-generalises-worse"),
        *("right-inverse-matters-more", "moore-penrose-generalises-better"),
        *("moore-penrose-as-good-as-adam", "moore-penrose-features"),
    }


def test_shipped_claims_name_curves_of_their_study_and_say_what_decides():
    curves = {row.optimizer for row in expand("right-inverse", "cpu")}
    settings = {row.setting for row in expand("right-inverse", "cpu")}
    for each in load_claims():
        if each.study == "right-inverse":
            assert {*each.of, *each.against} <= curves
            assert {each.arguments.get(key) for key in ("setting", "beyond")} <= {None, *settings}
        else:
            assert each.of in ((), ("GN as released", "GN exact"))
        assert each.claim.endswith(".")
        assert "{" not in each.says
        assert each.condition.startswith(("at least", "at most"))


def test_claim_reads_as_written(tmp_path):
    (one,) = loaded(tmp_path, {**GOOD, "statistic": {"name": "speedup", "fraction": 0.5, "by": "step"}, "of": "others"})
    assert one.name == "one"
    assert (one.statistic, one.arguments) == ("speedup", {"fraction": 0.5, "by": "step"})
    assert (one.threshold, one.at_least, one.of, one.against) == (1.0, True, (), ("Adam",))
    assert "0.5 of the first training loss" in one.says


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sourse": "x"}, "claims.yaml: one: unknown key 'sourse'; did you mean 'source'"),
        ({"claim": 3}, "claims.yaml: one.claim is 3; expected a text"),
        ({"at_most": 2.0}, "has thresholds ['at_least', 'at_most']; expected one number"),
        ({"at_least": "much"}, "has thresholds ['at_least']; expected one number"),
        ({"against": "Adam"}, "one.against is 'Adam'; expected a list of labels such as"),
        ({"statistic": "accuracy_gap"}, "one.statistic is 'accuracy_gap'; expected its name and arguments"),
        ({"statistic": {"name": "acuracy_gap"}}, "unknown statistic 'acuracy_gap'; did you mean 'accuracy_gap'"),
        ({"statistic": {"name": "speedup", "by": "step"}}, "speedup lacks fraction; give each a value"),
        ({"statistic": {"name": "speedup", "bye": "step"}}, "unknown argument of speedup 'bye'; did you mean 'by'"),
    ],
)
def test_wrong_claims_are_told_with_their_place(tmp_path, change, message):
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, {**GOOD, **change})
    assert message in str(error.value)


def test_files_that_hold_no_claims_are_refused(tmp_path):
    path = tmp_path / "claims.yaml"
    for text, message in (("a: [", "not valid YAML"), ("- x", f"as in {SHIPPED.name}"), ("a: 3", "expected keys such")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_claims(path)


@pytest.mark.parametrize(
    ("interval", "seeds", "above", "below"),  # verdicts on claims that hold above the threshold of 1, and below it
    [
        ((3.0, 2.0, 4.0), 3, Verdict.REPRODUCED, Verdict.NOT_REPRODUCED),
        ((0.0, -1.0, 0.5), 3, Verdict.NOT_REPRODUCED, Verdict.REPRODUCED),
        ((3.0, 0.5, 5.5), 3, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        ((1.0, 1.0, 1.0), 3, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        ((3.0, 2.0, 4.0), 2, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        ((0.5, 0.4, math.inf), 3, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),  # a lower bound refutes nothing
        ((3.0, 2.0, math.inf), 3, Verdict.REPRODUCED, Verdict.NOT_REPRODUCED),
        ((math.nan, math.nan, math.nan), 0, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
    ],
)
def test_verdict_follows_from_the_interval_the_threshold_and_the_seeds(interval, seeds, above, below):
    for at_least, verdict in ((True, above), (False, below)):
        found, reason = decide(Evidence(*interval, seeds), claim(at_least=at_least))
        assert found is verdict
        assert bool(reason) == (verdict is Verdict.INCONCLUSIVE)


def frame(gap, *, spread=0.1, seeds=SEEDS, study="mini-batch", dataset="digits", names=("GN exact", "GN as released")):
    """Final test accuracies of 80 % with Adam and of `gap` points less with Gauss-Newton."""
    parts = []
    for seed in seeds:
        for optimizer in (*names, "Adam"):
            run = metrics_of_run(0.5, seed)
            accuracy = 80.0 if optimizer == "Adam" else 80.0 - gap - spread * (seed - 43)
            run.loc[run["step"] == 12, "test_accuracy"] = accuracy
            labels = {"study": study, "dataset": dataset, "setting": "mini-batches", "optimizer": optimizer}
            parts.append(run.assign(**labels, scale="smoke", seed=seed))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    ("metrics", "verdict"),
    [
        (frame(5.0), Verdict.REPRODUCED),
        (frame(-5.0), Verdict.NOT_REPRODUCED),
        (frame(1.2, spread=2.0), Verdict.INCONCLUSIVE),
        (frame(5.0, seeds=(42, 43)), Verdict.INCONCLUSIVE),
    ],
    ids=["above", "below", "overlapping", "too few seeds"],
)
def test_judgement_is_a_function_of_the_metrics(metrics, verdict, tmp_path):
    found = judge(metrics, [claim()])
    assert {(each.optimizer, each.verdict) for each in found} == {("GN exact", verdict), ("GN as released", verdict)}
    metrics.to_csv(tmp_path / "metrics.csv", index=False)
    assert judge(pd.read_csv(tmp_path / "metrics.csv"), [claim()]) == found


def test_each_data_set_has_verdicts_of_its_own_also_where_no_scale_is_told():
    metrics = pd.concat([frame(5.0, dataset="digits"), frame(-5.0, dataset="fashion-mnist")])
    found = judge(metrics, [claim()])
    assert {(each.dataset, each.verdict) for each in found} == {
        *(("digits", Verdict.REPRODUCED), ("fashion-mnist", Verdict.NOT_REPRODUCED))
    }
    assert len(judge(metrics.drop(columns="scale"), [claim()])) == len(found) == 4


def test_claims_are_judged_by_their_own_study_and_settings_and_about_all_others_where_they_say_so():
    metrics = frame(5.0, names=("GN exact", "GN last block"))
    assert judge(metrics, [claim(study="full-batch")]) == []
    assert judge(metrics, [claim(settings=("full batch",))]) == []
    assert [each.optimizer for each in judge(metrics, [claim(settings=("mini-batches",))])] == ["GN exact"]
    assert {each.optimizer for each in judge(metrics, [claim(of=())])} == {"GN exact", "GN last block"}


def test_what_cannot_be_compared_is_said():
    metrics = frame(5.0)
    (one, _) = judge(metrics[metrics["optimizer"] != "Adam"], [claim()])
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.reason == "no seed of it has ended with what this needs, and of Adam with the same one"
