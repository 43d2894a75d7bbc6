"""Sphinx configuration: numpydoc, sphinx-gallery, the pydata theme."""

import os
import re
import warnings
from importlib.metadata import version as version_of

import matplotlib as mpl
from sphinx_gallery.sorting import ExplicitOrder

mpl.use("Agg")
# The examples, which run in other processes, print no bars of files being written.
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

project = "sklearn_ser"
author = "The sklearn_ser developers"
copyright = "2026, the sklearn_ser developers"
version = release = version_of("sklearn-ser")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "**/README.txt"]
templates_path = ["_templates"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
# Only code is copied, without prompts, and no output.
copybutton_selector = "div:not(.highlight-text, .highlight-none) > div.highlight > pre"
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "doc_module": "sklearn_ser",
    "reference_url": {"sklearn_ser": None},
    "backreferences_dir": "generated/backreferences",
    "show_memory": False,
    "parallel": 2,  # examples at once
    "abort_on_example_error": True,
    "within_subsection_order": ExplicitOrder(
        [
            f"plot_{name}.py"
            for name in (
                "quickstart",
                "spectrogram",
                "timeline",
                "tabular_columns",
                "new_speakers",
                "errors_by_speaker",
                "calibration",
                "learning_curve",
                "layer_analysis",
                "missing_block",
                "poincare_disk",
                "distilled",
            )
        ]
        + ["*"]
    ),
    "default_thumb_file": None,
}
# Matplotlib's figures are shown by the gallery, not by a window.
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")

html_theme = "pydata_sphinx_theme"
html_title = f"sklearn_ser {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": project},
    "navbar_align": "left",
    "navbar_end": ["version", "theme-switcher"],
    "show_toc_level": 2,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": [], "auto_examples/index": []},
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "benchmarks": [], "changelog": []}


def drop_references(app, what, name, obj, options, lines):
    """Leave the text alone of what scikit-learn's docstrings refer to in its own pages."""
    lines[:] = [re.sub(r":(?:ref|term):`([^`<]+?)(?: <[^`]+)?`", r"\1", line) for line in lines]


def setup(app):
    """Have inherited docstrings changed before they are read."""
    app.connect("autodoc-process-docstring", drop_references)
