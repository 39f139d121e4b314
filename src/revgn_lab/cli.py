"""The `revgn` command. What takes long to import is imported where a subcommand needs it."""

import argparse
import errno
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from revgn import __version__
from revgn.naming import unknown_name
from revgn_lab.commands import bench, demo, predict, report, study, table_model, train
from revgn_lab.commands.completion import SHELLS, PrintCompletion
from revgn_lab.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator


_DESCRIPTION = "Exact Gauss-Newton training of networks: models of tables, runs, and the studies of the paper."
_EXAMPLES = """\
examples:
  revgn demo                             Gauss-Newton, Adam and SGD side by side, in about a minute
  revgn train data.csv --target y        a model of a table; revgn predict uses it
  revgn train digits                     one run, by a configuration that comes with the package
  revgn train digits --optimizer.lr 0.5  the same with another learning rate
  revgn study full-batch                 an experiment of the paper: a grid of runs, its figures, verdicts on claims
  revgn train --help                     how to write a configuration of your own
  revgn bench                            the benchmarks behind what is claimed about speed and memory
"""
_COMMANDS: dict[str, Any] = {
    "demo": demo,
    "train": train,
    "predict": predict,
    "study": study,
    "report": report,
    "bench": bench,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    The exit status is 0, 1 for what went wrong, 2 for wrong usage, 130 for Ctrl-C, 141 where nobody reads on.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with _plain_warnings():
            status = _dispatch(words)
        sys.stdout.flush()  # here, where a closed pipe can be told from an error
        return status
    except KeyboardInterrupt:
        print(f"\nrevgn: interrupted; to go on: {_command_to_go_on(words)}", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "revgn":
            raise
        return _fail(f"{error.name} is not installed; pip install 'revgn[experiments]'", 1)
    except BrokenPipeError:  # who reads our output, `head` say, has seen enough
        # Else Python complains once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        return _fail(_of_files(error), 1)
    except MemoryError as error:
        return _fail(str(error) or "there is no room in memory; take fewer rows (--rows, --data.rows)", 1)
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
    parser.add_argument(
        "--print-completion", action=PrintCompletion, choices=SHELLS, help="print a script that completes commands"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for name, command in _COMMANDS.items():
        # The help of `train` depends on the configuration that is named.
        command.add_arguments(commands.add_parser(name, help=command.SUMMARY, add_help=command is not train))
    if not words:
        parser.print_help()
        return 2
    if not words[0].startswith("-") and words[0] not in _COMMANDS:
        raise ConfigError(unknown_name("command", words[0], _COMMANDS))
    if words[0] == "train" and table_model.is_meant(words[1:]):
        on_table = _Parser("revgn train")
        table_model.add_arguments(on_table)
        return table_model.run(on_table.parse_args(words[1:]))
    arguments, rest = parser.parse_known_args(words)
    command = _COMMANDS[arguments.command]
    if command in (train, bench):  # settings of a configuration, options of a benchmark
        arguments.words = words
        return command.run(arguments, rest)
    if rest:
        raise ConfigError(f"unrecognized arguments: {' '.join(rest)}; see revgn {arguments.command} --help")
    return command.run(arguments)


def _command_to_go_on(words: Sequence[str]) -> str:
    if "train" in words[:1] and table_model.is_meant(words[1:]):
        return shlex.join(["revgn", *words])  # a model of a table is written at the end, and whole
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
