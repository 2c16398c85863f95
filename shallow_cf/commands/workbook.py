"""The commands about the spreadsheet: each returns what it found."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from shallow_cf import objective
from shallow_cf._files import whole_file
from shallow_cf.commands.shared import (
    CHECK_FAILED,
    DONE,
    INTERRUPTED,
    LINE_WIDTH,
    Args,
    Outcome,
    check_output,
    finite,
    is_interrupted,
    progress,
    read,
    records,
    size_words,
    sizes,
    table_lines,
    titles_for,
)
from shallow_cf.datasets import load_crosstab, load_crosstab_titles
from shallow_cf.estimator import MatrixFactorization
from shallow_cf.parameters import Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.reports import Report, answer_report, limits_report, sensitivity_report
from shallow_cf.screenshot import screenshot
from shallow_cf.solvers import SOLVERS, grg
from shallow_cf.solvers.options import SolverOptions
from shallow_cf.solvers.result import WITHOUT_SOLUTION, SolverResult
from shallow_cf.workbook import (
    WorkbookModel,
    check_workbook,
    read_workbook,
    solve_new_user,
    solver_options,
    update_workbook,
    write_workbook,
)
from shallow_cf.workbook.check import TOLERANCE, check_model
from shallow_cf.workbook.layout import published_layout
from shallow_cf.workbook.sheets import TEACHING_SHEETS, new_user
from shallow_cf.workbook.solver_model import limit_note
from shallow_cf.workbook.update import has_new_user

#: The lesson's table.
LESSON_SIZE = 15
DEMO_WORKBOOK = "collab_filter.xlsx"
#: The lesson's question: user and movie under their MovieLens ids.
_LESSON_QUESTION = (294, 296)
#: Items that a new user is shown predictions for, at most.
_MOST_SHOWN = 20
#: What the demo compares: title, solver, settings.
_DEMO_RUNS = {
    "sgd": (SOLVERS["sgd"].words, "sgd", None),
    "grg": (f"Solver ({SOLVERS['grg'].words})", "grg", None),
    "multistart": ("Solver, multistart", "grg", SolverOptions(multistart=True)),
    "varpro": (SOLVERS["varpro"].words, "varpro", None),
}
#: The arguments of `solve` that are settings of a solver.
_SOLVER_ARGUMENTS = (
    "to", "value", "non_negative", "convergence", "precision", "derivatives", "search",
    "use_automatic_scaling", "max_time", "iterations", "multistart", "population_size",
    "require_bounds",
)  # fmt: skip


def run_demo(args: Args) -> Outcome:
    """The lesson at once: train four ways, write the workbook."""
    path = Path(DEMO_WORKBOOK if args.output is None else args.output)
    if args.output is None and not args.force:
        path = _free_path(path)
    check_output(path, args.force, ".xlsx")
    ratings, titles = load_crosstab(), load_crosstab_titles()
    models = {}
    for name, (_, solver, settings) in _DEMO_RUNS.items():
        with progress(args, name) as callback:
            model = MatrixFactorization(
                solver=solver, solver_options=settings, random_state=args.seed
            )
            models[name] = model.fit(ratings, callback=callback)
        if is_interrupted(model.result_):
            raise KeyboardInterrupt  # a comparison of half the runs compares nothing
    solved = models["grg"].result_
    write_workbook(
        path,
        ratings,
        models["grg"],
        overwrite=args.force,
        titles=titles,
        runs={name: model.result_.trace for name, model in models.items()},
        reports=[answer_report(ratings, solved, SolverOptions(), sheet="dotprod")],
    )
    book = read_workbook(path)
    check = check_model(book)
    written = book.parameters.pack() - solved.parameters.pack()
    difference = max(check.max_difference, float(np.abs(written).max()))
    cells = check.cells + written.size
    compared = {name: models[name] for name in ("sgd", "grg")}
    predictions = _blank_predictions(ratings, titles, compared)
    data = {
        "users": ratings.n_users,
        "items": ratings.n_items,
        "ratings": ratings.n_ratings,
        "seed": args.seed,
        "start_rmse": solved.rmse_before,
        **{name: _demo_data(model.result_) for name, model in models.items()},
        "predictions": predictions,
        "output": str(path),
        "cells": cells,
        "max_difference": difference,
    }
    user, item = _LESSON_QUESTION
    lines = [
        f"{size_words(ratings)}, "
        f"{ratings.n_users * ratings.n_items - ratings.n_ratings} blanks (MovieLens).",
        f"Five numbers per user and per item, uniform(0, 1), seed {args.seed}: "
        f"RMSE {solved.rmse_before:.4f} stars.",
        "",
        f"{'method':<24}{'steps':>16}{'seconds':>9}{'RMSE':>10}",
        *(_demo_line(_DEMO_RUNS[name][0], model.result_) for name, model in models.items()),
        f"Solver says: {solved.message}",
        "",
        "Predictions for blank cells, stars:",
        f"{'user':>8}{'item':>8}{'SGD':>8}{'Solver':>8}  title",
        *(
            f"{row['user_id']:>8}{row['item_id']:>8}{row['sgd']:>8.2f}{row['grg']:>8.2f}"
            f"  {row['title']}"
            for row in predictions
        ),
        f"(User {user} and item {item} are the lesson's question: "
        f"its workbook calls them 293 and 49.)",
        "",
        f"Wrote {path} and read it back: {cells} embeddings and results,",
        f"largest difference between the workbook's numbers and NumPy's {difference:.1e}.",
    ]
    return Outcome(data, "\n".join(lines), DONE if difference <= TOLERANCE else CHECK_FAILED)


def run_crosstab(args: Args) -> Outcome:
    """The users and items with the most ratings, as a table."""
    if args.output is not None:
        check_output(Path(args.output), args.force, source=args.ratings)
    ratings = _table(args)
    table = ratings.to_crosstab()
    text = table.to_csv(index_label="userId", float_format=_as_typed, lineterminator="\n")
    summary = size_words(ratings)
    if args.output is None:
        shown = text.rstrip()
    else:
        with whole_file(args.output, overwrite=args.force) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
        shown = f"{args.output}: {summary}"
    data = {**sizes(ratings), "output": args.output}
    if args.output is None:
        data["user_ids"] = ratings.user_ids.tolist()
        data["item_ids"] = ratings.item_ids.tolist()
        data["table"] = [
            [None if np.isnan(r) else r for r in row] for row in table.to_numpy().tolist()
        ]
    return Outcome(data, shown)


def run_export(args: Args) -> Outcome:
    """Ratings and embeddings as a live workbook."""
    check_output(Path(args.output), args.force, ".xlsx", source=args.ratings)
    ratings = _table(args)
    with_bias = args.bias or "bias" in (args.sheets or ())
    published_layout(ratings.n_users, ratings.n_items, args.factors, bias=with_bias)  # or no room
    sheets: dict[str, Parameters] = {}
    results: dict[str, SolverResult] = {}
    names = titles_for(args.titles, beside=args.ratings)
    if names is None and args.ratings is None:
        names = load_crosstab_titles()
    for bias in (False, True) if with_bias else (False,):
        sheet = "bias" if bias else "dotprod"
        sheets[sheet] = Parameters.random(
            ratings.n_users, ratings.n_items, args.factors, bias=bias, random_state=args.seed
        )
        if args.solve and not any(map(is_interrupted, results.values())):
            with progress(args, sheet) as callback:
                results[sheet] = grg.solve(ratings, sheets[sheet], callback=callback)
            sheets[sheet] = results[sheet].parameters
    write_workbook(
        args.output,
        ratings,
        *sheets.values(),
        overwrite=args.force,
        sheets=_explaining_sheets(args),
        titles=names,
        runs={f"{sheet}: Solver": result.trace for sheet, result in results.items()},
        reports=[
            answer_report(ratings, it, SolverOptions(), sheet=sheet)
            for sheet, it in results.items()
        ],
    )
    rmse = {name: objective.rmse(ratings, parameters) for name, parameters in sheets.items()}
    shown = list(sheets)[-1]
    data = {
        **sizes(ratings),
        "factors": args.factors,
        "bias": with_bias,
        "solved": len(results) == len(sheets),
        "rmse": rmse[shown],
        "sheets": rmse,
        "output": args.output,
    }
    lines = [
        *(f"{sheet}: {result.message}" for sheet, result in results.items()),
        f"{args.output}: {size_words(ratings)}, {args.factors} factors; RMSE "
        + ", ".join(f"{value:.6f} on sheet {name}" for name, value in rmse.items()),
        *_limit_notes(sheets),
    ]
    is_cut_short = any(map(is_interrupted, results.values()))
    return Outcome(data, "\n".join(lines), INTERRUPTED if is_cut_short else DONE)


def run_solve(args: Args) -> Outcome:
    """What pressing Solve does, without Excel.

    Objective, constraints and options are those of the Solver dialog stored in the workbook;
    the ones given here come first. Without a solution nothing is written and the exit status
    is 1. Ctrl-C keeps what was reached: it is written, and the exit status is 130. On the
    sheet new_user only that user's numbers are found, exactly.
    """
    source = Path(args.workbook)
    output = source if args.in_place else Path(args.output)
    if args.in_place:
        check_output(output, force=True)
    else:
        # A copy of a workbook with macros is one with macros; Excel goes by the name.
        suffix = ".xlsm" if source.suffix.lower() == ".xlsm" else ".xlsx"
        check_output(
            output, args.force, suffix, source=args.workbook, hint="; pass --in-place to do so"
        )
    if args.sheet == new_user.NAME and has_new_user(source):
        return _solve_new_user(args, output)
    book = _book(args)
    options = _solver_settings(args, book)
    with progress(args, "Solver") as callback:
        result: SolverResult = SOLVERS[args.method].solve(
            book.ratings, book.parameters, options, callback, args.seed
        )
    is_solved = result.code not in WITHOUT_SOLUTION
    status = INTERRUPTED if is_interrupted(result) else DONE if is_solved else CHECK_FAILED
    answer = answer_report(book.ratings, result, options, layout=book.layout, sheet=book.sheet)
    outdated: list[str] = []
    if is_solved:
        outdated = update_workbook(
            book,
            result.parameters,
            output,
            overwrite=args.in_place or args.force,
            reports=[answer],
        )
    reports = [answer, *_further_reports(book, result, options)] if args.report else []
    data = {
        "sheet": book.sheet,
        "method": args.method,
        "code": result.code,
        "message": result.message,
        "rmse_before": result.rmse_before,
        "rmse_after": result.rmse_after,
        "iterations": result.iterations,
        "function_evaluations": result.n_function,
        "gradient_evaluations": result.n_gradient,
        "seconds": result.seconds,
        "output": str(output) if is_solved else None,
    }
    if args.report:
        data["reports"] = {
            report.title: {name: records(table) for name, table in report.tables.items()}
            for report in reports
        }
    steps = _plural(next(iter(result.trace[0])))
    lines = [
        result.message,
        *_engine_note(book, args.method),
        *_objective_note(book),
        *_reading_notes(book),
        *_outdated_notes(outdated),
    ]
    if is_solved:
        lines.append(
            f"{output}, sheet {book.sheet}: RMSE {result.rmse_before:.6f} -> "
            f"{result.rmse_after:.6f} in {result.iterations} {steps}, {result.seconds:.2f} s"
        )
    else:
        lines.append(f"{output} was not written.")
    text = "\n\n".join(["\n".join(lines), *map(str, reports)])
    return Outcome(data, text, status)


def run_import(args: Args) -> Outcome:
    """What a workbook holds; with -o as a model for Python."""
    if args.output is not None:
        check_output(Path(args.output), args.force, ".npz", source=args.workbook)
    book = _book(args)
    rmse = objective.rmse(book.ratings, book.parameters)
    if args.output is not None:
        MatrixFactorization.from_parameters(book.ratings, book.parameters).save(args.output)
    parameters = book.parameters
    data = {
        "sheet": book.sheet,
        **sizes(book.ratings),
        "factors": parameters.n_factors,
        "bias": parameters.has_bias,
        "stored_objective": book.objective,
        "rmse": rmse,
        "output": args.output,
    }
    stored = "none stored" if book.objective is None else f"{book.objective:.16g}"
    lines = [
        f"sheet              {book.sheet}",
        f"users x items      {parameters.n_users} x {parameters.n_items}",
        f"ratings            {book.ratings.n_ratings}",
        f"factors            {parameters.n_factors}",
        f"bias               {'yes' if parameters.has_bias else 'no'}",
        f"stored objective   {stored}",
        f"recomputed RMSE    {rmse:.16g}",
    ]
    if args.output is not None:
        lines.append(f"model              {args.output}")
    lines += _reading_notes(book)
    if args.verbose:
        data |= {"found": [it._asdict() for it in book.how], "notes": list(book.notes)}
        lines += ["", "found:", *(f"{what:<18} {where:<10} {why}" for what, where, why in book.how)]
    return Outcome(data, "\n".join(lines))


def run_check(args: Args) -> Outcome:
    """Whether a workbook's results are what its formulas give."""
    checks = check_workbook(
        args.workbook, args.sheet, ratings=args.ratings_at, factors=args.factors_at
    )
    ok = all(check.ok for check in checks)
    data = {
        "cells": sum(check.cells for check in checks),
        "max_difference": finite(max(check.max_difference for check in checks)),
        "ok": ok,
        "sheets": {
            check.sheet: {
                "cells": check.cells,
                "max_difference": finite(check.max_difference),
                "worst_cell": check.worst_cell,
                "loss_checked": check.loss_checked,
                "ok": check.ok,
            }
            for check in checks
        },
    }
    lines = [
        f"{check.sheet}: {check.cells} cells, largest difference {check.max_difference:.1e} "
        f"at {check.worst_cell}: {'ok' if check.ok else 'DIFFERS'}"
        + ("" if check.loss_checked else " (objective cell not understood, not compared)")
        if check.cells
        else f"{check.sheet}: its formulas were changed, not compared"
        for check in checks
    ]
    return Outcome(data, "\n".join(lines), DONE if ok else CHECK_FAILED)


def run_screenshot(args: Args) -> Outcome:
    """Pictures of the sheets; LibreOffice and Poppler draw them."""
    try:
        pictures = screenshot(args.workbook, args.output, dpi=args.dpi, overwrite=args.force)
    except FileExistsError as error:
        raise FileExistsError(f"{error}; pass --force to replace it") from None
    data = {"pictures": [{**asdict(picture), "path": str(picture.path)} for picture in pictures]}
    lines = [f"{picture.path}: {picture.width} x {picture.height}" for picture in pictures]
    return Outcome(data, "\n".join(lines))


# --- pieces of commands -----------------------------------------------------------------


def _demo_data(result: SolverResult) -> dict[str, Any]:
    steps = _plural(next(iter(result.trace[0])))
    return {
        "rmse": result.rmse_after,
        "seconds": result.seconds,
        steps: result.iterations,
        "code": result.code,
        "message": result.message,
    }


def _solve_new_user(args: Args, output: Path) -> Outcome:
    """The numbers of the new user alone, by least squares on the sheet's own objective."""
    unused = [name for name in _SOLVER_ARGUMENTS if getattr(args, name) is not None]
    unused += [
        name for name in ("ratings_at", "factors_at", "seed") if getattr(args, name) is not None
    ]
    unused += ["method"] * (args.method != "grg") + ["report"] * args.report
    if unused:
        raise ValueError(
            f"`{unused[0]}` does not go with --sheet {new_user.NAME}, which is solved exactly"
        )
    found = solve_new_user(args.workbook, output, overwrite=args.in_place or args.force)
    data = asdict(found) | {"sheet": new_user.NAME, "model": found.sheet, "output": str(output)}
    data["predictions"] = [
        {**row, "prediction": finite(row["prediction"])} for row in records(found.predictions)
    ]
    numbers = ", ".join(f"{name} {value:.4f}" for name, value in found.numbers.items())
    lines = [
        f"{output}, sheet {new_user.NAME}: loss {found.loss_before:.6f} -> {found.loss_after:.6f} "
        f"over {found.n_ratings} ratings, penalty {found.reg:g}",
        f"The user's numbers, by least squares with those of sheet {found.sheet} as they are:",
        *textwrap.wrap(numbers, LINE_WIDTH),
    ]
    if len(found.predictions):
        best = found.predictions.head(_MOST_SHOWN)
        which = f"the {len(best)} best of " if len(best) < len(found.predictions) else ""
        lines += ["", f"Predictions for {which}{len(found.predictions)} items not rated, stars:"]
        lines += table_lines(best, {"prediction": ".2f"})
    return Outcome(data, "\n".join(lines))


def _plural(step: str) -> str:
    """What a solver's steps are called: epochs, iterations or searches."""
    return {"search": "searches"}.get(step, f"{step}s")


def _demo_line(title: str, result: SolverResult) -> str:
    steps = f"{result.iterations} {_plural(next(iter(result.trace[0])))}"
    return f"{title:<24}{steps:>16}{result.seconds:>9.2f}{result.rmse_after:>10.6f}"


def _solver_settings(args: Args, book: WorkbookModel) -> Any:
    """The settings of a run: the command line's, else the workbook's, else the defaults."""
    given = {name: getattr(args, name) for name in _SOLVER_ARGUMENTS}
    given = {name: value for name, value in given.items() if value is not None}
    if "value" in given:
        given["to"] = "value_of"
    kind = SOLVERS[args.method].options
    known = {field.name for field in fields(kind)}
    for name in given:
        if name not in known:
            raise ValueError(f"`{name}` does not go with --method {args.method}")
    stored = solver_options(book)
    if kind is SolverOptions:
        if args.seed is not None:
            given["random_seed"] = 0  # the seed on the command line counts, not the stored one
        return replace(stored, **given)
    if stored.to != "min" or stored.constraints or stored.non_negative:
        raise ValueError(
            f"sheet {book.sheet}: Solver's model has constraints, or another aim than the "
            f"minimum, which --method {args.method} does not know: use --method grg"
        )
    return kind(**given)


def _book(args: Args) -> WorkbookModel:
    """The model of a workbook that a command asks for."""
    return read_workbook(
        args.workbook, args.sheet, ratings=args.ratings_at, factors=args.factors_at
    )


def _reading_notes(book: WorkbookModel) -> list[str]:
    """What to say of how a workbook was read."""
    return [f"NB: {note.replace('`ratings`', '--ratings-at')}." for note in book.notes]


def _engine_note(book: WorkbookModel, method: str) -> list[str]:
    """What to say where the workbook asks for an engine that is not mirrored."""
    engine = {"2": "Simplex LP", "3": "Evolutionary"}.get(book.solver_names.get("solver_eng", ""))
    if engine is None or method != "grg":
        return []
    return [f"NB: the workbook's Solver is set to {engine}; this was {SOLVERS[method].words}."]


def _objective_note(book: WorkbookModel) -> list[str]:
    """What to say where the objective cell computes something unknown."""
    if book.layout.loss is None or book.objective_formula is not None:
        return []
    return ["NB: what the objective cell computes is not understood; this was the RMSE."]


def _limit_notes(sheets: dict[str, Parameters]) -> list[str]:
    """What to say of sheets that Excel's own Solver refuses."""
    notes = {sheet: limit_note(parameters.n_params) for sheet, parameters in sheets.items()}
    texts = [note.replace("this model", f"sheet {name}") for name, note in notes.items() if note]
    return [line for text in texts for line in textwrap.wrap(text, LINE_WIDTH)]


def _outdated_notes(sheets: list[str]) -> list[str]:
    """What to say of sheets of ours whose formulas are not ours any more."""
    if not sheets:
        return []
    return [
        f"NB: {', '.join(sheets)}: changed by hand or by another program; what is stored there is "
        "old until a spreadsheet program computes it anew."
    ]


def _further_reports(book: WorkbookModel, result: SolverResult, options: Any) -> list[Report]:
    """Solver's reports besides the first."""
    makers = (sensitivity_report, limits_report)
    return [
        make(book.ratings, result, options, layout=book.layout, sheet=book.sheet) for make in makers
    ]


def _explaining_sheets(args: Args) -> list[str] | None:
    """The sheets asked for besides those of the models; None for the usual ones."""
    if args.sheets is None:
        return None
    for sheet in ("history", "answer_report"):
        if sheet in args.sheets and not args.solve:
            raise ValueError(f"`sheets`: {sheet} shows a run, so it needs --solve")
    return [sheet for sheet in args.sheets if sheet in TEACHING_SHEETS]


def _table(args: Args) -> Ratings:
    """The ratings for a spreadsheet: a file's or the embedded ones, cut to size."""
    ratings = load_crosstab() if args.ratings is None else read(args)
    n_users = min(LESSON_SIZE, ratings.n_users) if args.users is None else args.users
    n_items = min(LESSON_SIZE, ratings.n_items) if args.items is None else args.items
    return ratings.top(n_users, n_items)


def _blank_predictions(
    ratings: Ratings, titles: dict[int, str], models: dict[str, MatrixFactorization]
) -> list[dict[str, Any]]:
    """Predictions for the lesson's question and a few more blank cells."""
    blank = ratings.to_crosstab().isna().to_numpy()
    pairs = [(ratings.user_ids[u], ratings.item_ids[i]) for u, i in np.argwhere(blank)]
    pairs = [_LESSON_QUESTION, *(pair for pair in pairs[::5] if pair != _LESSON_QUESTION)]
    return [
        {
            "user_id": int(user),
            "item_id": int(item),
            "title": titles[int(item)],
            **{name: float(model.predict(user, item)) for name, model in models.items()},
        }
        for user, item in pairs
    ]


def _as_typed(rating: Any) -> str:
    """A rating with all its digits, a whole one without a point."""
    return repr(float(rating)).removesuffix(".0")


def _free_path(path: Path) -> Path:
    """`path`, or with a number where a file stands: the demo never replaces your workbook."""
    free, number = path, 1
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free
