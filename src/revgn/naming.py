"""Messages for unknown names, with the nearest known one offered."""

import difflib
from collections.abc import Iterable


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Say that `name` is no known `kind` (say "optimizer"), offer the nearest of the `known` names, and list them."""
    choices = {choice.lower(): choice for choice in sorted(known)}
    nearest = difflib.get_close_matches(str(name).lower(), choices, n=1)
    hint = f"did you mean {choices[nearest[0]]!r}? " if nearest else ""
    return f"unknown {kind} {name!r}; {hint}known: {', '.join(choices.values())}"
