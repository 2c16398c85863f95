"""Small changes to the pages that sphinx-gallery writes: a title, and fewer downloads."""

import re

# As sphinx-gallery writes it: a label, an empty line, and the text that opens the example.
_OPENING = re.compile(r"(\.\. _sphx_glr_gallery_\S+\.py:\n\n)(.+)\n(?!([=\-~*#])\3+\n)")
_ZIP = re.compile(r" *\.\. container:: sphx-glr-download sphx-glr-download-zip\n\n.*\n")


def mend(app, docname, source):
    """Make a title of the first line, unless it is one; take the zip of one script away."""
    if docname.startswith("gallery/"):
        text = _OPENING.sub(_as_title, source[0], count=1)
        source[0] = _ZIP.sub("", text)


def _as_title(opening):
    title = opening[2].rstrip(".")
    return f"{opening[1]}{title}\n{'=' * len(title)}\n"


def setup(app):
    """Register what is above."""
    app.connect("source-read", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
