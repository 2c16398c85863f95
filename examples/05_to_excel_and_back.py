"""
To Excel and back
=================

A model of the crosstab becomes a live workbook: ratings in blue, the embeddings in green and
orange, predictions and loss as formulas, and Solver's dialog filled in. Change a cell and the red
one moves. What Excel, LibreOffice or Gnumeric saves is read back, to the last bit.

**Look at** the last lines: nothing was lost on the way.

**Then try** to keep the workbook and open it::

    python examples/05_to_excel_and_back.py book.xlsx
"""

import sys
import tempfile
from pathlib import Path

import shallow_cf as scf

# %%
# A solved model
# --------------

ratings = scf.load_crosstab()
model = scf.MatrixFactorization(bias=True, solver="grg", random_state=1).fit(ratings)
print(f"Solved: RMSE {model.rmse(ratings):.6f} after {model.result_.iterations} iterations")
print(f"  {model.result_.message}")

# %%
# There and back
# --------------
# ``write_workbook`` refuses to replace a file unless told to. ``check_workbook`` recomputes every
# prediction, the loss and the sheets that explain them in NumPy, and compares them with the
# values stored in the file, whichever program computed these.

with tempfile.TemporaryDirectory() as folder:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else f"{folder}/book.xlsx")
    scf.write_workbook(path, ratings, model)
    print(f"\n{path.name}: {path.stat().st_size // 1024} kB")
    book = scf.read_workbook(path)
    checks = scf.check_workbook(path)

print(f"sheet {book.sheet!r}: {book.ratings}, {book.parameters}")
print(f"ratings come back bit for bit:    {book.ratings.equals(ratings)}")
print(f"embeddings come back bit for bit: {book.parameters.equals(model.parameters_)}")
n_cells, worst = sum(c.cells for c in checks), max(c.max_difference for c in checks)
print(f"{n_cells} results on {len(checks)} sheets, largest difference from NumPy {worst:.1e}")

# %%
# A model again
# -------------
# What was read is ratings and numbers, so it makes a model that predicts and recommends.

again = scf.MatrixFactorization.from_parameters(book.ratings, book.parameters)
print(f"user 294, movie 296: {float(again.predict(294, 296)):.2f} stars")
titles = scf.load_crosstab_titles()
print(again.recommend(294, 3, titles=titles).round(2).to_string(index=False))

# %%
# The picture
# -----------
# The purple cells of the sheet: predictions in all cells, those of the 19 blanks in frames.

try:
    from matplotlib import pyplot
except ImportError:
    print('The picture needs matplotlib: pip install "shallow_cf[plot]"')
else:
    from shallow_cf import plots

    ax = plots.plot_crosstab(book.ratings, again, show="predictions")
    ax.set_title("What the workbook predicts")
    if "__file__" in globals():  # run as a script; a notebook shows the picture by itself
        pyplot.savefig("05_to_excel_and_back.png")
        print("Picture: 05_to_excel_and_back.png")
