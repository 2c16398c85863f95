"""What the solvers of Gnumeric and LibreOffice make of the exported workbook.

Run: python benchmarks/engine_solvers.py --engine gnumeric deps sco --starts 3

From each start, uniform(0, 1) as the lesson's ``=RAND()``, the workbook is written, the
engine solves it without a window, and the RMSE is computed from the embeddings it ended at.
Engines, and what they need:

gnumeric   Gnumeric's Nlsolve, Rosenbrock's method; run by ``ssconvert --solve``
deps, sco  LibreOffice's extension nlpsolver, two evolutionary algorithms; needs Java
swarm      LibreOffice's own swarm solver, differential evolution. It ignores the start and
           draws its own points between the variables' bounds, given here as constraints.

A run takes minutes. Only Gnumeric's repeats itself: the others draw from an unseeded
generator. LibreOffice is steered over UNO, by a Python that has it (Debian: python3-uno).
"""

import argparse
import csv
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import openpyxl
from openpyxl.utils.cell import coordinate_to_tuple

import shallow_cf as scf
from shallow_cf.objective import rmse

HELPER = Path(__file__).with_name("engine_uno.py")
REACHED = {False: 0.39291, True: 0.31866}  # the best known optimum, rounded up
SWARM_BOUNDS = (-2.0, 4.0)  # without any, the swarm searches all of +-3.4e38
COLUMNS = ("seed", "engine", "bias", "rmse", "seconds", "iterations")


@dataclass(frozen=True)
class Calc:
    """One solver service of LibreOffice, with the settings that are not its defaults."""

    service: str
    settings: dict = field(default_factory=dict)
    steps: str | None = None
    bounds: tuple | None = None


# The status window would wait for a click.
WINDOWLESS = {"EnhancedSolverStatus": False}
CALC = {
    "deps": Calc("com.sun.star.comp.Calc.NLPSolver.DEPSSolverImpl", WINDOWLESS, "LearningCycles"),
    "sco": Calc("com.sun.star.comp.Calc.NLPSolver.SCOSolverImpl", WINDOWLESS, "LearningCycles"),
    # Algorithm 1, particle swarm, is left out: LibreOffice 7.4 returns a whole series of
    # points as its solution, and does not say which one it means.
    "swarm": Calc("com.sun.star.comp.Calc.SwarmSolver", {"Algorithm": 0}, bounds=SWARM_BOUNDS),
}
ENGINES = ("gnumeric", *CALC)


def program(name, package):
    """Where a program is; exit with what to install when it is missing."""
    return shutil.which(name) or sys.exit(f"no `{name}` on the PATH (Debian: {package})")


def run(command, **options):
    """Run a command, and show what it said when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{command[0]}: {done.stderr.strip()}")
    return done


# --- the model in the workbook -------------------------------------------------------------


def solver_sheet(book):
    """The first sheet with a Solver model."""
    return next(sheet for sheet in book.worksheets if "solver_opt" in sheet.defined_names)


def solver_model(sheet):
    """Objective and variables, as the Solver's hidden names hold them."""
    return tuple(sheet.defined_names[f"solver_{name}"].attr_text for name in ("opt", "adj"))


def variable_cells(sheet):
    """The variable cells, block by block, row by row."""
    blocks = solver_model(sheet)[1].replace("$", "").split(",")
    return [cell for block in blocks for row in sheet[block.split("!")[1]] for cell in row]


def rmse_at(workbook, values, ratings):
    """RMSE of the embeddings: written into the workbook and read back by the package."""
    book = openpyxl.load_workbook(workbook)
    for cell, value in zip(variable_cells(solver_sheet(book)), values, strict=True):
        cell.value = value
    solved = workbook.with_name("solved.xlsx")
    book.save(solved)
    return rmse(ratings, scf.read_workbook(solved).parameters)


# --- Gnumeric ------------------------------------------------------------------------------


def gather_variables(workbook):
    """Write the model's sheet alone, all variables in column X; return their number.

    Gnumeric's solver takes one rectangle of variable cells, not two: the embeddings' own
    cells become references to column X.
    """
    book = openpyxl.load_workbook(workbook)
    sheet = solver_sheet(book)
    for other in book.worksheets:
        if other is not sheet:
            book.remove(other)
    cells = variable_cells(sheet)
    for row, cell in enumerate(cells, start=1):
        sheet[f"X{row}"] = cell.value
        cell.value = f"=$X${row}"
    book.save(workbook.with_name("gathered.xlsx"))
    return len(cells)


def solver_element(objective, n_variables, steps):
    """Gnumeric's model: type 2 nonlinear, problem 0 minimise; else its own defaults."""
    row, column = coordinate_to_tuple(objective.split("!")[1].replace("$", ""))
    return (
        f'<gnm:Solver ModelType="2" ProblemType="0" Inputs="X1:X{n_variables}"'
        f' TargetCol="{column - 1}" TargetRow="{row - 1}" MaxTime="60" MaxIter="{steps}"'
        ' NonNeg="0" Discr="0" AutoScale="0" ProgramR="0" SensitivityR="0"/>'
    )


def prepare_gnumeric(workbook, steps):
    """Write a .gnumeric file that holds the model, which its xlsx import does not take in."""
    objective, _ = solver_model(solver_sheet(openpyxl.load_workbook(workbook)))
    element = solver_element(objective, gather_variables(workbook), steps)
    plain, model = workbook.with_name("plain.gnumeric"), workbook.with_name("model.gnumeric")
    run(["ssconvert", workbook.with_name("gathered.xlsx"), plain])
    xml, n_replaced = re.subn(
        r"<gnm:Solver [^>]*/>", element, gzip.decompress(plain.read_bytes()).decode()
    )
    if n_replaced != 1:
        sys.exit(f"{plain.name}: one Solver element expected, found {n_replaced}")
    model.write_text(xml)
    return model


def gathered_values(workbook):
    """The numbers of column X, from top to bottom."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Workbook contains no default style")  # Gnumeric's
        book = openpyxl.load_workbook(workbook, data_only=True)
    return [cell.value for cell in book.worksheets[0]["X"] if cell.value is not None]


def solve_gnumeric(workbook, steps):
    """Values of the variables, seconds and iterations of one run of Nlsolve."""
    model, solved = prepare_gnumeric(workbook, steps), workbook.with_name("after.xlsx")
    start = time.perf_counter()
    done = run(["ssconvert", "--solve", model, solved], env=os.environ | {"GNM_DEBUG": "solver"})
    seconds = time.perf_counter() - start
    iterations = re.findall(r"^Iteration (\d+) at", done.stderr, re.MULTILINE)
    if not iterations:  # ssconvert's exit status is 0 all the same
        sys.exit(f"Gnumeric did not solve: {done.stderr.strip()}")
    return gathered_values(solved), seconds, int(iterations[-1]) + 1


@contextmanager
def gnumeric(steps):
    """Gnumeric's solver as a function of the workbook."""
    program("ssconvert", "gnumeric")
    yield partial(solve_gnumeric, steps=steps or 1000)


# --- LibreOffice ---------------------------------------------------------------------------


def has_uno(python):
    """Whether this is a Python that can import UNO."""
    command = [python, "-c", "import uno"]
    return shutil.which(python) and not subprocess.run(command, capture_output=True).returncode


def python_with_uno():
    """A Python that has UNO: this one, one on the PATH, or the one beside LibreOffice."""
    beside = Path(program("soffice", "libreoffice-calc")).resolve().with_name("python")
    on_path = (Path(folder, "python3") for folder in os.get_exec_path())
    found = next(filter(has_uno, (sys.executable, *on_path, beside)), None)
    return found or sys.exit("no Python with UNO found (Debian: python3-uno)")


def solve_calc(workbook, python, pipe, engine, settings):
    """Values of the variables and seconds; these engines report no iterations."""
    objective, variables = solver_model(solver_sheet(openpyxl.load_workbook(workbook)))
    task = {"pipe": pipe, "workbook": str(workbook), "objective": objective}
    task |= {"variables": variables, "service": engine.service}
    task |= {"settings": settings, "bounds": engine.bounds}
    outcome = json.loads(run([python, HELPER], input=json.dumps(task)).stdout)
    return outcome["solution"], outcome["seconds"], None


def stop(started):
    """End a process group: by asking, and where that does not help by force."""
    try:
        os.killpg(started.pid, signal.SIGTERM)
        started.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()


@contextmanager
def office():
    """LibreOffice without a window, with a profile of its own; the pipe it listens on."""
    pipe = f"shallow_cf_{os.getpid()}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program("soffice", "libreoffice-calc"), "--headless", "--norestore", "--nologo"]
        command += [f"-env:UserInstallation={Path(profile).as_uri()}"]
        command += [f"--accept=pipe,name={pipe};urp;"]
        # soffice is a starter; its own process group lets us stop what it started too.
        started = subprocess.Popen(command, start_new_session=True)
        try:
            yield pipe
        finally:
            stop(started)


@contextmanager
def libreoffice(engine, steps):
    """A solver of LibreOffice as a function of the workbook; stops LibreOffice at the end."""
    settings = engine.settings | ({engine.steps: steps} if steps and engine.steps else {})
    with office() as pipe:
        python = python_with_uno()
        yield partial(solve_calc, python=python, pipe=pipe, engine=engine, settings=settings)


# --- the benchmark -------------------------------------------------------------------------


def measure(solve, ratings, seed, bias):
    """Solve from one start; RMSE, seconds and iterations."""
    n_factors = 5
    shape = (ratings.n_users, ratings.n_items, n_factors)
    start = scf.Parameters.random(*shape, bias=bias, random_state=seed)
    with tempfile.TemporaryDirectory() as folder:
        workbook = Path(folder, "start.xlsx")
        scf.write_workbook(workbook, ratings, start)
        values, seconds, iterations = solve(workbook)
        return rmse_at(workbook, values, ratings), seconds, iterations


def rows(name, biases, seeds, steps):
    """One row a start: seed, engine, bias, RMSE, seconds, iterations."""
    ratings = scf.load_crosstab()
    with gnumeric(steps) if name == "gnumeric" else libreoffice(CALC[name], steps) as solve:
        for bias in biases:
            for seed in seeds:
                row = (seed, name, bias, *measure(solve, ratings, seed, bias))
                print(*row, file=sys.stderr)
                yield row


def table(results):
    """The results as Markdown, one line for each engine and sheet."""
    yield "| engine | sheet | starts | 25% | median | 75% | best | reached | seconds | iterations |"
    yield "|---" * 10 + "|"
    for name, bias in dict.fromkeys(row[1:3] for row in results):
        errors, seconds, steps = zip(
            *(row[3:] for row in results if row[1:3] == (name, bias)), strict=True
        )
        quartiles = np.quantile(errors, (0.25, 0.5, 0.75))
        numbers = [f"{value:.5f}" for value in (*quartiles, min(errors))]
        share = np.mean(np.array(errors) <= REACHED[bias])
        iterations = "" if None in steps else f"{np.median(steps):.0f}"
        yield (
            f"| {name} | {'bias' if bias else 'dotprod'} | {len(errors)} | {' | '.join(numbers)}"
            f" | {share:.0%} | {np.median(seconds):.1f} | {iterations} |"
        )


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=["gnumeric"])
    parser.add_argument("--starts", type=int, default=3, help="seeds 0, 1, ... (default: 3)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument(
        "--sheet", nargs="+", choices=("dotprod", "bias"), default=["dotprod", "bias"]
    )
    parser.add_argument(
        "--steps", type=int, help="most iterations (gnumeric) or learning cycles (deps, sco)"
    )
    parser.add_argument("--csv", type=Path, help="write a row for each start, as it ends")
    return parser.parse_args()


def main():
    """Measure, print the table, write the rows."""
    chosen = arguments()
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.starts)
    biases = [sheet == "bias" for sheet in chosen.sheet]
    results = []
    with (chosen.csv or Path(os.devnull)).open("w", newline="", buffering=1) as file:
        csv.writer(file).writerow(COLUMNS)
        for name in chosen.engine:
            for row in rows(name, biases, seeds, chosen.steps):
                results.append(row)
                csv.writer(file).writerow(row)
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
