"""MatrixFactorization: fit, predict, and models on disk."""

import gc
import io
import json
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import reference

import shallow_cf as scf
from shallow_cf import objective

SHORT = scf.SGDOptions(n_epochs=5, batch_size=4)


def named(ratings):
    """The same ratings under ids that are text."""
    return scf.Ratings(
        np.array([f"Úser {k}" for k in range(ratings.n_users)]),
        np.array([f"Movie, the {k}th" for k in range(ratings.n_items)]),
        ratings.user_idx,
        ratings.item_idx,
        ratings.rating,
    )


def numbered(ratings):
    """The same ratings under ids that are numbers, but not 0, 1, 2, ..."""
    return scf.Ratings(
        100 + 3 * np.arange(ratings.n_users),
        7000 - np.arange(ratings.n_items),
        ratings.user_idx,
        ratings.item_idx,
        ratings.rating,
    )


@pytest.fixture
def ratings():
    return numbered(reference.problem(5, 4, 2, rated=0.7)[0])


@pytest.fixture
def model(ratings):
    return scf.MatrixFactorization(2, solver_options=SHORT, random_state=0).fit(ratings)


class TestFit:
    def test_returns_itself(self, ratings):
        model = scf.MatrixFactorization(2, solver_options=SHORT)
        assert model.fit(ratings) is model

    @pytest.mark.parametrize("bias", [False, True])
    def test_learns_what_was_asked_for(self, ratings, bias):
        model = scf.MatrixFactorization(3, bias=bias, solver_options=SHORT, random_state=0)
        model.fit(ratings)
        assert model.user_factors_.shape == (5, 3)
        assert model.item_factors_.shape == (4, 3)
        assert [b is None for b in (model.user_bias_, model.item_bias_)] == [not bias] * 2
        assert model.user_ids_.tolist() == ratings.user_ids.tolist()
        assert model.item_ids_.tolist() == ratings.item_ids.tolist()

    @pytest.mark.parametrize("solver", ["sgd", "grg", "varpro"])
    def test_training_helps(self, ratings, solver):
        model = scf.MatrixFactorization(2, solver=solver, random_state=0).fit(ratings)
        assert model.rmse(ratings) < model.history_["train_rmse"].iloc[0] / 2
        # Solvers may add up the squares in another order.
        last = model.history_["train_rmse"].iloc[-1]
        assert last == pytest.approx(model.rmse(ratings), rel=1e-12)
        assert last == model.result_.rmse_after

    @pytest.mark.parametrize("solver", ["sgd", "grg", "varpro"])
    def test_same_seed_same_bits(self, ratings, solver):
        settings = {"solver": solver, "bias": True}
        one, two, other = (
            scf.MatrixFactorization(2, random_state=seed, **settings).fit(ratings).parameters_
            for seed in (5, 5, 6)
        )
        assert one.equals(two)
        assert not one.equals(other)

    def test_init_scale(self, ratings):
        # One epoch with next to no learning leaves the start, uniform(0, init_scale).
        options = scf.SGDOptions(n_epochs=1, learning_rate=1e-12)
        for scale in (0.01, 3.0):
            model = scf.MatrixFactorization(
                20, init_scale=scale, solver_options=options, random_state=0
            ).fit(ratings)
            assert 0.9 * scale < model.user_factors_.max() < 1.001 * scale

    def test_history_of_sgd(self, ratings):
        history = scf.MatrixFactorization(2, solver_options=SHORT).fit(ratings).history_
        assert history.columns.tolist() == [
            "epoch",
            "train_rmse",
            "valid_rmse",
            "learning_rate",
            "seconds",
        ]
        assert history["epoch"].tolist() == [0, 1, 2, 3, 4, 5]

    def test_history_of_grg(self, ratings):
        options = scf.SolverOptions(iterations=3)
        model = scf.MatrixFactorization(2, solver="grg", solver_options=options).fit(ratings)
        columns = ["iteration", "train_rmse", "step", "gradient_norm", "seconds"]
        assert model.history_.columns.tolist() == columns
        assert model.history_["iteration"].tolist() == [0, 1, 2, 3]

    @pytest.mark.parametrize(
        ("solver", "number"), [("sgd", "epoch"), ("grg", "iteration"), ("varpro", "iteration")]
    )
    def test_callback(self, ratings, solver, number):
        model = scf.MatrixFactorization(2, solver=solver, random_state=0)
        model.fit(ratings, callback=lambda row: row[number] == 2)
        assert model.history_[number].tolist() == [0, 1, 2]

    def test_a_failed_fit_leaves_the_model_as_it_was(self, model, ratings):
        before = model.parameters_
        model.solver_options = scf.SGDOptions(learning_rate=1e6)
        with pytest.raises(scf.DivergenceError):
            model.fit(ratings)
        assert model.parameters_ is before


class TestSettings:
    @pytest.mark.parametrize("wrong", ["adam", "SGD", None, ["sgd"]])
    def test_unknown_solver(self, wrong):
        with pytest.raises(
            ValueError, match=r"^`solver` must be one of sgd, grg, varpro, als, vb, got "
        ) as caught:
            scf.MatrixFactorization(solver=wrong)
        assert str(caught.value).endswith(repr(wrong))

    @pytest.mark.parametrize(
        ("solver", "options", "message"),
        [
            ("sgd", scf.SolverOptions(), "must be SGDOptions, got SolverOptions"),
            ("grg", scf.SGDOptions(), "must be SolverOptions, got SGDOptions"),
            ("varpro", scf.SolverOptions(), "must be VarproOptions, got SolverOptions"),
            ("sgd", {"n_epochs": 3}, "must be SGDOptions, got dict"),
        ],
    )
    def test_options_of_another_solver(self, solver, options, message):
        with pytest.raises(TypeError, match=f"^`solver_options` for solver '{solver}' {message}$"):
            scf.MatrixFactorization(solver=solver, solver_options=options)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"n_factors": 0}, "`n_factors` must be >= 1, got 0"),
            ({"init_scale": 0.0}, r"`init_scale` must be > 0, got 0\.0"),
        ],
    )
    def test_senseless_numbers(self, settings, message):
        with pytest.raises(ValueError, match=f"^{message}$"):
            scf.MatrixFactorization(**settings)

    def test_repr_shows_all_settings(self):
        model = scf.MatrixFactorization(3, bias=True, init_scale=0.1, random_state=7)
        again = eval(repr(model), vars(scf).copy())
        assert vars(again) == vars(model)

    @pytest.mark.parametrize(
        ("seed", "message"),
        [
            ("x", "`random_state` must be a whole number or a Generator, got 'x'"),
            (True, "`random_state` must be a whole number or a Generator, got True"),
            (-1, "`random_state` must be >= 0, got -1"),
        ],
    )
    def test_a_seed_that_is_none(self, seed, message):
        with pytest.raises((TypeError, ValueError), match=f"^{message}$"):
            scf.MatrixFactorization(random_state=seed)

    def test_an_array_without_stars(self):
        with pytest.raises(TypeError, match=r"^`ratings` must be Ratings, a table .* got ndarray$"):
            scf.MatrixFactorization().fit(np.zeros((3, 2)))


class TestPredict:
    def test_by_id(self, model, ratings):
        for u, user in enumerate(ratings.user_ids):
            for i, item in enumerate(ratings.item_ids):
                expected = model.user_factors_[u] @ model.item_factors_[i]
                assert model.predict(user, item) == pytest.approx(expected, rel=1e-14)

    def test_ids_broadcast(self, model, ratings):
        table = model.predict(ratings.user_ids[:, None], ratings.item_ids)
        np.testing.assert_allclose(table, model.user_factors_ @ model.item_factors_.T, rtol=1e-14)
        one_user = model.predict(int(ratings.user_ids[2]), ratings.item_ids.tolist())
        np.testing.assert_array_equal(one_user, table[2])

    def test_text_ids(self, ratings):
        ratings = named(ratings)
        model = scf.MatrixFactorization(2, solver_options=SHORT, random_state=0).fit(ratings)
        expected = model.user_factors_[1] @ model.item_factors_[3]
        assert model.predict("Úser 1", "Movie, the 3th") == pytest.approx(expected, rel=1e-14)

    def test_an_unknown_id_is_named(self, model):
        with pytest.raises(ValueError, match=r"^user id 101 is not among the 5 known users"):
            model.predict([100, 101, 102], 7000)
        with pytest.raises(ValueError, match=r"^item id 7001 is not among the 4 known items"):
            model.predict(100, [7000, 7001])

    def test_an_unknown_text_id_is_named(self, ratings):
        model = scf.MatrixFactorization(2, solver_options=SHORT).fit(named(ratings))
        with pytest.raises(ValueError, match=r"^user id 'Nobody' is not among the 5 known users"):
            model.predict("Nobody", "Movie, the 3th")

    @pytest.mark.parametrize(
        "use",
        [
            lambda model, ratings: model.predict(100, 7000),
            lambda model, ratings: model.rmse(ratings),
            lambda model, ratings: model.parameters_for(ratings),
            lambda model, ratings: model.user_factors_,
            lambda model, ratings: model.item_bias_,
            lambda model, ratings: model.save("model.npz"),
        ],
        ids=["predict", "rmse", "parameters_for", "user_factors_", "item_bias_", "save"],
    )
    def test_before_fit(self, ratings, use, tmp_path):
        with pytest.raises(ValueError, match=r"^this model is not fitted yet: call fit"):
            use(scf.MatrixFactorization(), ratings)
        assert list(tmp_path.iterdir()) == []


class TestParametersFor:
    def test_ids_in_another_order(self, ratings):
        model = scf.MatrixFactorization(2, bias=True, solver_options=SHORT).fit(ratings)
        table = ratings.to_crosstab()
        turned = scf.Ratings.from_crosstab(table.iloc[::-1, ::-1])
        parameters = model.parameters_for(turned)
        np.testing.assert_array_equal(parameters.user_factors, model.user_factors_[::-1])
        np.testing.assert_array_equal(parameters.item_factors, model.item_factors_[::-1])
        np.testing.assert_array_equal(parameters.user_bias, model.user_bias_[::-1])
        np.testing.assert_array_equal(parameters.item_bias, model.item_bias_[::-1])
        # The same ratings, only written down in another order.
        assert model.rmse(turned) == pytest.approx(model.rmse(ratings), rel=1e-14)

    def test_some_of_the_ids(self, model, ratings):
        some = scf.Ratings(
            ratings.user_ids[[3, 1]], ratings.item_ids[[2]], [0, 1], [0, 0], [4.0, 2.0]
        )
        parameters = model.parameters_for(some)
        np.testing.assert_array_equal(parameters.user_factors, model.user_factors_[[3, 1]])
        np.testing.assert_array_equal(parameters.item_factors, model.item_factors_[[2]])
        # RMSE by hand: the errors of two predictions.
        e = model.predict(some.user_ids, some.item_ids[0]) - [4.0, 2.0]
        assert model.rmse(some) == pytest.approx(np.sqrt((e[0] ** 2 + e[1] ** 2) / 2), rel=1e-14)

    def test_a_new_user(self, model, ratings):
        stranger = scf.Ratings(np.array([1]), ratings.item_ids, [0], [0], [4.0])
        with pytest.raises(ValueError, match=r"^user id 1 is not among the 5 known users"):
            model.rmse(stranger)


class TestFromParameters:
    def test_predicts_with_them(self, ratings):
        theta = scf.Parameters.random(5, 4, 3, bias=True, random_state=1)
        model = scf.MatrixFactorization.from_parameters(ratings, theta)
        assert model.parameters_.equals(theta)
        assert model.rmse(ratings) == objective.rmse(ratings, theta)
        assert (model.n_factors, model.bias, len(model.history_)) == (3, True, 0)

    def test_of_another_table(self, ratings):
        with pytest.raises(ValueError, match=r"Parameters\(4 users, 5 items, .* do not fit"):
            scf.MatrixFactorization.from_parameters(ratings, scf.Parameters.random(4, 5))

    def test_saved_and_loaded(self, ratings, tmp_path):
        theta = scf.Parameters.random(5, 4, 3, random_state=1)
        scf.MatrixFactorization.from_parameters(ratings, theta).save(tmp_path / "m.npz")
        loaded = scf.MatrixFactorization.load(tmp_path / "m.npz")
        assert loaded.parameters_.equals(theta)
        assert loaded.history_.columns.tolist() == ["epoch", "train_rmse", "seconds"]


class TestSaveAndLoad:
    @pytest.mark.parametrize("ids", [numbered, named])
    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize(
        ("solver", "options"),
        [
            ("sgd", scf.SGDOptions(n_epochs=3, learning_rate=0.01, batch_size=3, reg=0.1)),
            ("grg", scf.SolverOptions(convergence=0.001, iterations=3, max_time=9.5)),
            ("varpro", scf.VarproOptions(convergence=1e-3, reg=0.1, iterations=4, max_time=9.5)),
        ],
    )
    def test_bit_for_bit(self, tmp_path, solver, options, bias, ids):
        ratings = ids(reference.problem(5, 4, 2, rated=0.7)[0])
        model = scf.MatrixFactorization(
            2, bias=bias, solver=solver, solver_options=options, init_scale=0.7, random_state=3
        ).fit(ratings)
        model.save(tmp_path / "model.npz")
        loaded = scf.MatrixFactorization.load(tmp_path / "model.npz")
        assert loaded.parameters_.equals(model.parameters_)
        for name in ("user_ids_", "item_ids_"):
            assert getattr(loaded, name).tolist() == getattr(model, name).tolist()
            assert getattr(loaded, name).dtype == getattr(model, name).dtype
        assert repr(loaded) == repr(model)  # all settings
        pd.testing.assert_frame_equal(loaded.history_, model.history_, check_exact=True)
        assert loaded.rmse(ratings) == model.rmse(ratings)
        # A loaded model can be trained again, to the same bits.
        assert loaded.fit(ratings).parameters_.equals(model.parameters_)

    def test_constraints(self, ratings, tmp_path):
        # Cells by name and by matrix, values as numbers and as arrays, with infinity.
        matrix = np.zeros((2, 18))
        matrix[0, 0] = matrix[1, 5] = 1.0
        limits = np.full((5, 4), 4.5)
        limits[2, 1] = np.inf
        options = scf.SolverOptions(
            to="value_of",
            value=1.0,
            non_negative=True,
            search="conjugate",
            iterations=2,
            constraints=[
                scf.Constraint("user_norms", "<=", 3),
                scf.Constraint("predictions", "<=", limits),
                scf.Constraint(matrix, "=", [0.5, 0.25]),
            ],
        )
        model = scf.MatrixFactorization(2, solver="grg", solver_options=options, random_state=0)
        model.fit(ratings).save(tmp_path / "m.npz")
        loaded = scf.MatrixFactorization.load(tmp_path / "m.npz")
        assert repr(loaded) == repr(model)
        read = loaded.solver_options.constraints
        assert isinstance(read, tuple)
        assert (read[0].cells, read[0].relation, read[0].value) == ("user_norms", "<=", 3.0)
        assert (read[1].cells, read[1].relation) == ("predictions", "<=")
        np.testing.assert_array_equal(read[1].value, limits)
        np.testing.assert_array_equal(read[2].cells, matrix)
        assert read[2].relation == "="
        np.testing.assert_array_equal(read[2].value, [0.5, 0.25])
        # A loaded model can be trained again, under the same constraints.
        assert loaded.fit(ratings).parameters_.equals(model.parameters_)

    def test_a_constraint_on_a_function_is_not_stored(self, ratings, tmp_path):
        # Code is not stored; the constraints beside it are.
        options = scf.SolverOptions(
            iterations=2,
            constraints=[
                scf.Constraint(lambda theta: theta.user_factors.sum(), "<=", 9),
                scf.Constraint("item_norms", "<=", 5),
            ],
        )
        model = scf.MatrixFactorization(2, solver="grg", solver_options=options, random_state=0)
        model.fit(ratings).save(tmp_path / "m.npz")
        (read,) = scf.MatrixFactorization.load(tmp_path / "m.npz").solver_options.constraints
        assert repr(read) == "Constraint(item_norms <= 5)"

    def test_varpro_options(self, ratings, tmp_path):
        options = scf.VarproOptions(
            convergence=1e-5, reg=0.25, hessian="gauss_newton", population_size=11, random_seed=3
        )
        model = scf.MatrixFactorization(
            2, solver="varpro", solver_options=options, random_state=0
        ).fit(ratings)
        model.save(tmp_path / "m.npz")
        assert scf.MatrixFactorization.load(tmp_path / "m.npz").solver_options == options

    def test_the_history_of_many_starts(self, ratings, tmp_path):
        options = scf.SolverOptions(multistart=True, population_size=10, iterations=2)
        model = scf.MatrixFactorization(2, solver="grg", solver_options=options, random_state=0)
        model.fit(ratings).save(tmp_path / "m.npz")
        loaded = scf.MatrixFactorization.load(tmp_path / "m.npz")
        assert loaded.history_.columns.tolist() == ["search", "train_rmse", "seconds"]
        pd.testing.assert_frame_equal(loaded.history_, model.history_, check_exact=True)

    def test_the_name_is_kept(self, model, tmp_path):
        # numpy.savez would add ".npz" by itself.
        model.save(str(tmp_path / "model"))
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
        assert scf.MatrixFactorization.load(tmp_path / "model").parameters_.equals(
            model.parameters_
        )

    def test_a_seed_of_numpys_own(self, ratings, tmp_path):
        model = scf.MatrixFactorization(2, solver_options=SHORT, random_state=np.int64(4))
        model.fit(ratings).save(tmp_path / "m.npz")
        assert scf.MatrixFactorization.load(tmp_path / "m.npz").random_state == 4

    def test_a_generator_is_not_stored(self, ratings, tmp_path):
        rng = np.random.default_rng(0)
        model = scf.MatrixFactorization(2, solver_options=SHORT, random_state=rng).fit(ratings)
        model.save(tmp_path / "m.npz")
        assert scf.MatrixFactorization.load(tmp_path / "m.npz").random_state is None

    def test_settings_that_are_numpys_own_numbers(self, ratings, tmp_path):
        options = scf.SGDOptions(n_epochs=np.int64(3), learning_rate=np.float32(0.01))
        model = scf.MatrixFactorization(2, solver_options=options).fit(ratings)
        model.save(tmp_path / "m.npz")
        assert scf.MatrixFactorization.load(tmp_path / "m.npz").solver_options == options

    def test_ids_from_a_pandas_column(self, ratings, tmp_path):
        # pandas gives text as Python objects, which NumPy would have to pickle.
        ratings = scf.Ratings(
            pd.Series(["a", "b", "c", "d", "e"]).unique(),
            pd.Series(["w", "x", "y", "z"]).unique(),
            ratings.user_idx,
            ratings.item_idx,
            ratings.rating,
        )
        model = scf.MatrixFactorization(2, solver_options=SHORT).fit(ratings)
        model.save(tmp_path / "m.npz")
        loaded = scf.MatrixFactorization.load(tmp_path / "m.npz")
        assert loaded.predict("b", "x") == model.predict("b", "x")

    def test_nothing_is_left_behind(self, model, tmp_path):
        model.save(tmp_path / "m.npz")
        model.save(tmp_path / "m.npz")
        assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]

    def test_a_failure_leaves_the_old_file(self, model, ratings, tmp_path, monkeypatch):
        model.save(tmp_path / "m.npz")
        before = (tmp_path / "m.npz").read_bytes()

        def disk_full(file, **arrays):
            file.write(b"half a fi")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "savez_compressed", disk_full)
        with pytest.raises(OSError, match="No space left"):
            model.fit(ratings).save(tmp_path / "m.npz")
        assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]
        assert (tmp_path / "m.npz").read_bytes() == before

    def test_a_folder_that_does_not_exist(self, model, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist"):
            model.save(tmp_path / "nowhere" / "m.npz")


class Trap:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


class TestLoadRefuses:
    def refuses(self, path):
        with pytest.raises(ValueError, match=r"is not a model saved by shallow_cf$") as caught:
            scf.MatrixFactorization.load(path)
        assert path.name in str(caught.value)

    def write(self, path, **arrays):
        """A saved model's arrays with some of them changed; None leaves one out."""
        ratings = reference.problem(5, 4, 2)[0]
        model = scf.MatrixFactorization(2, solver_options=SHORT, random_state=0).fit(ratings)
        model.save(path)
        with np.load(path) as file:
            whole = dict(file) | arrays
        np.savez(path, **{name: a for name, a in whole.items() if a is not None})

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            scf.MatrixFactorization.load(tmp_path / "no.npz")

    def test_text(self, tmp_path):
        (tmp_path / "m.npz").write_text("userId,movieId,rating\n1,2,3\n")
        self.refuses(tmp_path / "m.npz")

    def test_an_empty_file(self, tmp_path):
        (tmp_path / "m.npz").write_bytes(b"")
        self.refuses(tmp_path / "m.npz")

    def test_an_array(self, tmp_path):
        np.save(tmp_path / "m.npy", np.zeros(3))
        self.refuses(tmp_path / "m.npy")

    def test_other_arrays(self, tmp_path):
        np.savez(tmp_path / "m.npz", weights=np.zeros(3))
        self.refuses(tmp_path / "m.npz")

    def test_an_archive_of_something_else(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
            archive.writestr("hello.txt", "hello")
        self.refuses(tmp_path / "m.npz")

    def test_a_pickle_is_not_run(self, tmp_path):
        trap = np.array([Trap(tmp_path / "sprung")], dtype=object)
        # The trap works: whoever loads it with pickle allowed is caught.
        buffer = io.BytesIO()
        np.save(buffer, trap, allow_pickle=True)
        buffer.seek(0)
        np.load(buffer, allow_pickle=True)
        assert (tmp_path / "sprung").exists()
        (tmp_path / "sprung").unlink()
        # In each place in turn, even where the name is one of ours.
        for name in ("settings", "user_ids", "user_factors", "history", "more"):
            self.write(tmp_path / "m.npz", **{name: trap})
            self.refuses(tmp_path / "m.npz")
            assert not (tmp_path / "sprung").exists()

    def test_a_bare_pickle_is_not_run(self, tmp_path):
        (tmp_path / "m.npz").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
        self.refuses(tmp_path / "m.npz")
        assert not (tmp_path / "sprung").exists()

    def test_a_later_version(self, model, tmp_path):
        settings = {"version": 99}
        self.write(tmp_path / "m.npz", settings=np.array(json.dumps(settings)))
        with pytest.raises(ValueError, match=r"m\.npz was saved by a later version of shallow_cf$"):
            scf.MatrixFactorization.load(tmp_path / "m.npz")

    @pytest.mark.filterwarnings("ignore::ResourceWarning")  # the next test is about that
    def test_a_truncated_file(self, model, tmp_path):
        model.save(tmp_path / "m.npz")
        whole = (tmp_path / "m.npz").read_bytes()
        for length in range(0, len(whole), 97):
            (tmp_path / "m.npz").write_bytes(whole[:length])
            self.refuses(tmp_path / "m.npz")

    def test_a_truncated_file_is_closed(self, model, tmp_path):
        # Windows cannot replace or delete a file that someone still holds open.
        model.save(tmp_path / "m.npz")
        (tmp_path / "m.npz").write_bytes((tmp_path / "m.npz").read_bytes()[:-50])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.refuses(tmp_path / "m.npz")
            gc.collect()
        assert [str(warning.message) for warning in caught] == []

    def test_a_damaged_file(self, model, tmp_path):
        # One byte flipped: either it does not matter, or the file is refused.
        model.save(tmp_path / "m.npz")
        whole = (tmp_path / "m.npz").read_bytes()
        for position in range(0, len(whole), 7):
            damaged = bytearray(whole)
            damaged[position] ^= 0xFF
            (tmp_path / "m.npz").write_bytes(damaged)
            try:
                loaded = scf.MatrixFactorization.load(tmp_path / "m.npz")
            except ValueError:
                self.refuses(tmp_path / "m.npz")
            else:
                assert loaded.parameters_.equals(model.parameters_)

    @pytest.mark.parametrize(
        "arrays",
        [
            {"settings": np.array("{}")},
            {"settings": np.array("[]")},
            {"settings": np.array('{"version": "1"}')},
            {"history": None},
            {"user_ids": None},
            {"user_factors": None},
            {"user_ids": np.arange(3)},
            {"item_ids": np.arange(8)},
            {"user_factors": np.zeros((5, 7))},
            {"item_factors": np.array([["a", "b"]] * 4)},
        ],
        ids=lambda arrays: next(f"{name}={a!r}" for name, a in arrays.items())[:40],
    )
    def test_parts_missing_or_not_fitting(self, tmp_path, arrays):
        self.write(tmp_path / "m.npz", **arrays)
        with pytest.raises(ValueError, match=r"m\.npz"):
            scf.MatrixFactorization.load(tmp_path / "m.npz")

    @pytest.mark.parametrize(
        "setting", [{"n_factors": 7}, {"bias": True}, {"solver": "lbfgs"}, {"random_state": -1}]
    )
    def test_settings_that_do_not_fit(self, tmp_path, setting):
        self.write(tmp_path / "m.npz")
        with np.load(tmp_path / "m.npz") as file:
            settings = json.loads(str(file["settings"])) | setting
        self.write(tmp_path / "m.npz", settings=np.array(json.dumps(settings)))
        self.refuses(tmp_path / "m.npz")

    def test_numbers_that_are_none(self, tmp_path):
        self.write(tmp_path / "m.npz", user_factors=np.full((5, 2), np.nan))
        self.refuses(tmp_path / "m.npz")


def test_a_fit_without_a_solution_warns(ratings):
    options = scf.SolverOptions(
        constraints=[
            scf.Constraint("user_factors", ">=", 1), scf.Constraint("user_factors", "<=", 0)
        ]
    )  # fmt: skip
    model = scf.MatrixFactorization(2, solver="grg", solver_options=options, random_state=0)
    with pytest.warns(RuntimeWarning, match="allow no feasible solution"):
        model.fit(ratings)
    assert model.result_.code == 20
