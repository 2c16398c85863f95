"""Collaborative filtering as the fast.ai spreadsheet does it, in plain NumPy."""

from shallow_cf._fetch import DownloadError
from shallow_cf.datasets import (
    find_titles,
    load_crosstab,
    load_crosstab_titles,
    read_ratings,
    read_titles,
)
from shallow_cf.estimator import MatrixFactorization
from shallow_cf.evaluation import (
    BiasesOnly,
    GlobalMean,
    compare,
    cross_validate,
    evaluate,
    k_fold,
    leave_k_out,
    lesson_split,
    mae,
    ranking_metrics,
    rmse,
    split,
    split_by_time,
)
from shallow_cf.meaning import PrincipalComponents
from shallow_cf.movielens import download, load_movielens
from shallow_cf.net import EmbeddingNet, NetParameters
from shallow_cf.objective import GradientError, check_gradient
from shallow_cf.parameters import Parameters
from shallow_cf.posterior import Posterior
from shallow_cf.ratings import Ratings
from shallow_cf.recommend import Explanation
from shallow_cf.reports import Report, answer_report, limits_report, sensitivity_report
from shallow_cf.solvers.als import ALSOptions
from shallow_cf.solvers.descent import DivergenceError, SGDOptions
from shallow_cf.solvers.lr_find import LearningRates, lr_find
from shallow_cf.solvers.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Momentum,
    Nesterov,
    RMSprop,
)
from shallow_cf.solvers.options import Constraint, SolverOptions
from shallow_cf.solvers.result import SolverResult
from shallow_cf.solvers.schedules import Constant, Cosine, Linear, OneCycle, Step
from shallow_cf.solvers.varpro import VarproOptions
from shallow_cf.solvers.vb import VBOptions
from shallow_cf.synthetic import synthetic_ratings
from shallow_cf.workbook import (
    NewUserSolution,
    SheetCheck,
    WorkbookError,
    WorkbookModel,
    check_workbook,
    read_workbook,
    solve_new_user,
    solver_options,
    update_workbook,
    write_workbook,
)

__all__ = [
    "SGD",
    "ALSOptions",
    "Adagrad",
    "Adam",
    "AdamW",
    "BiasesOnly",
    "Constant",
    "Constraint",
    "Cosine",
    "DivergenceError",
    "DownloadError",
    "EmbeddingNet",
    "Explanation",
    "GlobalMean",
    "GradientError",
    "LearningRates",
    "Linear",
    "MatrixFactorization",
    "Momentum",
    "Nesterov",
    "NetParameters",
    "NewUserSolution",
    "OneCycle",
    "Parameters",
    "Posterior",
    "PrincipalComponents",
    "RMSprop",
    "Ratings",
    "Report",
    "SGDOptions",
    "SheetCheck",
    "SolverOptions",
    "SolverResult",
    "Step",
    "VBOptions",
    "VarproOptions",
    "WorkbookError",
    "WorkbookModel",
    "answer_report",
    "check_gradient",
    "check_workbook",
    "compare",
    "cross_validate",
    "download",
    "evaluate",
    "find_titles",
    "k_fold",
    "leave_k_out",
    "lesson_split",
    "limits_report",
    "load_crosstab",
    "load_crosstab_titles",
    "load_movielens",
    "lr_find",
    "mae",
    "ranking_metrics",
    "read_ratings",
    "read_titles",
    "read_workbook",
    "rmse",
    "sensitivity_report",
    "solve_new_user",
    "solver_options",
    "split",
    "split_by_time",
    "synthetic_ratings",
    "update_workbook",
    "write_workbook",
]

__version__ = "0.1.0"
