"""The spreadsheet: written with live formulas, read back by its formulas."""

from shallow_cf.workbook.check import SheetCheck, check_workbook
from shallow_cf.workbook.package import WorkbookError
from shallow_cf.workbook.reader import WorkbookModel, read_workbook
from shallow_cf.workbook.solver_options import solver_options
from shallow_cf.workbook.update import NewUserSolution, solve_new_user, update_workbook
from shallow_cf.workbook.writer import write_workbook

__all__ = [
    "NewUserSolution",
    "SheetCheck",
    "WorkbookError",
    "WorkbookModel",
    "check_workbook",
    "read_workbook",
    "solve_new_user",
    "solver_options",
    "update_workbook",
    "write_workbook",
]
