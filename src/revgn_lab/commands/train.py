"""`revgn train`: one run from a configuration."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from revgn_lab.errors import ConfigError
from revgn_lab.settings.shipped import find_config, shipped_configs

if TYPE_CHECKING:
    import pandas as pd

SUMMARY = "train on a table, or one network from a configuration"
_DESCRIPTION = """\
Train one network, as a configuration says, and write its metrics, checkpoints and results into a folder of its own.
Given a table in place of a configuration, train on it with nothing to choose: see revgn train TABLE --help.
"""
_EXAMPLES = """\
examples:
  revgn train houses.csv --target price  a model of a table, for revgn predict
  revgn train digits
  revgn train digits --optimizer Adam --optimizer.lr 0.003 --out runs/digits-adam
  revgn train digits --optimizer.solver SVD --optimizer.solver.rtol 0.01 --out runs/digits-truncated
  revgn train digits --model MLP --optimizer.right_inverse moore-penrose --data.rows 256 --out runs/digits-mlp
  revgn train digits --ranks 2           two processes, each with half of the rows; or torchrun -m revgn_lab.cli train
  revgn train my.yaml --resume           after a crash or Ctrl-C: the same end, to the last bit
  revgn train digits --help              every setting of this configuration, with types and defaults

A configuration is a YAML file of classes and their arguments, by the names that they have in Python:

  data:
    name_or_path: digits                 or fashion-mnist, mnist, cifar10; diabetes, concrete, ames, diamonds;
                                         or a .csv, .parquet or .npz file
    rows: 1024
  model:                                 revgn.RevMLP; by class_path and init_args also MLP, ConvNet, one of your own
    num_blocks: 2
    hidden_features: 2000
  loss: CrossEntropyLoss                 or MSELoss, BCEWithLogitsLoss
  optimizer:                             GaussNewton, SGD, Adam, AdamW, Muon or LBFGS
    class_path: GaussNewton
    init_args:
      lr: 1.0
  epochs: 30
  batch_size: 256                        null for all rows at once

Configurations that come with the package: {shipped}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its arguments."""
    parser.usage = "revgn train CONFIG [--out DIR] [--resume | --overwrite] [--SETTING VALUE ...]"
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES.format(shipped=", ".join(shipped_configs()))
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, a name below, or the folder of a run", nargs="?")
    parser.add_argument("--config", dest="config", metavar="CONFIG", help="the same", default=argparse.SUPPRESS)
    parser.add_argument("--print_config", action="store_true", help="print all settings as YAML, and train nothing")
    parser.add_argument("-h", "--help", action=_TrainHelp, nargs=0, help="show this help; after CONFIG: its settings")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run; default: runs/NAME-OF-CONFIG")
    parser.add_argument("--ranks", type=int, metavar="N", help="processes that share the rows of a batch; default: 1")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder")
    existing.add_argument("--overwrite", action="store_true", help="start over, replacing the run in the folder")


class _TrainHelp(argparse.Action):
    """Shows every setting of the configuration, if one was named."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: object) -> NoReturn:
        if not namespace.config:
            parser.print_help()
            parser.exit()
        from revgn_lab.settings.parsing import read_yaml, settings_help

        print(f"Settings of {namespace.config}; change one with --NAME VALUE.\n")
        print(settings_help(read_yaml(find_config(namespace.config))))
        parser.exit()


def run(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    """Train as the configuration says, and tell the end in a line; the exit status is 1 if it diverged."""
    if not arguments.config:
        raise ConfigError(f"no CONFIG; give the path of a YAML file or one of {', '.join(shipped_configs())}")
    from revgn_lab.settings.parsing import parse, read_yaml
    from revgn_lab.settings.words import overrides_of

    path = find_config(arguments.config)
    config = parse(read_yaml(path), overrides_of(rest))
    if arguments.print_config:
        import yaml

        print(yaml.safe_dump(config.as_dict(), sort_keys=False), end="")
        return 0
    from revgn_lab.runs.run import run as train
    from revgn_lab.runs.several_processes import is_launched, joined, launch

    if arguments.ranks is not None and not is_launched():
        return launch(arguments.words, arguments.ranks)
    is_run = path.parent == Path(arguments.config)
    folder = arguments.out or (path.parent if is_run else Path("runs") / path.stem)
    with joined() as group:
        result = train(config, folder, resume=arguments.resume, overwrite=arguments.overwrite, group=group)
        if result.diverged:
            raise FloatingPointError(f"{result.diverged}; what led to it is in {folder}/")
        print(_in_short(result.metrics, folder))
    return 0


def _in_short(metrics: "pd.DataFrame", folder: Path) -> str:
    """The end of a run in a line."""
    last = metrics.iloc[-1]
    words = {
        "loss": "training loss {:.2e}",
        "defect": "defect {:.1e}",
        "test_loss": "test loss {:.2e}",
        "test_accuracy": "test accuracy {:.1f} %",
        "test_r2": "test R2 {:.3f}",
    }
    told = [form.format(last[name]) for name, form in words.items() if name in metrics and last[name] == last[name]]
    return f"{int(last['step'])} steps in {last['seconds']:.1f} s: {', '.join(told)}. Everything is in {folder}/"
