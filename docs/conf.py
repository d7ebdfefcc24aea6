"""Sphinx configuration."""

from bybit_copyws.version import __version__

project = "bybit_copyws"
author = "The bybit_copyws authors"
copyright = "2026, The bybit_copyws authors"
version = release = __version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_member_order = "bysource"
napoleon_use_ivar = True
html_theme = "alabaster"
nitpicky = False
