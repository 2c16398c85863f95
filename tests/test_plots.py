"""Pictures: what is drawn, on which axes, and that nothing else is touched."""

import importlib
import sys

import numpy as np
import pandas as pd
import pytest

import shallow_cf as scf
from shallow_cf import landscape, objective, plots
from shallow_cf.solvers.result import SolverResult

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


@pytest.fixture(scope="module")
def runs():
    """Two solvers' results, of different lengths."""
    ratings = scf.load_crosstab()
    sgd = scf.MatrixFactorization(solver_options=scf.SGDOptions(n_epochs=30), random_state=0)
    grg = scf.MatrixFactorization(solver="grg", random_state=1)
    return {"SGD": sgd.fit(ratings).result_, "Solver": grg.fit(ratings).result_}


def run_of(*rmse):
    """A result with such a trace, an iteration a second."""
    theta = scf.Parameters([[1.0]], [[1.0]])
    trace = [{"iteration": k, "train_rmse": e, "seconds": k} for k, e in enumerate(rmse)]
    return SolverResult(theta, trace, 0, "", 0.0, theta, 1, 1)


def crosstab_of(shown):
    few = scf.load_crosstab().top(4, 3)
    return lambda model, ax: plots.plot_crosstab(few, model, show=shown, ax=ax)


DRAWINGS = {
    "ratings": crosstab_of("ratings"),
    "predictions": crosstab_of("predictions"),
    "errors": crosstab_of("errors"),
    "trace": lambda model, ax: plots.plot_trace({"one": run_of(3, 1)}, ax=ax),
    "line": lambda model, ax: plots.plot_line(
        scf.load_crosstab(), model, scf.Parameters.random(15, 15, bias=True), label="there", ax=ax
    ),
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

    def test_a_figure_of_pyplots_stays_the_current_one(self, draw, model):
        ours, theirs = pyplot.subplots()[1], pyplot.figure()
        draw(model, ours)
        assert pyplot.get_fignums() == [ours.figure.number, theirs.number]
        assert pyplot.gcf() is theirs

    def test_settings_stay_as_they_are(self, draw, model, ax):
        before = dict(matplotlib.rcParams)
        draw(model, ax)
        assert dict(matplotlib.rcParams) == before

    def test_without_matplotlib(self, draw, model, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
        with pytest.raises(ImportError, match=r'pip install "shallow_cf\[plot\]"'):
            draw(model, None)

    def test_importing_it_does_without_matplotlib(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        importlib.reload(plots)


def numbers(ax):
    """(row, column) -> the text in the cell."""
    return {
        (int(y), int(x)): text.get_text() for text in ax.texts for x, y in [text.get_position()]
    }


def frames(ax):
    """(row, column) of every frame."""
    return {tuple(np.rint(patch.get_center()[::-1]).astype(int).tolist()) for patch in ax.patches}


class TestCrosstab:
    def test_ratings(self, crosstab, ax):
        plots.plot_crosstab(crosstab, titles=TITLES, ax=ax)
        table = crosstab.to_crosstab()
        assert numbers(ax) == {
            (u, i): f"{table.iloc[u, i]:g}" for u, i in np.argwhere(table.notna().to_numpy())
        }
        assert {"4.5", "5"} < set(numbers(ax).values())
        np.testing.assert_array_equal(ax.images[0].get_array().filled(np.nan), table)
        labels = [label.get_text() for label in ax.get_xticklabels()]
        assert labels[:4] == ["1", "110", "Star Wars: Episode IV ...", "Pulp"]
        assert [label.get_text() for label in ax.get_yticklabels()] == list(map(str, table.index))
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("item", "user")
        assert ax.get_title() == "Ratings, stars (hatched: not rated)"

    @pytest.mark.parametrize("show", ["ratings", "errors"])
    def test_blanks_have_no_color_but_hatches(self, crosstab, model, ax, show):
        plots.plot_crosstab(crosstab, model, show=show, ax=ax)
        image = ax.images[0]
        is_blank = crosstab.to_crosstab().isna().to_numpy()
        opacity = image.to_rgba(image.get_array())[..., 3]
        np.testing.assert_array_equal(opacity == 0, is_blank)
        assert frames(ax) == set(map(tuple, np.argwhere(is_blank).tolist()))
        assert all(patch.get_hatch() for patch in ax.patches)

    def test_a_blank_is_not_taken_for_one_star(self, crosstab, ax):
        plots.plot_crosstab(crosstab, ax=ax)
        one_star = ax.images[0].to_rgba(1.0)[:3]
        hatches = [patch.get_edgecolor()[:3] for patch in ax.patches]
        assert np.mean(hatches) < np.mean(one_star) - 0.2

    def test_predictions_tell_blank_cells_apart(self, crosstab, model, ax):
        plots.plot_crosstab(crosstab, model, show="predictions", ax=ax)
        predicted = model.parameters_.predict_all()
        found = {place: float(text) for place, text in numbers(ax).items()}
        assert found == {place: round(r, 1) for place, r in np.ndenumerate(predicted)}
        blank = set(map(tuple, np.argwhere(crosstab.to_crosstab().isna().to_numpy()).tolist()))
        italic = {text.get_position()[::-1] for text in ax.texts if text.get_style() == "italic"}
        assert frames(ax) == italic == blank
        assert len(blank) == 19
        limits = crosstab.rating.min(), crosstab.rating.max()
        assert ax.images[0].get_clim() == limits  # not stretched by what lies outside

    def test_errors_are_centred_at_zero(self, crosstab, model, ax):
        plots.plot_crosstab(crosstab, model, show="errors", ax=ax)
        e = objective.residual(crosstab, model.parameters_)
        places = zip(crosstab.user_idx.tolist(), crosstab.item_idx.tolist(), strict=True)
        expected = dict(zip(places, e.round(1).tolist(), strict=True))
        assert {place: float(text) for place, text in numbers(ax).items()} == expected
        assert ax.images[0].get_clim() == pytest.approx((-np.abs(e).max(), np.abs(e).max()))
        assert ax.images[0].get_cmap()(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.01)

    def test_signs(self, ax):
        ratings = scf.Ratings.from_arrays([["ann", 1], ["ann", 2], ["bob", 1]], [3, 3.04, 4])
        # The mean is 3.3467; residuals 0.35, 0.31 and -0.65. Then a model that is all but right.
        plots.plot_crosstab(ratings, scf.GlobalMean().fit(ratings), show="errors", ax=ax)
        assert numbers(ax) == {(0, 0): "+0.3", (0, 1): "+0.3", (1, 0): "-0.7"}
        near = scf.Parameters([[1], [1]], [[3], [3]], [0, 1], [0, 0])
        again = Figure().subplots()
        model = scf.MatrixFactorization.from_parameters(ratings, near)
        plots.plot_crosstab(ratings, model, show="errors", ax=again)
        assert set(numbers(again).values()) == {"0.0"}  # neither +0.0 nor -0.0
        assert again.images[0].get_clim() == (-0.5, 0.5)  # small errors look small

    def test_anything_that_predicts(self, crosstab, ax):
        class Ten:
            def predict(self, user_ids, item_ids):
                return np.asarray(user_ids) / 1000 + np.asarray(item_ids)

        plots.plot_crosstab(crosstab.top(3, 2), Ten(), show="predictions", ax=ax)
        few = crosstab.top(3, 2)
        expected = few.user_ids[:, None] / 1000 + few.item_ids
        assert numbers(ax) == {place: f"{r:.1f}" for place, r in np.ndenumerate(expected)}

    def test_a_part_of_what_a_model_knows(self, crosstab, model, ax):
        few = crosstab.top(4, 3)
        plots.plot_crosstab(few, model, show="predictions", ax=ax)
        expected = model.parameters_for(few).predict_all()
        assert numbers(ax) == {place: f"{r:.1f}" for place, r in np.ndenumerate(expected)}

    def test_numbers_stay_in_their_cells(self, crosstab, model):
        ax = plots.plot_crosstab(crosstab, model, show="errors", titles=TITLES)
        ax.figure.draw_without_rendering()
        to_cells = ax.transData.inverted()
        for text in ax.texts:
            i, u = text.get_position()
            box = text.get_window_extent().transformed(to_cells)
            assert i - 0.5 < box.x0 < box.x1 < i + 0.5, text
            assert u - 0.5 < box.y1 < box.y0 < u + 0.5, text  # rows are counted downwards

    @pytest.mark.parametrize("show", ["predictions", "errors"])
    def test_numbers_stand_out(self, crosstab, model, ax, show):
        plots.plot_crosstab(crosstab, model, show=show, ax=ax)
        rgba = ax.images[0].to_rgba(ax.images[0].get_array())
        for text in ax.texts:
            i, u = text.get_position()
            assert contrast(text.get_color(), rgba[u, i]) > 4, text

    def test_names_wider_than_a_column_are_turned(self, crosstab):
        wide, narrow = (Figure(figsize=(width, 4)).subplots() for width in (9, 4))
        turned = [
            {
                label.get_rotation()
                for label in plots.plot_crosstab(crosstab, **more).get_xticklabels()
            }
            for more in ({"ax": wide}, {"ax": wide, "titles": TITLES}, {"ax": narrow})
        ]
        assert turned == [{0}, {60}, {60}]

    def test_nothing_is_cut_off(self, crosstab):
        ax = plots.plot_crosstab(
            crosstab, titles=dict.fromkeys(crosstab.item_ids.tolist(), "M" * 60)
        )
        ax.figure.draw_without_rendering()
        page = ax.figure.bbox
        for text in [ax.title, ax.xaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()]:
            box = text.get_window_extent()
            assert page.x0 <= box.x0 < box.x1 <= page.x1, text
            assert page.y0 <= box.y0 < box.y1 <= page.y1, text

    def test_bad_input(self, crosstab, model):
        large = scf.Ratings.from_arrays([["ann", k] for k in range(31)], [3] * 31)
        with pytest.raises(
            ValueError, match=r"more than 30 users or items .*`ratings.top\(15, 15\)`"
        ):
            plots.plot_crosstab(large)
        with pytest.raises(ValueError, match="`show` must be one of ratings, predictions, errors"):
            plots.plot_crosstab(crosstab, model, show="stars")
        for show in ("predictions", "errors"):
            with pytest.raises(ValueError, match=f"`show='{show}'` needs a model"):
                plots.plot_crosstab(crosstab, show=show)
        with pytest.raises(TypeError, match="`ratings` must be Ratings"):
            plots.plot_crosstab(crosstab.to_crosstab())
        with pytest.raises(TypeError, match="`titles` must be a dict"):
            plots.plot_crosstab(crosstab, titles=["Alien"])
        with pytest.raises(ValueError, match="item id 2 is not among the 15 known items"):
            plots.plot_crosstab(scf.Ratings.from_arrays([[15, 2]], [3]), model, show="errors")
        assert pyplot.get_fignums() == []


def contrast(one, two):
    """Of two colors, 1 to 21, as the Web Content Accessibility Guidelines define it."""

    def luminance(color):
        rgb = np.array(matplotlib.colors.to_rgb(color))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722)

    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


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


class TestTrace:
    def test_one_run(self, runs, ax):
        plots.plot_trace(runs["SGD"], ax=ax)
        (curve,) = ax.lines
        expected = [[k, row["train_rmse"]] for k, row in enumerate(runs["SGD"].trace)]
        assert curve.get_xydata().tolist() == expected
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "RMSE, stars")
        assert ax.get_yscale() == "log"
        assert ax.get_legend() is None

    def test_several(self, runs, ax):
        plots.plot_trace(runs, ax=ax)
        assert {name: len(xy) for name, xy in lines(ax).items()} == {
            name: len(run.trace) for name, run in runs.items()
        }
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["SGD", "Solver"]
        assert ax.get_xlabel() == "iteration or epoch"
        for kind in ("linestyle", "marker", "color"):  # to be told apart in grey, and in color
            assert len({getattr(line, f"get_{kind}")() for line in ax.lines}) == 2

    def test_more_than_there_are_dashes(self, ax):
        plots.plot_trace({f"run {k}": run_of(3, 2, 1 + k / 10) for k in range(7)}, ax=ax)
        assert len(ax.lines) == 7

    def test_both_ends_are_marked(self, runs, ax):
        plots.plot_trace(runs["Solver"], ax=ax)
        marked = ax.lines[0].get_markevery()
        assert (marked[0], marked[-1], len(marked)) == (0, len(runs["Solver"].trace) - 1, 9)

    def test_seconds(self, runs, ax):
        plots.plot_trace(runs["SGD"], x="seconds", ax=ax)
        expected = [[row["seconds"], row["train_rmse"]] for row in runs["SGD"].trace]
        assert ax.lines[0].get_xydata().tolist() == expected
        assert ax.get_xlabel() == "seconds"

    def test_above_the_best_known(self, ax):
        plots.plot_trace(run_of(3, 1, 0.5, 0.25), above=0.5, ax=ax)
        y = ax.lines[0].get_ydata()
        np.testing.assert_array_equal(y, [2.5, 0.5, np.nan, np.nan])  # 0 has no logarithm
        assert ax.get_ylabel() == "RMSE - 0.5, stars"

    def test_a_short_scale_is_written_as_stars(self, ax):
        plots.plot_trace(run_of(2.8, 0.3929), ax=ax)
        ax.figure.draw_without_rendering()
        low, high = ax.get_ylim()
        shown = [
            label.get_text()
            for label in ax.get_yticklabels()
            if low <= label.get_position()[1] <= high
        ]
        assert shown == ["0.4", "0.6", "0.8", "1", "1.5", "2", "3"][: len(shown)]
        assert len(shown) >= 6

    def test_a_search_of_several_starts(self, crosstab, ax):
        options = scf.SolverOptions(multistart=True, population_size=10, derivatives="analytic")
        model = scf.MatrixFactorization(2, solver="grg", solver_options=options, random_state=0)
        plots.plot_trace(model.fit(crosstab).result_, ax=ax)
        assert ax.get_xlabel() == "search"

    def test_bad_input(self):
        with pytest.raises(ValueError, match="`results` must name at least one result"):
            plots.plot_trace({})
        for wrong in ([1.0], {"model": scf.MatrixFactorization()}):
            with pytest.raises(TypeError, match="`results` must be a SolverResult or a dict"):
                plots.plot_trace(wrong)
        with pytest.raises(ValueError, match="`x` must be one of iteration, seconds"):
            plots.plot_trace(run_of(3, 1), x="epochs")
        with pytest.raises(ValueError, match="`above` must be below an RMSE of the runs, got 3"):
            plots.plot_trace(run_of(3, 1), above=3)
        with pytest.raises(ValueError, match="`above` must be >= 0"):
            plots.plot_trace(run_of(3, 1), above=-1)
        assert pyplot.get_fignums() == []


class TestLine:
    def test_the_numbers_as_they_are(self, crosstab, runs, ax):
        a, b = (run.parameters for run in runs.values())
        plots.plot_line(crosstab, a, b, align=False, names=("SGD", "Solver"), ax=ax)
        (line,) = ax.lines
        t = line.get_xdata()
        assert (t.min(), t.max()) == (-0.25, 1.25)
        assert t[line.get_markevery()].tolist() == [0, 1]  # the ends are marked
        np.testing.assert_allclose(line.get_ydata(), landscape.rmse_along(crosstab, a, b, t))
        assert ax.get_xlabel() == "share of the way from SGD (0) to Solver (1)"
        assert ax.get_ylabel() == "RMSE, stars"
        assert ax.get_legend() is None

    def test_in_one_form(self, crosstab, runs, ax):
        a, b = (run.parameters for run in runs.values())
        plots.plot_line(crosstab, a, b, ax=ax)
        (line,) = ax.lines
        start = landscape.balanced(a)
        end = landscape.aligned(landscape.balanced(b), start)
        expected = landscape.rmse_along(crosstab, start, end, line.get_xdata())
        np.testing.assert_allclose(line.get_ydata(), expected)
        at_ends = line.get_ydata()[line.get_markevery()]
        assert at_ends == pytest.approx([run.rmse_after for run in runs.values()])

    def test_models_results_and_parameters(self, crosstab, runs, ax):
        model = scf.MatrixFactorization.from_parameters(crosstab, runs["Solver"].parameters)
        other = runs["SGD"].parameters
        for end in (model, runs["Solver"], runs["Solver"].parameters):
            plots.plot_line(crosstab, end, other, ax=ax)
        one, two, three = (line.get_ydata().tolist() for line in ax.lines)
        assert one == two == three

    def test_models_of_more_users_and_items(self, crosstab, runs, ax):
        few = crosstab.top(6, 5)
        model = scf.MatrixFactorization.from_parameters(crosstab, runs["Solver"].parameters)
        plots.plot_line(few, model, model, ax=ax)
        np.testing.assert_allclose(ax.lines[0].get_ydata(), model.rmse(few))

    def test_several_lines(self, crosstab, runs, ax):
        a, b = runs.values()
        for align in (True, False):
            plots.plot_line(crosstab, a, b, align=align, label=f"align={align}", ax=ax)
        legend = [text.get_text() for text in ax.get_legend().get_texts()]
        assert legend == ["align=True", "align=False"]
        assert len({line.get_linestyle() for line in ax.lines}) == 2

    def test_a_part_of_the_way(self, crosstab, runs, ax):
        plots.plot_line(crosstab, *runs.values(), span=(0.5, 2), ax=ax)
        t = ax.lines[0].get_xdata()
        assert (t.min(), t.max()) == (0.5, 2)
        assert t[ax.lines[0].get_markevery()].tolist() == [1]

    def test_bad_input(self, crosstab, model, runs):
        a = runs["SGD"]
        with pytest.raises(TypeError, match=r"`b` must be a MatrixFactorization, .* GlobalMean"):
            plots.plot_line(crosstab, a, scf.GlobalMean().fit(crosstab))
        with pytest.raises(ValueError, match="only between parameters of one kind"):
            plots.plot_line(crosstab, a, model)  # one without, one with biases
        with pytest.raises(ValueError, match="do not fit"):
            plots.plot_line(crosstab.top(5, 5), a, a)
        with pytest.raises(ValueError, match="`span` must go from a lower to a higher number"):
            plots.plot_line(crosstab, a, a, span=(1, 0))
        assert pyplot.get_fignums() == []


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
