"""The sheets `dotprod` and `bias`: the crosstab, the embeddings, the predictions, the loss."""

from __future__ import annotations

from typing import Any

from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Font
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

from shallow_cf.parameters import Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.workbook.layout import MAX_EXACT, Block, Layout, column_letters
from shallow_cf.workbook.solver_model import limit_note

#: Characters a cell can hold; openpyxl would cut off the rest without a word.
_MAX_TEXT = 32_767


def draw(sheet: Worksheet, layout: Layout, ratings: Ratings, parameters: Parameters) -> None:
    """Fill an empty sheet."""
    _fill(sheet, layout.ratings, "rating")
    for u, i, r in zip(ratings.user_idx, ratings.item_idx, ratings.rating, strict=True):
        sheet[layout.ratings.cell(u, i)].value = float(r)
    _fill(sheet, layout.item_factors, "item embedding")
    _fill(sheet, layout.user_factors, "user embedding")
    if layout.bias_blocks is not None:
        users, items = layout.bias_blocks
        _fill(sheet, users, "user embedding")
        _fill(sheet, items, "item embedding")
    for address, value in layout.parameter_cells(parameters).items():
        sheet[address].value = value
    _fill(sheet, layout.predictions, "prediction")
    for u, addresses in enumerate(layout.predictions.addresses()):
        for i, address in enumerate(addresses):
            sheet[address].value = layout.prediction_formula(u, i)
    _labels(sheet, layout, ratings)
    _notes(sheet, layout, parameters)
    _view(sheet, layout)


def _fill(sheet: Worksheet, block: Block, style: str) -> None:
    for row in block.addresses():
        for address in row:
            sheet[address].style = style


def _label(sheet: Worksheet, row: int, column: int, value: Any) -> None:
    """Write a label: a whole number, or text that stays text whatever it looks like."""
    cell = sheet.cell(row, column)
    cell.style = "label"
    if isinstance(value, int):
        if abs(value) > MAX_EXACT:
            raise ValueError(
                f"id {value} has more digits than a cell can hold: use ids of text instead"
            )
        cell.value = value
        return
    if len(value) > _MAX_TEXT:
        raise ValueError(f"an id of {len(value)} characters cannot stand in a cell")
    if not value or ILLEGAL_CHARACTERS_RE.search(value) or "\r" in value:
        raise ValueError(f"id {value!r} cannot stand in a cell")
    cell.value = value
    cell.data_type = "s"  # openpyxl takes "=1+1" for a formula and "#N/A" for an error


def _labels(sheet: Worksheet, layout: Layout, ratings: Ratings) -> None:
    """The ids around the ratings and once more around the predictions, and the factors' numbers."""
    for block, ids in ((layout.user_ids, ratings.user_ids), (layout.item_ids, ratings.item_ids)):
        below = layout.predictions.row - layout.ratings.row
        for k, value in enumerate(ids.tolist()):
            row = block.row + (k if block is layout.user_ids else 0)
            column = block.column + (k if block is layout.item_ids else 0)
            _label(sheet, row, column, value)
            _label(sheet, row + below, column, value)
    label_column = layout.user_ids.column
    _label(sheet, 1, label_column, "movieId")
    _label(sheet, 2, label_column - 1, "userId")
    header = layout.predictions.row - 1
    for k in range(layout.n_factors):
        _label(sheet, header, layout.user_factors.column + k, f"factor {k + 1}")
        _label(sheet, layout.item_factors.row + k, label_column, f"factor {k + 1}")
    if layout.bias_blocks is not None:
        users, items = layout.bias_blocks
        _label(sheet, header, users.column, "bias")
        _label(sheet, items.row, label_column, "bias")


def _notes(sheet: Worksheet, layout: Layout, parameters: Parameters) -> None:
    """The loss with its name, what the colours mean, what to do."""
    loss = layout.loss
    if loss is None:
        raise ValueError("the sheet needs a loss cell")
    _label(sheet, loss.row, loss.column - 1, "RMSE")
    sheet[loss.cell()].style = "loss"
    sheet[loss.cell()].value = layout.loss_formula()
    row = loss.row + 2
    biases = " + both biases" if layout.has_bias else ""
    for style, text in (
        ("rating", "blue: ratings, in stars; a blank cell was not rated and does not count"),
        ("item embedding", "green: movie embeddings, a column for each movie"),
        ("user embedding", "orange: user embeddings, a row for each user"),
        ("prediction", f"purple: predictions = user . movie embedding{biases}; 0 where not rated"),
        ("loss", "red: the loss, root mean squared error over the rated cells"),
    ):
        sheet.cell(row, 2).style = style
        sheet.cell(row, 3, text)
        row += 1
    row += 1
    for text in (
        "Green and orange start as random numbers; training turns them until red is small.",
        "In Excel: Data > Solver opens filled in (Min, GRG Nonlinear); press Solve.",
        "Without Excel: shallow-cf solve BOOK.xlsx -o SOLVED.xlsx",
    ):
        sheet.cell(row, 2, text)
        row += 1
    note = limit_note(parameters.n_params)
    if note is not None:
        sheet.cell(row, 2, note).font = Font(bold=True, color="8B0000")


def _view(sheet: Worksheet, layout: Layout) -> None:
    label_column = layout.user_ids.column
    for column in range(1, label_column):
        sheet.column_dimensions[column_letters(column)].width = 8.5
    sheet.column_dimensions[column_letters(label_column)].width = 11
    for column in range(layout.ratings.column, layout.ratings.last_column + 1):
        sheet.column_dimensions[column_letters(column)].width = 7.5
    sheet.column_dimensions[column_letters(layout.ratings.last_column)].width = 10  # for the loss
    sheet.freeze_panes = layout.ratings.cell()
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToHeight = 0
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
