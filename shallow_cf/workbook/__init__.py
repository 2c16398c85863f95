"""The spreadsheet: written with live formulas, read back by its formulas."""

from shallow_cf.workbook.check import SheetCheck, check_workbook
from shallow_cf.workbook.package import WorkbookError
from shallow_cf.workbook.reader import WorkbookModel, read_workbook
from shallow_cf.workbook.solver_options import solver_options
from shallow_cf.workbook.update import update_workbook
from shallow_cf.workbook.writer import write_workbook

__all__ = [
    "SheetCheck",
    "WorkbookError",
    "WorkbookModel",
    "check_workbook",
    "read_workbook",
    "solver_options",
    "update_workbook",
    "write_workbook",
]
