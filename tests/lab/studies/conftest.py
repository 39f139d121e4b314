import pytest
import yaml

from revgn_lab.runs.folders import prepare
from revgn_lab.studies.expansion import expand
from revgn_lab.studies.rows import write_rows
from tiny_run import TINY

OPTIMIZERS = {"GN exact": {}, "SGD": {"optimizer": "SGD", "optimizer.lr": 0.01}}


@pytest.fixture
def define(tmp_path):
    """A study of tiny runs, as the path of its file; keywords change its one grid."""

    def write(name="tiny", **changes):
        (tmp_path / "base.yaml").write_text(yaml.safe_dump(TINY))
        grid = {
            "config": str(tmp_path / "base.yaml"),
            "seeds": [0, 1],
            "settings": {"mini-batches": {}},
            "optimizers": OPTIMIZERS,
            "share": 4,
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"summary": "tiny", "scales": {"smoke": [grid | changes]}}, sort_keys=False))
        return str(path)

    return write


@pytest.fixture
def tiny_study(define, tmp_path):
    """A folder with the table of such a study and the settings of its runs, and its rows; nothing has been run."""

    def make(**changes):
        folder = tmp_path / "study"
        rows = expand(define(**changes), "smoke")
        write_rows(folder, rows)
        for row in rows:
            prepare(folder / row.folder, row.config)
        return folder, rows

    return make
