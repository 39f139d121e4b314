"""Runs the Python blocks of README.md and of docs/ as tests, so that what a newcomer copies is known to work."""

import os
from importlib.util import find_spec

if find_spec("sybil"):  # the extra [dev]; every other test runs without it too
    from sybil import Sybil
    from sybil.parsers.markdown import PythonCodeBlockParser

    def _into_a_folder_of_its_own(namespace):
        """What a page's blocks write is not to stay in the checkout."""
        import tempfile

        namespace["_folder"] = tempfile.TemporaryDirectory()
        namespace["_before"] = os.getcwd()
        os.chdir(namespace["_folder"].name)

    def _back(namespace):
        os.chdir(namespace["_before"])
        namespace["_folder"].cleanup()

    pytest_collect_file = Sybil(
        parsers=[PythonCodeBlockParser()],
        patterns=["README.md", "docs/*.md", "docs/quickstart/*.md"],
        setup=_into_a_folder_of_its_own,
        teardown=_back,
    ).pytest()
