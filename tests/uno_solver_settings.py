"""What LibreOffice found of Excel's Solver model; the helper of test_solver_settings.py.

Runs under a Python that has LibreOffice's ``uno``, which seldom has NumPy. Reads from standard
input ``{"pipe": name LibreOffice listens on, "workbooks": [path, ...]}`` and prints

    {path: {sheet: {"objective": "V41", "type": 1, "variables": ["H19:V23", ...],
                    "constraints": 0}}}
"""

import json
import sys
from pathlib import Path


def place(block):
    """The cells as ``H19:V23``, one cell as ``V41``."""
    return block.AbsoluteName.partition(".")[2].replace("$", "")


def objective(sheet, found):
    """The objective's address; LibreOffice gives text where it is no cell of the workbook."""
    if isinstance(found, str):
        return found
    return place(sheet.getCellRangeByPosition(*2 * (found.Column, found.Row)))


def settings(sheet):
    """The Solver model of one sheet."""
    found = sheet.SolverSettings
    blocks = (
        sheet.getCellRangeByPosition(b.StartColumn, b.StartRow, b.EndColumn, b.EndRow)
        for b in found.VariableCells
    )
    return {
        "objective": objective(sheet, found.ObjectiveCell),
        "type": found.ObjectiveType,
        "variables": [place(block) for block in blocks],
        "constraints": found.ConstraintCount,
    }


def main():
    """Open every workbook, and print what each of its sheets holds."""
    # Imported here, for pytest imports this file in its search for doctests, without `uno`.
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    from engine_uno import connect, open_workbook

    task = json.load(sys.stdin)
    context = connect(task["pipe"])
    answer = {}
    for path in task["workbooks"]:
        document = open_workbook(context, path)
        try:
            answer[path] = {sheet.Name: settings(sheet) for sheet in document.Sheets}
        finally:
            document.close(True)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
