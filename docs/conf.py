"""How the documentation is built: sphinx, with furo, myst and an executed gallery; warnings are errors."""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(DOCS), str(ROOT / "src")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

import docstrings  # noqa: E402
import error_messages  # noqa: E402

import revgn  # noqa: E402

project = "revgn"
author = "the authors of revgn"
copyright = "the authors of revgn, Apache-2.0"
release = version = revgn.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "_generated"]
templates_path = ["_templates"]
default_role = "py:obj"  # single backticks in docstrings: a link where it names something of ours, code otherwise

smartquotes = False  # quotes here are mostly those of code

html_theme = "furo"
html_title = "revgn"
html_theme_options = {
    "source_repository": "",
    "navigation_with_keys": True,
}

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 4
suppress_warnings = ["config.cache"]  # the settings hold functions: they cannot be compared, so all is built anew

autosummary_generate = True
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_preprocess_types = False

nitpicky = True
# There are no inventories of other projects without a network: names that are theirs are not checked. Of ours, what is
# private is named by its home.
nitpick_ignore_regex = [
    ("py:obj", ".*"),  # single backticks: most of them are code and no names
    ("py:.*", r"(torch|numpy|sklearn|scipy|collections|typing|abc|dataclasses)\b.*"),
    ("py:.*", r"(Tensor|nn|Array|NDArray|Any|ArrayLike|RegressorMixin|ClassifierMixin)\b.*"),
    ("py:class", r"(?!revgn\.).*"),  # annotations that are no class of ours
    ("py:class", r"revgn\.(linear|optim|fitting|estimators|control|losses|nn|parallel|right_inverses|solvers)\..*"),
    ("py:class", r"revgn\.diagnostics\..*"),
]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "within_subsection_order": "docstrings.as_listed",
    "min_reported_time": 0,
    "show_memory": False,
    "write_computation_times": True,
    "download_all_examples": False,
    "abort_on_example_error": True,
    "run_stale_examples": True,  # the library may have changed where the example has not
    "remove_config_comments": True,
    "plot_gallery": os.environ.get("REVGN_DOCS_GALLERY", "True"),
    "matplotlib_animations": False,
    "copyfile_regex": "",
    "reset_modules": ("matplotlib", "seaborn", "docstrings.reset_torch"),
}


def setup(app):
    """Connect what is made anew at each build."""
    app.connect("builder-inited", lambda _: error_messages.write(ROOT / "src", DOCS / "_generated" / "errors.md"))
    app.connect("autodoc-process-docstring", docstrings.to_rst, priority=100)
    app.connect("autodoc-skip-member", docstrings.is_left_out)
    app.connect("source-read", docstrings.links_into_the_repository)
