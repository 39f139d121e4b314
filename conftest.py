"""Runs the Python blocks of README.md as tests, so that what a newcomer copies is known to work."""

from importlib.util import find_spec

if find_spec("sybil"):  # the extra [dev]; every other test runs without it too
    from sybil import Sybil
    from sybil.parsers.markdown import PythonCodeBlockParser

    pytest_collect_file = Sybil(parsers=[PythonCodeBlockParser()], patterns=["README.md"]).pytest()
