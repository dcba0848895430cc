"""Sphinx configuration. The docs build offline: nothing here fetches from the network."""

from importlib.metadata import version as installed_version

project = "circuits"
author = "the circuits authors"
copyright = "2026, the circuits authors"
release = installed_version("grokking-circuits")
version = release

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
nitpicky = False

html_theme = "furo"
html_title = f"circuits {release}"

nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = False
default_role = "code"  # `name` in a docstring is a name


def _escape_bars(app, what, name, obj, options, lines):
    """|u| in a docstring is an absolute value, not a substitution of reStructuredText."""
    lines[:] = [line if line.lstrip().startswith(">>>") else line.replace("|", r"\|") for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", _escape_bars)
