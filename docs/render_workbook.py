"""Make the README's picture of the workbook: python docs/render_workbook.py

Needs LibreOffice (soffice) and Poppler (pdftoppm).
"""

import shutil
import tempfile
from pathlib import Path

import shallow_cf as scf
from shallow_cf.screenshot import screenshot

PICTURE = Path(__file__).parent / "images" / "workbook.png"


def main():
    """Export the solved crosstab and keep the picture of its sheet's first page."""
    ratings = scf.load_crosstab()
    model = scf.MatrixFactorization(bias=True, solver="grg", random_state=1).fit(ratings)
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder) / "book.xlsx"
        scf.write_workbook(book, ratings, model)
        pictures = {p.sheet: p.path for p in screenshot(book, folder) if p.page == 1}
        shutil.copyfile(pictures["bias"], PICTURE)


if __name__ == "__main__":
    main()
