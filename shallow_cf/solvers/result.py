"""What every solver takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shallow_cf.objective import check_fit
from shallow_cf.parameters import Parameters
from shallow_cf.ratings import Ratings

TraceRow = dict[str, float]
#: Called with each new row of the trace; a solver stops when it returns True.
Callback = Callable[[TraceRow], bool | None]


@dataclass(frozen=True)
class SolverResult:
    """Outcome of a run.

    Attributes
    ----------
    parameters : Parameters
        What was found; always finite.
    trace : list of dict
        A row an epoch (SGD) or iteration (GRG), the start first: its number, the
        RMSE over all ratings (``train_rmse``, stars) and the seconds since the start.
    code : int or None
        Solver's result code; None for methods that have none.
    message : str
        Why the run ended.
    seconds : float
        Wall time.
    """

    parameters: Parameters
    trace: list[TraceRow]
    code: int | None
    message: str
    seconds: float

    @property
    def rmse_before(self) -> float:
        """RMSE at the start, stars."""
        return self.trace[0]["train_rmse"]

    @property
    def rmse_after(self) -> float:
        """RMSE at the end, stars."""
        return self.trace[-1]["train_rmse"]

    @property
    def iterations(self) -> int:
        """How many epochs or iterations were made."""
        return len(self.trace) - 1


def check_start(ratings: Ratings, parameters: Parameters) -> None:
    """Refuse parameters that do not fit the ratings or are not finite."""
    check_fit(ratings, parameters)
    if not parameters.is_finite():
        raise ValueError("the parameters to start from must be finite, got NaN or infinity")
