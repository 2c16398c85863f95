"""Pictures: what is drawn, on which axes, and that nothing else is touched."""

import importlib
import sys

import numpy as np
import pandas as pd
import pytest

import shallow_cf as scf
from shallow_cf import plots

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

TITLES = {260: "Star Wars: Episode IV - A New Hope, the longest of all titles (1977)", 296: "Pulp"}
HISTORY = pd.DataFrame(
    {"epoch": [0, 1, 2], "train_rmse": [3.0, 1.0, 0.8], "valid_rmse": [3.0, 1.1, 1.0]}
)
FOUND = pd.DataFrame({"learning_rate": [1e-4, 1e-3, 1e-2], "loss": [3.0, 1.0, 9.0]})


@pytest.fixture(scope="module")
def model():
    ratings = scf.load_crosstab()
    theta = scf.Parameters.random(15, 15, 5, bias=True, init="symmetric", random_state=0)
    return scf.MatrixFactorization.from_parameters(ratings, theta)


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    pyplot.close("all")


@pytest.fixture
def ax():
    """Axes that pyplot knows nothing of."""
    return Figure().subplots()


DRAWINGS = {
    "item map": lambda model, ax: plots.plot_item_map(model, ax=ax),
    "biases": lambda model, ax: plots.plot_biases(model, ax=ax),
    "factor": lambda model, ax: plots.plot_factor_extremes(model, ax=ax),
    "history": lambda model, ax: plots.plot_history(HISTORY, ax=ax),
    "learning rates": lambda model, ax: plots.plot_learning_rates(FOUND, ax=ax),
}


@pytest.fixture(params=DRAWINGS.values(), ids=DRAWINGS)
def draw(request):
    return request.param


class TestAxes:
    def test_given_axes_are_drawn_on_and_returned(self, draw, model, ax):
        assert draw(model, ax) is ax
        assert ax.has_data()
        assert pyplot.get_fignums() == []  # and nothing is drawn anywhere else

    def test_of_two_axes_the_other_stays_empty(self, draw, model):
        one, two = Figure().subplots(1, 2)
        draw(model, one)
        assert not two.has_data()

    def test_subfigures(self, draw, model):
        ax = Figure().subfigures(1, 2)[1].subplots()
        assert draw(model, ax) is ax

    def test_without_axes_a_new_figure(self, draw, model):
        ax = draw(model, None)
        assert pyplot.get_fignums() == [ax.figure.number]
        assert ax.get_xlabel()

    def test_settings_stay_as_they_are(self, draw, model, ax):
        before = dict(matplotlib.rcParams)
        draw(model, ax)
        assert dict(matplotlib.rcParams) == before

    def test_without_matplotlib(self, draw, model, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
        with pytest.raises(ImportError, match=r"pip install shallow_cf\[plot\]"):
            draw(model, None)

    def test_importing_it_does_without_matplotlib(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        importlib.reload(plots)


def points(ax):
    return np.asarray(ax.collections[0].get_offsets())


class TestItemMap:
    def test_a_point_an_item(self, model, ax):
        plots.plot_item_map(model, components=(3, 1), ax=ax)
        items = model.principal_components(3).items
        np.testing.assert_array_equal(points(ax), items[["component 3", "component 1"]])
        share = model.principal_components(3).share
        assert ax.get_xlabel() == f"component 3 ({share[2]:.0%} of the variance)"
        assert ax.get_ylabel() == f"component 1 ({share[0]:.0%} of the variance)"

    def test_most_rated(self, model, ax):
        plots.plot_item_map(model, most_rated=6, ax=ax)
        assert len(points(ax)) == 6

    def test_labels(self, model, ax):
        plots.plot_item_map(model, titles=TITLES, ax=ax)
        texts = {text.get_text() for text in ax.texts}
        allowed = {str(k) for k in model.item_ids_.tolist()} - {"260", "296"}
        assert texts <= allowed | {"Star Wars: Episode IV - A New Hope, t...", "Pulp"}
        assert len(texts) >= 12

    def test_labels_cover_neither_labels_nor_points(self, ax):
        rng = np.random.default_rng(0)
        theta = scf.Parameters(np.ones((1, 2)), rng.normal(size=(40, 2)))
        ratings = scf.Ratings([0], [f"a movie, {k}" for k in range(40)], [0], [0], [3.0])
        crowd = scf.MatrixFactorization.from_parameters(ratings, theta)
        plots.plot_item_map(crowd, most_rated=None, n_labels=35, ax=ax)
        assert 20 < len(ax.texts) <= 35
        ax.figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in ax.texts]
        where = ax.transData.transform(points(ax))
        for k, box in enumerate(boxes):
            assert box.count_overlaps(boxes[:k] + boxes[k + 1 :]) == 0
            assert box.count_contains(where) == 0

    def test_n_labels(self, model, ax):
        plots.plot_item_map(model, n_labels=3, ax=ax)
        assert len(ax.texts) == 3

    def test_bad_input(self, model):
        for components in [(1, 1), (0, 2), (-1, 3)]:
            with pytest.raises(ValueError, match="`components` must be two different numbers"):
                plots.plot_item_map(model, components=components)
        with pytest.raises(ValueError, match="`n` must be <= 5"):
            plots.plot_item_map(model, components=(1, 6))
        assert pyplot.get_fignums() == []  # no empty figure is left behind


def bars(ax):
    """Label -> length, from the lowest to the highest."""
    labels = [label.get_text() for label in ax.get_yticklabels()]
    return list(zip(labels, [bar.get_width() for bar in ax.patches], strict=True))


class TestBars:
    def test_biases(self, model, ax):
        plots.plot_biases(model, n=3, titles=TITLES, ax=ax)
        table = model.bias_list(3).sort_values("bias")
        assert [length for _, length in bars(ax)] == table["bias"].tolist()
        assert bars(ax)[0][0] == str(table["item_id"].iloc[0])
        assert ax.get_xlabel() == "bias, stars"
        assert ax.get_title() == "Lowest and highest item biases"

    def test_biases_of_users(self, model, ax):
        plots.plot_biases(model, n=2, side="user", ax=ax)
        table = model.bias_list(2, side="user").sort_values("bias")
        assert [label for label, _ in bars(ax)] == table["user_id"].astype(str).tolist()

    def test_nobody_is_drawn_twice(self, model, ax):
        plots.plot_biases(model, n=10, ax=ax)  # 15 items: five are at both ends
        assert [length for _, length in bars(ax)] == sorted(model.item_bias_.tolist())

    def test_the_unit_of_a_score(self, model, ax):
        theta = model.parameters_
        squashed = scf.Parameters(*theta.blocks(), rating_range=(0, 5))
        plots.plot_biases(scf.MatrixFactorization.from_parameters(model.ratings_, squashed), ax=ax)
        assert ax.get_xlabel() == "bias, score"

    @pytest.mark.parametrize("components", [False, True])
    def test_factor_extremes(self, model, ax, components):
        plots.plot_factor_extremes(model, factor=2, n=3, components=components, ax=ax)
        name = "component 2" if components else "factor 2"
        table = model.factor_extremes(3, components=2 if components else None)
        values = table[table["factor"] == name]["value"]
        assert [length for _, length in bars(ax)] == sorted(values.tolist())
        assert ax.get_xlabel() == name

    def test_bad_input(self, model):
        for factor in (0, 6):
            with pytest.raises(ValueError, match=f"`factor` must be from 1 to 5, got {factor}"):
                plots.plot_factor_extremes(model, factor=factor)


def lines(ax):
    return {line.get_label(): line.get_xydata().tolist() for line in ax.lines}


class TestHistory:
    def test_both_curves(self, ax):
        plots.plot_history(HISTORY, ax=ax)
        assert lines(ax) == {
            "training": [[0, 3.0], [1, 1.0], [2, 0.8]],
            "validation": [[0, 3.0], [1, 1.1], [2, 1.0]],
        }
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "RMSE, stars")
        legend = [text.get_text() for text in ax.get_legend().get_texts()]
        assert legend == ["training", "validation"]
        assert len({line.get_linestyle() for line in ax.lines}) == 2  # to be told apart in grey

    def test_a_models_history(self, crosstab, ax):
        model = scf.MatrixFactorization(2, solver="varpro", random_state=0).fit(crosstab)
        plots.plot_history(model.history_, ax=ax)
        assert list(lines(ax)) == ["training"]
        assert ax.get_xlabel() == "iteration"

    def test_bad_input(self):
        with pytest.raises(ValueError, match="columns epoch and train_rmse, got epoch, loss"):
            plots.plot_history(pd.DataFrame({"epoch": [0], "loss": [1.0]}))


class TestLearningRates:
    def test_the_curve(self, ax):
        plots.plot_learning_rates(FOUND, ax=ax)
        assert ax.lines[0].get_xydata().tolist() == FOUND.to_numpy().tolist()
        assert ax.get_xscale() == "log"
        assert ax.get_legend() is None

    def test_a_suggestion(self, ax):
        plots.plot_learning_rates(FOUND, suggestion=1e-3, ax=ax)
        assert ax.lines[1].get_xdata() == [1e-3, 1e-3]
        assert ax.get_legend().get_texts()[0].get_text() == "suggestion: 0.001"

    def test_bad_input(self):
        with pytest.raises(ValueError, match="learning_rate and loss, got no loss"):
            plots.plot_learning_rates(FOUND[["learning_rate"]])
