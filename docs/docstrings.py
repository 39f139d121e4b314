"""Our docstrings, which are written to be read in the source, as reStructuredText; and links that leave the docs."""

import re
from pathlib import Path

SECTIONS = re.compile(r"(Args|Attributes|Returns|Raises|Yields|Source|Cost|Targets|Example)s?:")
CODE = re.compile(r"(``.*?``|`[^`]*`)")
NAME = re.compile(r"`[A-Za-z_][\w.]*`")  # what may name something of ours; all else in backticks is code


def to_rst(app, what, name, obj, options, lines):
    """Escape what means something else there, and mark indented code before the first section as such."""
    text = [_escaped(line) for line in lines]
    made: list[str] = []
    sections = next((i for i, line in enumerate(text) if SECTIONS.fullmatch(line.strip())), len(text))
    in_code = False
    for index, line in enumerate(text):
        if line.startswith("\\|") and made[-1:] != ["   " + lines[index - 1]]:
            made += [".. code-block:: text", ""]  # a table in Markdown stays as it is written
        if line.startswith("\\|"):
            made.append("   " + lines[index])
            continue
        begins = index < sections and line.startswith("    ") and index > 0 and not lines[index - 1].strip()
        if begins and not in_code:
            made += [".. code-block:: python", ""]
            in_code = True
        elif line.strip() and not line.startswith(" "):
            in_code = False
        # In code nothing is to be escaped.
        made.append(lines[index] if in_code else line)
    lines[:] = made


def _escaped(line):
    made: list[str] = []
    for index, part in enumerate(CODE.split(line)):
        if index % 2:
            made.append(part if part.startswith("``") or NAME.fullmatch(part) else f"`{part}`")
        else:
            # A letter after closing backticks, as in the plural of a name, needs a separator that is not shown.
            made.append(("\\ " if index and part[:1].isalnum() else "") + _plain(part))
    return "".join(made)


def is_left_out(app, what, name, obj, skip, options):
    """Leave out what scikit-learn adds to every estimator for its metadata routing: its words refer to its own docs."""
    return True if name in {"set_fit_request", "set_score_request", "set_predict_request"} else None


def _plain(text):
    text = re.sub(r"([|*])", r"\\\1", text)
    return re.sub(r"(\w)_(?!\w)", r"\1\\_", text)


def reset_torch(gallery_conf, fname):
    """Give each example of the gallery torch as a fresh process has it."""
    import torch

    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)


def as_listed(filename):
    """The place of an example in the list of examples/README.md, from the simple to the special."""
    listed = (Path(__file__).parents[1] / "examples" / "README.md").read_text(encoding="utf-8")
    return listed.index(f"`{filename}`")


# Files of the repository that pages link to, and that are no pages: shown as their path.
OUTSIDE = re.compile(r"\[([^\]]*)\]\((?:\.\./)+((?:results|benchmarks|src|examples|tests)(?:/[^)]*)?)\)")


def links_into_the_repository(app, docname, source):
    """Turn links to files beside the docs into their names: on GitHub they are links, on the site there is no file."""

    def named(found):
        text, path = found.groups()
        if not (Path(__file__).parents[1] / path.split("#")[0]).exists():
            raise FileNotFoundError(f"{docname} links to {path}, which the repository lacks")
        if path.startswith("examples/plot_"):
            return f"[{text}](/gallery/{Path(path).stem})"  # which a build makes of it
        shown = text if text.startswith("`") else f"{text} (`{path}`)"
        return shown

    source[0] = OUTSIDE.sub(named, source[0])
