"""`revgn --print-completion SHELL`: a script by which the shell completes commands, options, names and files."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from revgn_lab.commands.bench import benchmarks, benchmarks_folder
from revgn_lab.settings.shipped import shipped_configs, shipped_studies

SHELLS = ("bash", "zsh", "tcsh")


class PrintCompletion(argparse.Action):
    """Prints the script and ends."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, *_: object) -> None:
        import shtab

        names = {
            ("train", "config"): shipped_configs(),
            ("study", "name"): shipped_studies(),
            ("bench", "name"): benchmarks(benchmarks_folder()),
        }
        for command, action in _actions(parser):
            if (command, action.dest) in names and not action.option_strings:
                action.choices = list(names[command, action.dest])
            elif action.type is Path:
                action.complete = shtab.DIRECTORY if action.metavar in ("DIR", "FOLDER") else shtab.FILE  # pyright: ignore[reportAttributeAccessIssue]
        print(shtab.complete(parser, shell=values))
        parser.exit()


def _actions(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    """The arguments of all commands, each with its command."""
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage]
        if isinstance(action, argparse._SubParsersAction):  # pyright: ignore[reportPrivateUsage]
            for command, inner in action.choices.items():
                yield from ((command, each) for _, each in _actions(inner))
        else:
            yield "", action
