"""The public face: names, and what importing costs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import revgn
from revgn.naming import unknown_name


def test_every_public_name_exists():
    for name in revgn.__all__:
        assert getattr(revgn, name) is not None
    assert set(revgn.__all__) <= set(dir(revgn))


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'revgn' has no attribute 'GaussNewtn'"):
        _ = revgn.GaussNewtn


def modules_after(statement):
    code = f"import sys; {statement}; print(*sorted(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_core_needs_torch_and_nothing_else():
    """What `import torch` does not load by itself, of packages that only the extras install."""
    extras = {"lightning", "jsonargparse", "sklearn", "pandas", "matplotlib", "tensorboard", "pyarrow"}
    loaded = modules_after(
        "import revgn; from revgn import dense, diagnostics, linear, losses, nn, right_inverses, solvers; "
        "revgn.RevMLP, revgn.GaussNewton, revgn.Jacobian, revgn.Report"
    )
    assert "revgn.optim.gauss_newton" in loaded
    assert not {name.partition(".")[0] for name in loaded} & extras


def test_import_alone_loads_nothing():
    assert "torch" not in modules_after("import revgn")


def test_tensors_over_a_mesh_are_imported_by_who_has_a_mesh():
    loaded = modules_after("import revgn; revgn.parallel, revgn.RevMLP, revgn.GaussNewton")
    assert {"revgn.parallel", "revgn.optim.gauss_newton"} <= loaded
    assert "torch.distributed.tensor" not in loaded


def test_unknown_names_are_listed_and_the_nearest_offered():
    assert unknown_name("solver", "svdd", ["SVD", "QR"]) == "unknown solver 'svdd'; did you mean 'SVD'? known: QR, SVD"
    assert unknown_name("solver", "zzz", ["SVD", "QR"]) == "unknown solver 'zzz'; known: QR, SVD"


def test_changelog_and_citation_speak_of_this_version():
    root = Path(__file__).parents[1]
    changes = re.search(r"^## \[(.+)\] - (.+)$", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    citation = yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))
    assert changes is not None
    assert (citation["version"], citation["date-released"]) == changes.groups()
    assert citation["version"] == revgn.__version__
