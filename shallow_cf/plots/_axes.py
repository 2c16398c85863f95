"""What the pictures share: axes, colors and names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import pandas as pd

from shallow_cf._using import Titles, names_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The two ends of a scale, and lines: a dark blue and a light orange.
DARK, LIGHT = "#1f3b73", "#e8943a"


def axes_for(ax: Axes | None, width: float, height: float) -> Axes:
    """The axes given, or those of a new figure, without the frame above and to the right."""
    if ax is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError(
                'plots need matplotlib, which is not installed: pip install "shallow_cf[plot]"'
            ) from error
        _, ax = pyplot.subplots(figsize=(width, height), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def names_for(
    ids: pd.Series[Any] | npt.NDArray[Any], titles: Titles | None, longest: int = 40
) -> list[str]:
    """Titles, ids where there is none; long ones are cut."""
    keys = ids.tolist()
    names = [name or str(key) for key, name in zip(keys, names_of(keys, titles), strict=True)]
    return [name if len(name) <= longest else name[: longest - 3] + "..." for name in names]
