"""Settings as words of a command line."""

from collections.abc import Iterable
from typing import Any

from revgn_lab.errors import ConfigError

_LISTS = ("diagnostics",)  # settings that may be given several times, or with commas between values


def overrides_of(words: Iterable[str]) -> dict[str, Any]:
    """Overrides by dotted name, of words such as `--optimizer.lr 0.5`, `--drop_last` or `--diagnostics ntk,cka`.

    Values stay text, which `parse` takes for any type. A name alone is true.

    Raises:
        ConfigError: a word that belongs to no setting.
    """
    found: dict[str, Any] = {}
    left = list(words)[::-1]
    while left:
        word = left.pop()
        if not word.startswith("--"):
            raise ConfigError(f"unrecognized arguments: {word}")
        name, given, value = word[2:].partition("=")
        if not given:
            value = left.pop() if left and not left[-1].startswith("--") else "true"
        if name in _LISTS and not value.startswith("["):
            value = [*found.get(name, []), *value.split(",")]
        found[name] = value
    return found
