"""What a user with a type checker writes: every public name in its main use.

`mypy --strict` looks at this against the installed wheel, so that its annotations and
py.typed are found there; `assert_type` says what must be known without a cast. It runs, too.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import assert_type

import numpy as np
import numpy.typing as npt
import pandas as pd

import shallow_cf as scf
from shallow_cf import objective

Floats = npt.NDArray[np.float64]


def ratings_of_every_kind(folder: Path) -> scf.Ratings:
    ratings = assert_type(scf.load_crosstab(), scf.Ratings)
    assert scf.load_crosstab_titles().keys() == set(ratings.item_ids.tolist())
    frame = assert_type(ratings.to_frame(), pd.DataFrame)
    assert_type(scf.Ratings.from_frame(frame), scf.Ratings)
    assert_type(scf.Ratings.from_arrays([["ann", "Babe"]], [4.5]), scf.Ratings)
    assert_type(scf.Ratings.from_crosstab(ratings.to_crosstab()), scf.Ratings)
    frame.rename(columns={"user_id": "userId", "item_id": "movieId"}).to_csv(
        folder / "ratings.csv", index=False
    )
    (folder / "movies.csv").write_text("movieId,title\n260,Star Wars\n")
    read = assert_type(scf.read_ratings(folder / "ratings.csv"), scf.Ratings)
    found = assert_type(scf.find_titles(folder / "ratings.csv"), Path | None)
    titles: Mapping[int | str, str] = scf.read_titles(found) if found is not None else {}
    assert titles == {260: "Star Wars"}
    return read


def data_sets(folder: Path) -> None:
    made, truth = scf.synthetic_ratings(20, 10, 50, random_state=0, return_truth=True)
    assert_type(made, scf.Ratings)
    assert_type(truth, scf.Parameters)
    assert_type(scf.synthetic_ratings(20, 10, 50, random_state=0), scf.Ratings)
    (folder / "ml-100k").mkdir()
    (folder / "ml-100k" / "u.data").write_text("1\t2\t5\t881250949\n")
    # It is there, so that nothing is asked for.
    with contextlib.suppress(scf.DownloadError):
        assert_type(scf.download("ml-100k", folder=folder), Path)
    assert_type(scf.load_movielens("ml-100k", folder=folder), scf.Ratings)


def optimizers_and_schedules() -> list[scf.SGDOptions]:
    options = [scf.SGDOptions(n_epochs=2, optimizer=optimizer) for optimizer in (
        scf.SGD(), scf.Momentum(), scf.Nesterov(), scf.Adagrad(), scf.RMSprop(), scf.Adam(),
        scf.AdamW(weight_decay=0.1),
    )]  # fmt: skip
    return options + [scf.SGDOptions(n_epochs=2, schedule=schedule) for schedule in (
        scf.Constant(), scf.Linear(), scf.Cosine(), scf.Step(epochs=(1,)),
        scf.OneCycle(momentum=(0.9, 0.8, 0.9)),
    )]  # fmt: skip


def model_in_use(ratings: scf.Ratings, path: Path) -> scf.MatrixFactorization:
    for options in optimizers_and_schedules():
        scf.MatrixFactorization(2, solver_options=options, random_state=0).fit(ratings)
    choices: dict[str, scf.ALSOptions | scf.VarproOptions | scf.SolverOptions] = {
        "als": scf.ALSOptions(n_iterations=2),
        "varpro": scf.VarproOptions(iterations=2),
        "grg": scf.SolverOptions(
            iterations=2, constraints=(scf.Constraint("user_factors", ">=", 0.0),)
        ),
    }
    for solver, chosen in choices.items():
        scf.MatrixFactorization(2, solver=solver, solver_options=chosen).fit(ratings)
    model = scf.MatrixFactorization(
        2, bias=True, global_mean=True, solver="vb", solver_options=scf.VBOptions(n_iterations=3),
        random_state=0,
    ).fit(ratings)  # fmt: skip
    stars = assert_type(model.predict(15, [260, 296]), Floats)
    _, spread = model.predict(15, [260, 296], return_std=True)
    assert stars.shape == assert_type(spread, Floats).shape
    assert_type(model.recommend(15, 3, exclude_seen=False), pd.DataFrame)
    assert_type(model.similar_items(260), pd.DataFrame)
    assert_type(model.explain(15, 260), scf.Explanation)
    assert_type(model.principal_components(2), scf.PrincipalComponents)
    assert_type(model.fold_in_user({260: 5.0}, 1000).predict(1000, 260), Floats)
    model.save(path)
    return assert_type(scf.MatrixFactorization.load(path), scf.MatrixFactorization)


def judged(model: scf.MatrixFactorization, ratings: scf.Ratings) -> None:
    train, test = scf.split(ratings, random_state=0)
    assert_type(test, scf.Ratings)
    rows = np.arange(len(ratings))
    timed = ratings.to_frame().assign(timestamp=rows)
    scf.split_by_time(scf.Ratings.from_frame(timed, timestamp="timestamp"))
    scf.leave_k_out(ratings)
    scf.lesson_split(ratings)
    assert len(list(scf.k_fold(ratings, 3))) == 3
    mean, biases = scf.GlobalMean().fit(train), scf.BiasesOnly().fit(train)
    table = scf.compare({"mean": mean, "biases": biases, "model": model}, train, test)
    assert_type(table, pd.DataFrame)
    assert_type(scf.cross_validate(scf.BiasesOnly(), ratings, 2), pd.DataFrame)
    assert_type(scf.evaluate(model, test), dict[str, float])
    assert_type(scf.ranking_metrics(model, test), dict[str, float])
    assert assert_type(scf.rmse(model, test), float) >= assert_type(scf.mae(model, test), float)


def numbers_by_hand(ratings: scf.Ratings) -> scf.Parameters:
    start = scf.Parameters.random(15, 15, 2, bias=True, random_state=0)
    assert_type(scf.lr_find(ratings, start, n_steps=5), scf.LearningRates)
    assert_type(objective.rmse_gradient(ratings, start), scf.Parameters)
    error = scf.check_gradient(
        lambda theta: objective.rmse(ratings, start.unpack(theta)),
        lambda theta: objective.rmse_gradient(ratings, start.unpack(theta)).pack(),
        start.pack(),
    )
    assert assert_type(error, float) < 1e-6
    return start


def workbook(ratings: scf.Ratings, start: scf.Parameters, folder: Path) -> None:
    scf.write_workbook(folder / "b.xlsx", ratings, start, sheets=["new_user"])
    book = assert_type(scf.read_workbook(folder / "b.xlsx"), scf.WorkbookModel)
    options = assert_type(scf.solver_options(book), scf.SolverOptions)
    model = scf.MatrixFactorization(2, bias=True, solver="grg", solver_options=options)
    result: scf.SolverResult = model.fit(book.ratings).result_
    posterior: scf.Posterior | None = result.posterior
    assert posterior is None  # only of solver "vb"
    reports = [
        report(book.ratings, result, options)
        for report in (scf.answer_report, scf.sensitivity_report, scf.limits_report)
    ]
    assert_type(reports, list[scf.Report])
    scf.update_workbook(book, result.parameters, folder / "solved.xlsx", reports=reports)
    checks: list[scf.SheetCheck] = scf.check_workbook(folder / "solved.xlsx")
    assert all(check.ok for check in checks)
    solution = scf.solve_new_user(folder / "solved.xlsx", folder / "mine.xlsx")
    assert_type(solution, scf.NewUserSolution)


def net(ratings: scf.Ratings) -> None:
    options = scf.SGDOptions(n_epochs=2)
    model = scf.EmbeddingNet(2, 3, solver_options=options, random_state=0).fit(ratings)
    assert_type(model.predict(15, [260]), Floats)
    parameters: scf.NetParameters = model.parameters_
    assert parameters.W1.shape[1] == 3


def errors(folder: Path) -> None:
    kinds: list[type[Exception]] = [scf.DivergenceError, scf.GradientError]
    assert not any(issubclass(kind, scf.WorkbookError) for kind in kinds)
    with contextlib.suppress(scf.WorkbookError):
        scf.read_workbook(folder / "ratings.csv")


def main(folder: Path) -> None:
    ratings = ratings_of_every_kind(folder)
    data_sets(folder)
    judged(model_in_use(ratings, folder / "model.npz"), ratings)
    workbook(ratings, numbers_by_hand(ratings), folder)
    net(ratings)
    errors(folder)
