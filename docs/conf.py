"""Sphinx settings of the documentation site: `make docs`."""

from importlib import metadata

project = "tinythinker"
author = "The tinythinker authors"
html_show_copyright = False
release = metadata.version("tinythinker")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"tinythinker {release}"
myst_heading_anchors = 3
default_role = "code"
