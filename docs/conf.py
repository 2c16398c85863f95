"""How the docs are built, and their links checked without a network:

python -m sphinx -W --keep-going -n docs docs/_build/html
python docs/check_links.py docs/_build/html
"""

import os
import sys
from pathlib import Path

# The same as for the tests: on a busy machine BLAS threads mostly wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from api_names import linkcode_resolve  # noqa: F401  (Sphinx asks for it by this name)

import shallow_cf

project = "shallow_cf"
author = copyright = "the shallow_cf authors"
version = release = shallow_cf.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.linkcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "api_names",
    "derivations",
    "gallery_pages",
    "mathml",
    "source_pages",
]
exclude_patterns = ["_build", "sg_execution_times.rst", "gallery/sg_execution_times.rst"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}

html_theme = "furo"
html_title = f"shallow_cf {release}"
# No page asks another host for anything: the docs can be read without a network.
html_math_renderer = "mathml"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

# --- pages in Markdown; their code runs when the docs are built ---------------------------
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

# --- docstrings ---------------------------------------------------------------------------
autosummary_generate = ["api.rst"]
templates_path = ["_templates"]
default_role = "name"
autodoc_typehints = "none"
numpydoc_show_class_members = False

# --- examples -----------------------------------------------------------------------------
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d_\w+\.py$",
    "ignore_pattern": r"/lessons/",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "default_thumb_file": str(Path(__file__).parent / "images" / "sheet_embedding.png"),
    "download_all_examples": False,
    "notebook_extensions": set(),
    "show_signature": False,
    "write_computation_times": False,
    "show_memory": False,
}
