"""A model in a folder: weights, settings, encoding and a card to read, none of which runs code when it is loaded."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

import revgn
from revgn import estimators
from revgn_lab.data.tabular.encoding import Encoding
from revgn_lab.data.tabular.reading import Table
from revgn_lab.errors import FolderError
from revgn_lab.files import atomic_file, write_atomically
from revgn_lab.models.training import OURS, Trained

WEIGHTS = "model.safetensors"
CONFIG = "config.yaml"
ENCODING = "preprocessing.json"
CARD = "README.md"
CHECKSUMS = "SHA256SUMS"
"""Of the two before; the weights carry theirs, and the card may be edited. `sha256sum --check` reads it."""
FILES = (WEIGHTS, CONFIG, ENCODING, CARD, CHECKSUMS)
"""The weights are written last: where they are, the model is whole."""


@dataclass(frozen=True, eq=False)
class Model:
    """What predicts.

    Attributes:
        estimator: fitted, of `revgn.estimators`.
        encoding: from a table's columns to its inputs.
        target: what is predicted.
        task: "regression" or "classification".
    """

    estimator: Any
    encoding: Encoding
    target: str
    task: str


def require_free(folder: Path, *, overwrite: bool) -> None:
    """Raise FolderError where a folder holds a model already, or files that are none."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    names = {path.name for path in folder.iterdir()}
    if not names <= set(FILES):
        raise FolderError(f"{folder} holds other files than a model's; name another folder with --out")
    if not overwrite:
        raise FolderError(f"{folder} holds a model already; replace it with --overwrite, or name another with --out")


def write_model(folder: Path, trained: Trained, table: Table) -> None:
    """Write the model and its card.

    Raises:
        OSError: the folder cannot be written to.
    """
    (folder / WEIGHTS).unlink(missing_ok=True)  # which would be those of another model now
    config = {
        "revgn": revgn.__version__,
        "table": str(table.path),
        **asdict(trained.settings),
        "training_rows": trained.rows,
        "test_rows": trained.test_rows,
        "scores": {name: dict(each) for name, each in trained.scores.items()},
    }
    contents = {
        CONFIG: yaml.safe_dump(config, sort_keys=False),
        ENCODING: json.dumps(trained.encoding.as_dict(), indent=2) + "\n",
    }
    for name, content in contents.items():
        write_atomically(folder / name, content)
    sums = [_checksum(name, content.encode()) for name, content in contents.items()]
    write_atomically(folder / CHECKSUMS, "".join(f"{line}\n" for line in sums))
    write_atomically(folder / CARD, _card(folder, trained, table))
    with atomic_file(folder / WEIGHTS) as file:
        estimators.save(trained.estimator, file)


def read_model(folder: Path) -> Model:
    """The model in a folder.

    Raises:
        FolderError: there is none, or it is damaged.
    """
    missing = [name for name in (WEIGHTS, CONFIG, ENCODING) if not (folder / name).is_file()]
    if missing:
        raise FolderError(f"{folder} holds no model: {', '.join(missing)} is missing; name a folder of revgn train")
    try:
        _require_as_written(folder)
        config = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
        encoding = Encoding.from_dict(json.loads((folder / ENCODING).read_text(encoding="utf-8")))
        return Model(estimators.load(folder / WEIGHTS), encoding, str(config["target"]), str(config["task"]))
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise FolderError(f"{folder} holds a damaged model ({reason}); put a copy back, or train again") from error


def _require_as_written(folder: Path) -> None:
    """Raise ValueError where settings or encoding do not fit their checksums; models of revgn 0.1 have none."""
    if not (folder / CHECKSUMS).is_file():
        return
    sums = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    for name in (CONFIG, ENCODING):
        if _checksum(name, (folder / name).read_bytes()) not in sums:
            raise ValueError(f"{name} does not fit its checksum in {CHECKSUMS}")


def _checksum(name: str, content: bytes) -> str:
    """The line of a file in CHECKSUMS."""
    return f"{hashlib.sha256(content).hexdigest()}  {name}"


def _card(folder: Path, trained: Trained, table: Table) -> str:
    environment = Environment(loader=PackageLoader("revgn_lab.models"), undefined=StrictUndefined, trim_blocks=True)
    measures = [name for name in trained.scores[OURS] if name != "seconds"]
    return environment.get_template("card.md.j2").render(
        folder=folder, trained=trained, table=table, measures=measures, estimator=trained.estimator
    )
