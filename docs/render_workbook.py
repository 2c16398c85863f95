"""Make the README's picture of the workbook: python docs/render_workbook.py

Needs LibreOffice (soffice) and Poppler (pdftoppm).
"""

import subprocess
import tempfile
from pathlib import Path

import shallow_cf as scf

PICTURE = Path(__file__).parent / "images" / "workbook"


def main():
    """Export the solved crosstab, print it to PDF, turn that into a PNG."""
    ratings = scf.load_crosstab()
    model = scf.MatrixFactorization(bias=True, solver="grg", random_state=1).fit(ratings)
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder) / "book.xlsx"
        scf.write_workbook(book, ratings, model)
        profile = f"-env:UserInstallation={Path(folder, 'profile').as_uri()}"
        convert = ["soffice", profile, "--headless", "--convert-to", "pdf", "--outdir", folder]
        subprocess.run([*convert, str(book)], check=True, capture_output=True)
        # 110 dots an inch of a landscape page; the window leaves out the empty margins.
        window = ["-x", "70", "-y", "75", "-W", "1140", "-H", "720"]
        picture = ["pdftoppm", "-r", "110", *window, "-png", "-singlefile"]
        subprocess.run([*picture, str(book.with_suffix(".pdf")), str(PICTURE)], check=True)


if __name__ == "__main__":
    main()
