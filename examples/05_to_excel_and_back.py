"""To Excel and back: SGD against Solver, the workbook, and what comes back from it.

Run with a path to keep the workbook: python examples/03_to_excel_and_back.py book.xlsx
"""

import sys
import tempfile
from pathlib import Path

import shallow_cf as scf

ratings = scf.load_crosstab()

print(f"{'':12}{'RMSE':>10}{'steps':>8}")
for solver in ("sgd", "grg"):
    model = scf.MatrixFactorization(bias=True, solver=solver, random_state=1).fit(ratings)
    print(f"{solver:12}{model.rmse(ratings):10.6f}{model.result_.iterations:8}")

with tempfile.TemporaryDirectory() as folder:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else f"{folder}/book.xlsx")
    scf.write_workbook(path, ratings, model)
    book = scf.read_workbook(path)
    checks = scf.check_workbook(path)

print(f"\nsheet {book.sheet!r}: {book.ratings}, {book.parameters}")
print(f"ratings come back bit for bit:    {book.ratings.equals(ratings)}")
print(f"embeddings come back bit for bit: {book.parameters.equals(model.parameters_)}")
n_cells, worst = sum(c.cells for c in checks), max(c.max_difference for c in checks)
print(f"{n_cells} results on {len(checks)} sheets, largest difference from NumPy {worst:.1e}")

again = scf.MatrixFactorization.from_parameters(book.ratings, book.parameters)
print(f"user 294, movie 296: {float(again.predict(294, 296)):.2f} stars")
