"""Make the pictures of the workbook in README and docs: python docs/render_workbook.py

Needs LibreOffice and Poppler, as `shallow-cf screenshot` does.
"""

import shutil
import tempfile
from pathlib import Path

import shallow_cf as scf
from shallow_cf.screenshot import screenshot

IMAGES = Path(__file__).parent / "images"
#: Sheets whose pictures README and docs show; the others are too wide to be read there.
SHOWN = (
    "dotprod", "bias", "embedding", "gradients", "history", "new_user", "word_emb",
)  # fmt: skip
#: How a run is called -> solver.
RUNS = {"SGD": "sgd", "Solver": "grg", "variable projection": "varpro"}


def write(path):
    """A workbook with everything there is to show."""
    ratings = scf.load_crosstab()
    runs, models = {}, []
    for bias in (False, True):
        for name, solver in RUNS.items():
            model = scf.MatrixFactorization(bias=bias, solver=solver, random_state=1).fit(ratings)
            runs[f"{name}, biases" if bias else name] = model.result_.trace
            models += [model] if solver == "grg" else []
    report = scf.answer_report(ratings, models[0].result_, scf.SolverOptions(), sheet="dotprod")
    titles = scf.load_crosstab_titles()
    scf.write_workbook(path, ratings, *models, titles=titles, runs=runs, reports=[report])
    scf.solve_new_user(path, path, overwrite=True)


def write_start(path):
    """The workbook of `shallow-cf export -o book.xlsx`, before Solve is pressed."""
    start, titles = scf.Parameters.random(15, 15, random_state=1), scf.load_crosstab_titles()
    scf.write_workbook(path, scf.load_crosstab(), start, sheets=(), titles=titles)


def draw(write, names, dpi=100):
    """Draw a workbook and keep the first pages of some sheets, under the names given."""
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder) / "book.xlsx"
        write(book)
        for picture in screenshot(book, folder, dpi=dpi):
            if picture.sheet in names and picture.page == 1:
                shutil.copyfile(picture.path, IMAGES / f"{names[picture.sheet]}.png")


def main():
    """Draw the workbook solved, and its first sheet as it was before."""
    draw(write, {name: f"sheet_{name}" for name in SHOWN})
    draw(write, {"factors": "sheet_factors"}, dpi=160)  # the widest: to be looked into
    draw(write_start, {"dotprod": "sheet_dotprod_start"})


if __name__ == "__main__":
    main()
