"""Pictures of what was learned, with matplotlib.

matplotlib is an extra: ``pip install "shallow_cf[plot]"``. Each function draws on the axes it is
given, ``ax=``, returns them, and touches nothing else. Without axes it makes a new figure by
``pyplot.subplots``, as large as the picture needs, just as pandas does: a notebook shows it
below the cell, and in a script ``pyplot.show()`` opens a window. On a server, or in a loop,
where figures that pyplot keeps would pile up, make the figure yourself:

>>> from matplotlib.figure import Figure
>>> import shallow_cf as scf
>>> from shallow_cf import plots
>>> figure = Figure(figsize=(8, 5), layout="constrained")
>>> ax = plots.plot_crosstab(scf.load_crosstab(), ax=figure.subplots())
>>> figure.savefig("crosstab.png", dpi=100)  # as ``ax.figure.savefig`` with any figure

A notebook shows such a figure where it is the last line of a cell. Light and dark, marks and
dashes tell things apart, so that a picture can be printed in grey.
"""

from shallow_cf.plots.crosstab import plot_crosstab
from shallow_cf.plots.meaning import plot_biases, plot_factor_extremes, plot_item_map
from shallow_cf.plots.training import (
    plot_history,
    plot_learning_rates,
    plot_line,
    plot_trace,
)

__all__ = [
    "plot_biases",
    "plot_crosstab",
    "plot_factor_extremes",
    "plot_history",
    "plot_item_map",
    "plot_learning_rates",
    "plot_line",
    "plot_trace",
]
