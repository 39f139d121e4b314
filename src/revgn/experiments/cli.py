"""The `revgn` command. What takes long to import is imported where a subcommand needs it."""

import argparse
import errno
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from revgn import __version__
from revgn._names import unknown_name
from revgn.experiments.errors import ConfigError
from revgn.experiments.shipped import shipped_configs

if TYPE_CHECKING:
    from collections.abc import Generator

    import pandas as pd

_DESCRIPTION = "Exact Gauss-Newton training of deep reversible networks."
_EXAMPLES = """\
examples:
  revgn demo                             Gauss-Newton, Adam and SGD side by side, in about a minute
  revgn train digits                     one run, by a configuration that comes with the package
  revgn train digits --optimizer.lr 0.5  the same with another learning rate
  revgn train --help                     how to write a configuration of your own
"""
_DEMO = """\
Train the same reversible networks with exact Gauss-Newton, Adam and SGD, on a full batch and on mini-batches, each
with several seeds, and write one page with what came out: curves, numbers, settings. It opens in any browser, without
network. Runs that are complete are not run again, interrupted ones go on where they were.
"""
_DEMO_EXAMPLES = """\
examples:
  revgn demo
  revgn demo --dataset fashion-mnist --out runs/fashion
  revgn demo --seeds 1 2 3 4 5
"""
_TRAIN = """\
Train one network, as a configuration says, and write its metrics, checkpoints and results into a folder of its own.
"""
_TRAIN_EXAMPLES = """\
examples:
  revgn train digits
  revgn train digits --optimizer Adam --optimizer.lr 0.003 --out runs/digits-adam
  revgn train digits --optimizer.solver SVD --optimizer.solver.rtol 0.01 --out runs/digits-truncated
  revgn train my.yaml --resume           after a crash or Ctrl-C: the same end, to the last bit
  revgn train digits --help              every setting of this configuration, with types and defaults

A configuration is a YAML file of classes and their arguments, by the names that they have in Python:

  data:
    name_or_path: digits                 or fashion-mnist, mnist, cifar10, a .csv, .parquet or .npz file
    rows: 1024
  model:                                 revgn.RevMLP
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 0, 1 for what went wrong, 2 for wrong usage, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with _plain_warnings():
            return _dispatch(words)
    except KeyboardInterrupt:
        print(f"\nrevgn: interrupted; to go on: {_command_to_go_on(words)}", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "revgn":
            raise
        return _fail(f"{error.name} is not installed; pip install 'revgn[experiments]'", 1)
    except OSError as error:
        return _fail(_of_files(error), 1)
    except (ValueError, FloatingPointError) as error:
        return _fail(str(error), 2 if isinstance(error, ConfigError) else 1)


class _Parser(argparse.ArgumentParser):
    """Shows its texts as they stand, and reports wrong usage as every other error is reported."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def _dispatch(words: list[str]) -> int:
    parser = _Parser("revgn", description=_DESCRIPTION, epilog=_EXAMPLES)
    parser.add_argument("--version", action="version", version=f"revgn {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for name, (summary, add_arguments, _) in _COMMANDS.items():
        add_arguments(commands.add_parser(name, help=summary, add_help=name != "train"))
    if not words:
        parser.print_help()
        return 2
    if not words[0].startswith("-") and words[0] not in _COMMANDS:
        raise ConfigError(unknown_name("command", words[0], _COMMANDS))
    arguments, rest = parser.parse_known_args(words)
    return _COMMANDS[arguments.command][2](arguments, rest)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DEMO, _DEMO_EXAMPLES
    parser.add_argument("--dataset", default="digits", metavar="NAME", help="digits (default) or fashion-mnist")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="default: runs/demo")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[42, 43, 44],
        metavar="SEED",
        help="default: 42 43 44",
    )


def _demo(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    if rest:
        raise ConfigError(f"unrecognized arguments: {' '.join(rest)}; see revgn demo --help")
    from revgn.experiments.demo import demo

    page = demo(arguments.dataset, arguments.out, arguments.seeds, progress=True)
    print(f"Open {page} in a browser.")
    return 0


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.usage = "revgn train CONFIG [--out DIR] [--resume | --overwrite] [--SETTING VALUE ...]"
    parser.description = _TRAIN
    parser.epilog = _TRAIN_EXAMPLES.format(shipped=", ".join(shipped_configs()))
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, a name below, or the folder of a run", nargs="?")
    parser.add_argument("-h", "--help", action=_TrainHelp, nargs=0, help="show this help; after CONFIG: its settings")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run; default: runs/NAME-OF-CONFIG")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder")
    existing.add_argument("--overwrite", action="store_true", help="start over, replacing the run in the folder")


class _TrainHelp(argparse.Action):
    """Shows every setting of the configuration, if one was named."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: object) -> NoReturn:
        if not namespace.config:
            parser.print_help()
            parser.exit()
        from revgn.experiments.config import find_config, read_yaml, settings_help

        print(f"Settings of {namespace.config}; change one with --NAME VALUE.\n")
        print(settings_help(read_yaml(find_config(namespace.config))))
        parser.exit()


def _train(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    if not arguments.config:
        raise ConfigError(f"no CONFIG; give the path of a YAML file or one of {', '.join(shipped_configs())}")
    from revgn.experiments.config import find_config, parse, read_yaml
    from revgn.experiments.run import run

    path = find_config(arguments.config)
    config = parse(read_yaml(path), rest)
    is_run = path.parent == Path(arguments.config)
    folder = arguments.out or (path.parent if is_run else Path("runs") / path.stem)
    metrics = run(config, folder, resume=arguments.resume, overwrite=arguments.overwrite)
    print(_in_short(metrics, folder))
    return 0


_Command = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace, Sequence[str]], int]]
_COMMANDS: dict[str, _Command] = {
    "demo": ("compare Gauss-Newton with Adam and SGD, and write a page", _add_demo, _demo),
    "train": ("train one network from a configuration", _add_train, _train),
}


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


def _command_to_go_on(words: Sequence[str]) -> str:
    resume = ["--resume"] if "train" in words[:1] and "--resume" not in words else []
    return shlex.join(["revgn", *(word for word in words if word != "--overwrite"), *resume])


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _of_files(error: OSError) -> str:
    where = error.filename or "cannot write"
    advice = "free some space" if error.errno in _FULL else "check path and permissions"
    return f"{where}: {error.strerror or error}; {advice}, or name another folder with --out"


def _fail(message: str, status: int) -> int:
    print(f"revgn: error: {' '.join(message.split())}", file=sys.stderr)
    return status


@contextmanager
def _plain_warnings() -> "Generator[None]":
    """Show warnings as a line of the command, without the place in the code that they come from."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        print(f"revgn: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


if __name__ == "__main__":
    sys.exit(main())
