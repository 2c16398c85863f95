"""Solve one exported workbook in a running LibreOffice; the helper of engine_solvers.py.

It imports nothing but LibreOffice's own ``uno``, because the Python that has ``uno`` seldom
has NumPy. Reads a task as JSON from standard input and prints the outcome as JSON:

    {"pipe": name LibreOffice listens on, "workbook": path, "objective": "dotprod!$V$41",
     "variables": "dotprod!$H$19:$V$23,...", "service": the solver's name,
     "settings": {property: value}, "bounds": [low, high] or null}

LibreOffice from 25.2 on takes Excel's Solver model in: objective and variables are then those
it found, and not those of the task.
"""

import json
import sys
import time
from pathlib import Path

import uno
from com.sun.star.beans import PropertyValue
from com.sun.star.connection import NoConnectException
from com.sun.star.sheet import SolverConstraint
from com.sun.star.sheet.SolverConstraintOperator import GREATER_EQUAL, LESS_EQUAL


def connect(pipe, patience=60):
    """The component context of the LibreOffice that listens on `pipe`, once it is up."""
    local = uno.getComponentContext()
    resolver = local.ServiceManager.createInstanceWithContext(
        "com.sun.star.bridge.UnoUrlResolver", local
    )
    give_up = time.monotonic() + patience
    while True:
        try:
            return resolver.resolve(f"uno:pipe,name={pipe};urp;StarOffice.ComponentContext")
        except NoConnectException:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.2)


def open_workbook(context, path):
    """The workbook, loaded without a window; read-only, so that it is neither locked nor
    refused because a run before this one left its lock behind."""
    desktop = context.ServiceManager.createInstanceWithContext(
        "com.sun.star.frame.Desktop", context
    )
    how = tuple(PropertyValue(Name=name, Value=True) for name in ("Hidden", "ReadOnly"))
    document = desktop.loadComponentFromURL(Path(path).resolve().as_uri(), "_blank", 0, how)
    if document is None:
        raise SystemExit(f"LibreOffice does not open {path}")
    return document


def block_cells(block):
    """The address of every cell of a block, row by row."""
    rows, columns = len(block.Rows), len(block.Columns)
    for row in range(rows):
        for column in range(columns):
            yield block.getCellByPosition(column, row).CellAddress


def told_model(sheet, task):
    """Objective and variables from ``dotprod!$V$41`` and ``dotprod!$H$19:$V$23,...``."""
    places = [task["objective"], *task["variables"].split(",")]
    blocks = (sheet.getCellRangeByName(place.split("!")[-1]) for place in places)
    objective, *variables = (cell for block in blocks for cell in block_cells(block))
    return objective, tuple(variables)


def box(variables, bounds):
    """Two constraints a variable: at least the lower bound, at most the upper one."""
    return tuple(
        SolverConstraint(Left=cell, Operator=operator, Right=bound)
        for cell in variables
        for operator, bound in zip((GREATER_EQUAL, LESS_EQUAL), bounds, strict=True)
    )


def whole_as_long(value):
    """A whole number must be told to be a ``long``, or goes as a byte."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return uno.Any("long", value) if whole else value


def stored_model(sheet):
    """Objective and variables as LibreOffice itself took them from the workbook.

    Its SolverSettings could solve them, too; but that opens a window even when told not to,
    and ended LibreOffice 25.2.3 with a crash after some minutes.
    """
    found = sheet.SolverSettings
    blocks = (
        sheet.getCellRangeByPosition(b.StartColumn, b.StartRow, b.EndColumn, b.EndRow)
        for b in found.VariableCells
    )
    return found.ObjectiveCell, tuple(cell for block in blocks for cell in block_cells(block))


def solve(context, document, task):
    """Set the model up as the task says, run the engine, and say what it found."""
    sheet = document.Sheets.getByName(task["objective"].split("!")[0])
    stored = hasattr(sheet, "SolverSettings")
    objective, variables = stored_model(sheet) if stored else told_model(sheet, task)
    solver = context.ServiceManager.createInstanceWithContext(task["service"], context)
    if solver is None:
        needs = "Debian: libreoffice-nlpsolver, and a Java runtime"
        raise SystemExit(f"LibreOffice has no service {task['service']} ({needs})")
    solver.Document = document
    solver.Objective = objective
    solver.Variables = variables
    solver.Constraints = box(variables, task["bounds"]) if task["bounds"] else ()
    solver.Maximize = False
    for name, value in task["settings"].items():
        uno.invoke(solver, "setPropertyValue", (name, whole_as_long(value)))
    start = time.perf_counter()
    solver.solve()
    return {
        "seconds": time.perf_counter() - start,
        "success": solver.Success,
        "solution": list(solver.Solution),
    }


def main():
    """Run the task of standard input."""
    task = json.load(sys.stdin)
    context = connect(task["pipe"])
    document = open_workbook(context, task["workbook"])
    try:
        json.dump(solve(context, document, task), sys.stdout)
    finally:
        document.close(True)


if __name__ == "__main__":
    main()
