"""The documentation: complete lists, links, commands and errors; its Python blocks are run by sybil (conftest.py)."""

import importlib
import inspect
import os
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

from subprocesses import SUBPROCESS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MADE = ("_build", "_generated", "_templates", "gallery")  # by a build

pytestmark = pytest.mark.skipif(not (DOCS / "conf.py").is_file(), reason="a distribution without the docs")


def pages():
    """The Markdown pages of the documentation, and the README."""
    written = [path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).parts[0] not in MADE]
    return [ROOT / "README.md", *sorted(written)]


def error_messages():
    sys.path.insert(0, os.fspath(DOCS))
    try:
        return importlib.import_module("error_messages")
    finally:
        sys.path.remove(os.fspath(DOCS))


def public_names():
    """Every public name of the library with the module that it is public in."""
    import revgn

    found = {("revgn", name) for name in revgn.__all__ if not inspect.ismodule(getattr(revgn, name))}
    for home in ("control", "diagnostics", "losses", "nn", "parallel", "right_inverses", "solvers", "estimators"):
        if home == "estimators":
            pytest.importorskip("sklearn")
        module = importlib.import_module(f"revgn.{home}")
        tree = Path(module.__file__).read_text(encoding="utf-8")
        names = getattr(module, "__all__", None) or re.findall(r"import (\w+) as \1", tree)
        found |= {(f"revgn.{home}", name) for name in names}
    # The networks stand under the shorter of their two names.
    return found - {("revgn.nn", name) for name in ("RevConv", "RevMixer", "RevMLP")}


def test_the_api_lists_every_public_name_once():
    listed = []
    for path in sorted((DOCS / "api").glob("*.rst")):
        module = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(".. currentmodule:: "):
                module = line.split()[-1]
            elif module and re.fullmatch(r"   \w+", line):
                listed.append((module, line.strip()))
    assert sorted(listed) == sorted(public_names() | {("revgn.dense", "GaussNewton")})


def test_every_page_is_in_a_table_of_contents():
    contents = (DOCS / "index.md").read_text(encoding="utf-8")
    for path in pages()[1:]:
        name = path.relative_to(DOCS).with_suffix("").as_posix()
        assert name == "index" or re.search(rf"^{name}$", contents, re.MULTILINE), name


def test_links_to_files_and_headings_lead_somewhere():
    """What GitHub shows; the built pages are checked by docs/check_links.py."""
    for page in pages():
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith("http"):
                continue
            name, _, anchor = target.partition("#")
            there = page.parent / name if name else page
            assert there.exists(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {slug(heading) for heading in headings}, f"{page.name}: {target}"


def slug(heading):
    """A heading as GitHub's anchor."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_outside_links_are_well_formed_and_all_in_one_list():
    listed = re.findall(r"<(https?://[^>]+)>", (DOCS / "links.md").read_text(encoding="utf-8"))
    assert len(listed) == len(set(listed))
    for address in listed:
        parts = urllib.parse.urlsplit(address)
        assert parts.scheme == "https", address
        assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc), address
        assert not re.search(r"[\s<>\"{}|\\^`]", address), address
    sources = [*pages(), ROOT / "CHANGELOG.md", *(ROOT / "examples").glob("*.py")]
    used = {found for path in sources for found in re.findall(r"https?://[^\s)>\]`|]+", path.read_text("utf-8"))}
    assert used == set(listed)


def test_every_message_is_in_the_table_with_something_to_do():
    module = error_messages()
    messages = module.messages(ROOT / "src")
    raised = sum(
        len(re.findall(r"^\s*raise \w[\w.]*\(", path.read_text(encoding="utf-8"), re.MULTILINE))
        for path in (ROOT / "src/revgn").rglob("*.py")
    )
    # The same message of the same module counts once, and a type that is chosen does not begin with a word.
    assert raised - 6 <= len(messages) <= raised + 2
    for message in messages:
        assert message.kind.replace(", ", "").isidentifier()
        assert message.came
        assert len(message.remedy) > 3, message
    table = module.table(ROOT / "src")
    assert "no targets | expected step(inputs, targets)" in table
    assert "use right\\_inverse='moore-penrose'" in table


def commands():
    """The lines `revgn ...` of the pages' shell blocks."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            if language not in ("", "sh"):
                continue
            for line in block.splitlines():
                if line.startswith("revgn "):
                    yield line.partition("#")[0].strip()


def test_commands_on_the_pages_have_the_options_that_they_use():
    pytest.importorskip("lightning")
    found = sorted(set(commands()))
    assert len(found) >= 10
    helps = {}
    for command in found:
        name = command.split()[1]
        asked = (name, "TABLE.csv") if name == "train" and ".csv" in command else (name,)
        if asked not in helps:
            ran = subprocess.run(
                [sys.executable, "-m", "revgn_lab.cli", *asked, "--help"],
                env=SUBPROCESS, capture_output=True, text=True, check=True,
            )  # fmt: skip
            helps[asked] = ran.stdout
        for option in re.findall(r"--([\w-]+)", command.partition(" ")[2]):
            # Settings of a run, such as --optimizer.lr, are begun by a name of its configuration.
            assert f"--{option}" in helps[asked], command


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_the_quick_start_of_a_table_works_as_written(tmp_path):
    for needed in ("lightning", "sklearn", "pandas"):
        pytest.importorskip(needed)
    text = (DOCS / "quickstart/table.md").read_text(encoding="utf-8")
    first = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    exec(first[1].replace('"patients.csv"', repr(str(tmp_path / "patients.csv")))
         .replace('"new_patients.csv"', repr(str(tmp_path / "new_patients.csv"))), {})  # fmt: skip
    for line in re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1].splitlines():
        subprocess.run(
            [sys.executable, "-m", "revgn_lab.cli", *line.split()[1:]], env=SUBPROCESS, cwd=tmp_path, check=True
        )
    predicted = (tmp_path / "predicted.csv").read_text(encoding="utf-8").splitlines()
    assert predicted[0] == "target,target std"
    assert len(predicted) == 1 + 42
