"""Is the model any good? Splits, metrics and the baselines that it has to beat."""

from shallow_cf.evaluation.baselines import BiasesOnly, GlobalMean
from shallow_cf.evaluation.compare import compare, cross_validate, evaluate
from shallow_cf.evaluation.errors import mae, rmse
from shallow_cf.evaluation.ranking import ranking_metrics
from shallow_cf.evaluation.splits import k_fold, leave_k_out, lesson_split, split, split_by_time

__all__ = [
    "BiasesOnly",
    "GlobalMean",
    "compare",
    "cross_validate",
    "evaluate",
    "k_fold",
    "leave_k_out",
    "lesson_split",
    "mae",
    "ranking_metrics",
    "rmse",
    "split",
    "split_by_time",
]
