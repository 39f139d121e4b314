"""The table of error messages, from the `raise` statements of the library: it cannot go stale."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Functions that make a message, and what they make of their arguments.
UNKNOWN = "unknown {kind} '…'; take one of the names that the message lists; it offers the nearest"
# What to do where the message states only a rule.
BY_KIND = {
    "NotImplementedError": "write the method in your subclass",
    "AttributeError": "check the spelling; dir(revgn) lists the names",
    "LinAlgError": "check the inputs, and add damping; other solvers, such as Eigh(), survive more",
    "RuntimeError": "a right inverse of your own breaks its contract: change only the parameters it was given",
}
FOLLOW = "give a value as the message says"
RULES = ("must ", "needs ", "need ", "expected ", "cannot ", "do not fill", "does not split", "is no ", "has no ")


@dataclass(frozen=True)
class Message:
    """An error that the library raises: its type, its text with … for what is filled in, and where it comes from."""

    kind: str
    text: str
    module: str

    @property
    def came(self) -> str:
        """What the message says has happened."""
        return self._parts[0]

    @property
    def remedy(self) -> str:
        """What the message says to do; for a mere rule, to follow it."""
        remedy = self._parts[1]
        return remedy if any(letter.isalpha() for letter in remedy) else "what the end of the message says"

    @property
    def _parts(self) -> tuple[str, str]:
        for mark in ("; ", ": use ", ", or give "):
            if mark in self.text:
                came, remedy = self.text.split(mark, 1)
                if remedy.startswith(("got ", "its condition")):
                    return self.text, FOLLOW
                if remedy == "no parameter was changed":
                    return self.text, "lower the learning rate, or scale inputs and targets"
                return came, ("use " if mark == ": use " else "give " if "give" in mark else "") + remedy
        if self.kind in BY_KIND:
            return self.text, BY_KIND[self.kind]
        if any(mark in self.text for mark in (" must ", " splits in ")) or "condition number" in self.text:
            return self.text, FOLLOW
        if ": " in self.text:
            came, remedy = self.text.split(": ", 1)
            return came, remedy
        if any(rule in self.text for rule in RULES):
            return self.text, FOLLOW
        return self.text, "make both agree"


def messages(source: Path) -> list[Message]:
    """Every message that `revgn` raises, by module and line."""
    found: dict[tuple[str, str], Message] = {}
    trees = {p: ast.parse(p.read_text(encoding="utf-8")) for p in sorted((source / "revgn").rglob("*.py"))}
    shared = {name: value for tree in trees.values() for name, value in constants(tree)}
    for path, tree in trees.items():
        module = ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
        strings = shared | dict(defaults(tree)) | dict(assigned(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                text = written(node.exc.args[0], strings)
                message = Message(kind(node.exc.func), " ".join(text.split()), module)
                found.setdefault((message.text, module), message)
    return list(found.values())


def assigned(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Names and what they are set to, anywhere in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value


def constants(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The texts that a module may lend to others: names in capitals."""
    for name, value in assigned(tree):
        if name.isupper():
            yield name, value


def defaults(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Arguments of functions and their defaults."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.args.defaults:
            names = [argument.arg for argument in node.args.args]
            yield from zip(names[-len(node.args.defaults) :], node.args.defaults, strict=True)


def kind(function: ast.expr) -> str:
    """The error's type."""
    if isinstance(function, ast.IfExp):
        return f"{kind(function.body)}, {kind(function.orelse)}"
    return ast.unparse(function).split(".")[-1]


def written(node: ast.expr, strings: dict[str, ast.expr], depth: int = 3) -> str:
    """The text that an expression makes, with … for what is only known when it is raised."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(written(part, strings, depth) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return written(node.left, strings, depth) + written(node.right, strings, depth)
    if isinstance(node, ast.IfExp):
        body, other = (written(part, strings, depth) for part in (node.body, node.orelse))
        return body if other in ("", body) else other if not body else f"{body} / {other}"
    if isinstance(node, ast.FormattedValue):
        return written(node.value, strings, depth) if isinstance(node.value, ast.Name) else "…"
    if isinstance(node, ast.Name) and depth and node.id in strings:
        text = written(strings[node.id], strings, depth - 1)
        return text if text.strip("… ") else "…"
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "unknown_name":
        first = node.args[0]
        return UNKNOWN.format(kind=first.value if isinstance(first, ast.Constant) else "…")
    return "…"


def table(source: Path) -> str:
    """The messages as Markdown, a table for each package of the library."""
    by_package: dict[str, list[Message]] = {}
    for message in messages(source):
        parts = message.module.split(".")
        by_package.setdefault(".".join(parts[:2]), []).append(message)
    lines: list[str] = []
    for package, found in sorted(by_package.items()):
        lines += [
            f"## `{package}`" if "._" not in package else "## Sizes of memory",
            "",
            "| message | what to do | type |",
            "|---|---|---|",
        ]
        lines += [f"| {_cell(m.came)} | {_cell(m.remedy)} | {m.kind} |" for m in found]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    for character in "\\|*_`<>[]{}$":
        text = text.replace(character, f"\\{character}")
    return text


def write(source: Path, path: Path) -> None:
    """Write the table, if it has changed."""
    text = table(source)
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
