"""Training a model as time passes: validation, checkpoints, new users, scikit-learn's tools."""

import datetime
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import reference
from scipy import sparse

import shallow_cf as scf

OPTIONS = scf.SGDOptions(
    n_epochs=6,
    learning_rate=0.05,
    batch_size=7,
    loss="mse",
    optimizer=scf.AdamW(weight_decay=0.05),
    schedule=scf.OneCycle(),
)


@pytest.fixture(scope="module")
def ratings():
    return reference.problem(8, 9, 2, rated=0.6)[0]


def parts(ratings, share=0.25, seed=0):
    """Training and validation ratings with the same ids."""
    order = np.random.default_rng(seed).permutation(ratings.n_ratings)
    n = int(share * ratings.n_ratings)
    return ratings.subset(order[n:]), ratings.subset(order[:n])


def model(**settings):
    form = {"bias": True, "rating_range": (0, 5.5), "init": "normal", "init_scale": 0.1}
    return scf.MatrixFactorization(
        3, **{"solver_options": OPTIONS, "random_state": 5} | form | settings
    )


class TestFit:
    def test_starts_where_the_settings_say(self, ratings):
        # A learning rate too small to move anything leaves the start.
        still = scf.SGDOptions(n_epochs=1, learning_rate=1e-300)
        fitted = model(solver_options=still, global_mean=True).fit(ratings)
        drawn = scf.Parameters.random(8, 9, 3, bias=True, init="normal", scale=0.1, random_state=5)
        assert np.array_equal(fitted.parameters_.pack(), drawn.pack())
        assert fitted.parameters_.global_mean == ratings.rating.mean()
        assert fitted.parameters_.rating_range == (0, 5.5)

    def test_history(self, ratings):
        train, valid = parts(ratings)
        history = model().fit(train, valid=valid).history_
        assert history.columns.tolist() == [
            "epoch", "train_rmse", "valid_rmse", "learning_rate", "seconds",
        ]  # fmt: skip
        fitted = model().fit(train)
        assert history.valid_rmse.iloc[-1] == pytest.approx(fitted.rmse(valid), rel=1e-12)
        assert fitted.history_.valid_rmse.isna().all()
        assert history.train_rmse.tolist() == fitted.history_.train_rmse.tolist()

    def test_validation_ratings_under_ids_of_their_own(self, ratings):
        train, valid = parts(ratings)
        alone = scf.Ratings.from_frame(valid.to_frame())  # fewer ids, other indices
        assert alone.n_users * alone.n_items < valid.n_users * valid.n_items
        ours = model().fit(train, valid=alone).history_.valid_rmse
        assert ours.tolist() == pytest.approx(
            model().fit(train, valid=valid).history_.valid_rmse.tolist(), rel=1e-12
        )

    def test_patience_takes_the_best_epoch(self, ratings):
        train, valid = parts(ratings)
        options = scf.SGDOptions(n_epochs=400, learning_rate=0.05, batch_size=8, patience=3)
        fitted = scf.MatrixFactorization(3, solver_options=options, random_state=0)
        fitted.fit(train, valid=valid)
        best = fitted.history_.valid_rmse
        assert len(best) - 1 - best.idxmin() == 3
        assert fitted.rmse(valid) == pytest.approx(best.min(), rel=1e-12)
        assert fitted.result_.message == "Stopped early: no better validation RMSE in 3 epochs."

    @pytest.mark.parametrize("solver", ["grg", "varpro"])
    def test_solvers_of_the_spreadsheet(self, ratings, solver, tmp_path):
        with pytest.raises(ValueError, match=r"without `rating_range`: use solver 'sgd' for that"):
            scf.MatrixFactorization(solver=solver, rating_range=(0, 5))
        with pytest.raises(ValueError, match=r"use solver 'sgd' or 'als' or 'vb' for that"):
            scf.MatrixFactorization(solver=solver, global_mean=True)
        other = scf.MatrixFactorization(solver=solver)
        with pytest.raises(ValueError, match=r"takes no `valid`: 'sgd' or 'als' or 'vb' does"):
            other.fit(ratings, valid=ratings)
        with pytest.raises(ValueError, match=r"takes no `checkpoint`: 'sgd' does"):
            other.fit(ratings, checkpoint=tmp_path / "run.npz")
        with pytest.raises(ValueError, match=r"takes no `map`: 'als' or 'vb' does"):
            other.fit(ratings, map=map)

    def test_ratings_without_measure(self):
        pairs, stars = [[1, 1], [1, 2]], [1e300, 3]
        with pytest.raises(ValueError, match="or the ratings, are so large"):
            model(rating_range=None).fit(pairs, stars)

    def test_a_callback_that_cannot_be_called(self, ratings):
        with pytest.raises(TypeError, match=r"^`callback` must be a function, got 3$"):
            model().fit(ratings, callback=3)

    def test_patience_without_validation_ratings(self, ratings):
        options = scf.SGDOptions(patience=3)
        with pytest.raises(ValueError, match="`patience` needs validation ratings: pass `valid`"):
            scf.MatrixFactorization(solver_options=options).fit(ratings)

    def test_validation_ratings_of_another_type(self, ratings, tmp_path):
        message = r"^`valid` must be Ratings \(see Ratings.from_frame\), got DataFrame$"
        with pytest.raises(TypeError, match=message):
            model().fit(ratings, valid=ratings.to_frame(), checkpoint=tmp_path / "run.npz")
        with pytest.raises(TypeError, match=message):
            model().fit(ratings).partial_fit(ratings, valid=ratings.to_frame())

    def test_an_unknown_user_among_the_validation_ratings(self, ratings):
        valid = scf.Ratings([77], [0], [0], [0], [3.0])
        with pytest.raises(ValueError, match="user id 77 is not among the 8 known users"):
            model().fit(ratings, valid=valid)


class TestLearningRate:
    def test_training_with_the_suggestion_goes_well(self, ratings):
        ours = model(rating_range=None)
        found = ours.lr_find(ratings)
        assert found.table.columns.tolist() == ["learning_rate", "loss"]
        assert not hasattr(ours, "parameters_")
        history = ours.set_params(solver_options__learning_rate=found.suggestion).fit(ratings)
        assert history.history_.train_rmse.iloc[-1] < 0.8 * history.history_.train_rmse.iloc[0]
        again = model(rating_range=None).lr_find(ratings)
        assert again.suggestion == found.suggestion

    def test_of_a_solver_without_one(self, ratings):
        with pytest.raises(ValueError, match="solver 'grg' has no learning rate"):
            scf.MatrixFactorization(solver="grg").lr_find(ratings)


class TestForms:
    """Ratings in whatever form they are at hand give the same model."""

    def test_pairs_tables_and_matrices(self, ratings):
        wanted = model().fit(ratings).parameters_
        frame = ratings.to_frame()
        X, y = frame[["user_id", "item_id"]], frame["rating"]
        for arguments in [(frame,), (X, y), (X.to_numpy(), y.to_numpy()), (ratings.to_sparse(),)]:
            assert model().fit(*arguments).parameters_.equals(wanted)

    def test_predict_pairs(self, ratings):
        fitted = model().fit(ratings)
        frame = ratings.to_frame()
        X = frame[["user_id", "item_id"]]
        wanted = fitted.predict(frame.user_id, frame.item_id)
        for pairs in (X, X.to_numpy(), X.to_numpy().tolist()):
            assert np.array_equal(fitted.predict(pairs), wanted)
        with pytest.raises(ValueError, match="one table with two columns"):
            fitted.predict([1, 2, 3])

    def test_more_users_than_items(self, ratings):
        message = (
            r"^`user_ids` and `item_ids` must be of one length .* got shapes \(2,\) and \(3,\)$"
        )
        with pytest.raises(ValueError, match=message):
            model().fit(ratings).predict([1, 2], [1, 2, 3])

    def test_numbers_beside_texts(self):
        pairs, stars = [["ann", 1], ["ann", 2], ["bob", 1]], [3, 4, 5]
        fitted = model().fit(pairs, stars)
        wanted = fitted.predict(["ann", "ann", "bob"], [1, 2, 1])
        for same in (pairs, np.array(pairs, dtype=object), pd.DataFrame(pairs)):
            assert np.array_equal(fitted.predict(same), wanted)

    def test_stars_twice(self, ratings):
        # Such as validation ratings that were passed without their name.
        with pytest.raises(TypeError, match=r"^`y` must be left out with Ratings, got Ratings$"):
            model().fit(ratings, ratings)
        with pytest.raises(TypeError, match=r"^`y` must be left out with a sparse matrix"):
            model().fit(ratings.to_sparse(), [3.0])

    def test_neither(self):
        with pytest.raises(TypeError, match=r"^`ratings` must be Ratings, a table .* got list$"):
            model().fit([1, 2])


class TestUnknownIds:
    def test_error(self, ratings):
        with pytest.raises(ValueError, match="item id 99 is not among the 9 known items"):
            model().fit(ratings).predict(0, 99)

    def test_mean_is_the_average_user(self, ratings):
        fitted = model(unknown="mean", rating_range=None).fit(ratings)
        theta = fitted.parameters_
        slow = (
            theta.user_factors.mean(axis=0) @ theta.item_factors[2]
            + theta.user_bias.mean()
            + theta.item_bias[2]
        )
        stars = fitted.predict([0, 99], [2, 2])
        assert stars == pytest.approx([theta.predict(0, 2), slow], rel=1e-14)
        # Without a squashing sigmoid that is the mean of what all users would give.
        assert stars[1] == pytest.approx(theta.predict_all()[:, 2].mean(), rel=1e-13)
        both = fitted.predict(99, 99)
        assert both == pytest.approx(theta.predict_all().mean(), rel=1e-13)

    def test_nan(self, ratings):
        fitted = model(unknown="nan").fit(ratings)
        stars = fitted.predict([0, 99, 0], [2, 2, 99])
        assert np.isnan(stars).tolist() == [False, True, True]
        assert stars[0] == fitted.parameters_.predict(0, 2)

    @pytest.mark.parametrize("unknown", ["mean", "nan"])
    def test_ids_of_another_type(self, ratings, unknown):
        fitted = model(unknown=unknown).fit(ratings)
        for ids in ("1", ["1", "2"], [1, "new"], pd.Series(["1"])):
            with pytest.raises(ValueError, match=r"^user ids such as '1' are of another type"):
                fitted.predict(ids, 2)
        mixed = np.array([1, "new"], dtype=object)
        assert fitted.predict(mixed, 2)[0] == fitted.parameters_.predict(1, 2)
        assert fitted.predict([], []).shape == (0,)
        texts = model(unknown=unknown).fit([["ann", "a"], ["bob", "b"]], [3, 4])
        with pytest.raises(ValueError, match=r"such as 7 are of another type .* such as 'a'$"):
            texts.predict("ann", 7)

    def test_no_such_way(self):
        with pytest.raises(ValueError, match="`unknown` must be one of error, mean, nan"):
            model(unknown="zero")


class TestPartialFit:
    def test_before_fit_is_fit(self, ratings):
        assert model().partial_fit(ratings).parameters_.equals(model().fit(ratings).parameters_)

    def test_goes_on_from_where_it_was(self, ratings):
        fitted = model().fit(ratings)
        before = fitted.rmse(ratings)
        fitted.partial_fit(ratings)
        assert fitted.history_.train_rmse.iloc[0] == pytest.approx(before, rel=1e-12)
        assert fitted.rmse(ratings) < before

    def test_takes_new_users_and_items_in(self, ratings):
        fitted = model().fit(ratings)
        old = fitted.parameters_
        new = scf.Ratings([100, 3], [50, 4], [0, 0, 1], [0, 1, 1], [5.0, 4.0, 0.5])
        fitted.partial_fit(new)
        assert fitted.user_ids_.tolist() == [*range(8), 100]
        assert fitted.item_ids_.tolist() == [*range(9), 50]
        untouched = np.setdiff1d(np.arange(8), [3])
        assert np.array_equal(fitted.user_factors_[untouched], old.user_factors[untouched])
        assert not np.array_equal(fitted.user_factors_[3], old.user_factors[3])
        assert fitted.history_.train_rmse.iloc[-1] < fitted.history_.train_rmse.iloc[0]
        assert fitted.rmse(new) == pytest.approx(fitted.history_.train_rmse.iloc[-1], rel=1e-12)
        # What it was fitted on is both, the later stars where a pair was rated again.
        frame = fitted.ratings_.to_frame().set_index(["user_id", "item_id"]).rating
        assert (frame[100, 50], frame[100, 4], frame[3, 4]) == (5.0, 4.0, 0.5)
        assert len(frame) == ratings.n_ratings + (
            3 if (3, 4) not in ratings.to_frame().set_index(["user_id", "item_id"]).index else 2
        )
        assert fitted.ratings_.user_ids.tolist() == fitted.user_ids_.tolist()

    def test_ids_of_another_type(self, ratings):
        fitted = model().fit(ratings)
        new = scf.Ratings(["ann"], [0], [0], [0], [3.0])
        with pytest.raises(ValueError, match="user ids such as 'ann' are of another type"):
            fitted.partial_fit(new)
        assert fitted.user_ids_.tolist() == list(range(8))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"n_factors": 7}, r"^`n_factors` must be 3, as this model was fitted with, got 7: "),
            ({"bias": False}, r"^`bias` must be True, .* got False: "),
            ({"global_mean": True}, r"^`global_mean` must be False, .* got True: "),
            (
                {"rating_range": (0, 6)},
                r"^`rating_range` must be \(0.0, 5.5\), .* got \(0.0, 6.0\)",
            ),
        ],
    )
    def test_settings_of_another_form(self, ratings, settings, message, tmp_path):
        fitted = model().fit(ratings).set_params(**settings)
        before = fitted.parameters_
        with pytest.raises(ValueError, match=message):
            fitted.partial_fit(ratings)
        assert fitted.parameters_ is before
        with pytest.raises(ValueError, match=message):  # and not a file that cannot be loaded
            fitted.save(tmp_path / "m.npz")
        assert not list(tmp_path.iterdir())

    def test_interrupted_after_the_training(self, ratings, monkeypatch):
        def interrupted(*arguments):
            raise KeyboardInterrupt

        fitted = model().fit(ratings)
        before = dict(vars(fitted))
        monkeypatch.setattr("shallow_cf.estimator.overlaid", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fitted.partial_fit([[100, 50]], [4.0])
        assert all(vars(fitted)[name] is value for name, value in before.items())

    def test_bounds_go_with_their_users(self, ratings):
        # User 1 is left out, 100 comes: as many users as bounds, which are of others.
        highest = np.linspace(-0.4, 0.4, 8)
        options = scf.SolverOptions(constraints=scf.Constraint("user_bias", "<=", highest))
        fitted = scf.MatrixFactorization(
            2, bias=True, solver="grg", solver_options=options, random_state=0
        ).fit(ratings)
        others = ratings.to_frame().query("user_id not in (0, 1, 2)")
        fitted.partial_fit(others)
        assert (fitted.user_bias_ <= highest + 1e-12).all()
        swapped = ratings.to_frame().query("user_id != 1")
        new = pd.DataFrame({"user_id": [100], "item_id": [0], "rating": [5.0]})
        with pytest.raises(ValueError, match=r"user_bias <= .* must be one number or fit \(9,\)"):
            fitted.partial_fit(pd.concat([swapped, new]))


class TestCheckpoints:
    @pytest.mark.parametrize(
        "rule",
        ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"],
    )
    def test_resumed_to_the_same_bits(self, ratings, tmp_path, rule):
        train, valid = parts(ratings)
        options = scf.SGDOptions(
            6, 0.01, 7, reg=0.1, loss="mse", optimizer=rule, schedule="onecycle"
        )
        whole = model(solver_options=options).fit(train, valid=valid)
        path = tmp_path / "run.npz"
        cut = model(solver_options=options).fit(
            train, valid=valid, checkpoint=path, callback=lambda row: row["epoch"] == 3
        )
        assert len(cut.history_) == 4
        resumed = scf.MatrixFactorization.resume(path, train, valid=valid)
        assert resumed.parameters_.equals(whole.parameters_)
        same = [column for column in whole.history_ if column != "seconds"]
        pd.testing.assert_frame_equal(
            resumed.history_[same], whole.history_[same], check_exact=True
        )
        assert resumed.history_.seconds.is_monotonic_increasing
        assert resumed.get_params() == whole.get_params()

    def test_every_few_epochs_and_at_the_end(self, ratings, tmp_path):
        path, seen = tmp_path / "run.npz", []

        def look(row):
            seen.append(
                len(scf.MatrixFactorization.load(path).history_) - 1 if path.exists() else 0
            )

        model().fit(ratings, checkpoint=path, checkpoint_every=4, callback=look)
        assert seen == [0, 0, 0, 4, 4, 6]

    def test_no_place_for_it_is_said_before_training(self, ratings, tmp_path):
        def never(row):
            raise AssertionError("trained")

        with pytest.raises(FileNotFoundError, match=r"^the folder .*gone does not exist$"):
            model().fit(ratings, checkpoint=tmp_path / "gone" / "run.npz", callback=never)
        with pytest.raises(IsADirectoryError, match=r"is a folder, not a file$"):
            model().fit(ratings, checkpoint=tmp_path, callback=never)

    def test_a_checkpoint_is_a_model(self, ratings, tmp_path):
        path = tmp_path / "run.npz"
        fitted = model().fit(ratings, checkpoint=path)
        loaded = scf.MatrixFactorization.load(path)
        assert loaded.parameters_.equals(fitted.parameters_)
        assert loaded.predict(1, 1) == fitted.predict(1, 1)

    def test_settings_of_few_bits(self, ratings, tmp_path):
        options = scf.SGDOptions(
            np.int8(6), np.float32(0.01), np.uint8(7), np.float32(0.1), schedule="onecycle"
        )
        assert all(not isinstance(value, np.generic) for value in vars(options).values())
        whole = model(solver_options=options).fit(ratings)
        path = tmp_path / "run.npz"
        model(solver_options=options).fit(
            ratings, checkpoint=path, callback=lambda row: row["epoch"] == 2
        )
        resumed = scf.MatrixFactorization.resume(path, ratings)
        assert resumed.parameters_.equals(whole.parameters_)
        assert resumed.solver_options == options

    def test_with_patience(self, ratings, tmp_path):
        train, valid = parts(ratings)
        options = scf.SGDOptions(400, 0.05, 8, patience=3)
        settings = {"solver_options": options, "rating_range": None}
        whole = model(**settings).fit(train, valid=valid)
        path = tmp_path / "run.npz"
        model(**settings).fit(
            train, valid=valid, checkpoint=path, callback=lambda row: row["epoch"] == 2
        )
        resumed = scf.MatrixFactorization.resume(path, train, valid=valid)
        assert resumed.parameters_.equals(whole.parameters_)
        assert resumed.result_.message == whole.result_.message

    def test_other_ratings_are_refused(self, ratings, tmp_path):
        train, valid = parts(ratings)
        path = tmp_path / "run.npz"
        model().fit(train, valid=valid, checkpoint=path)
        with pytest.raises(ValueError, match=r"run\.npz was made with other ratings than these"):
            scf.MatrixFactorization.resume(path, ratings, valid=valid)
        with pytest.raises(ValueError, match="was made with other validation ratings than these"):
            scf.MatrixFactorization.resume(path, train)

    def test_a_finished_model_is_no_checkpoint(self, ratings, tmp_path):
        model().fit(ratings).save(tmp_path / "m.npz")
        with pytest.raises(ValueError, match=r"m\.npz is a finished model, not a checkpoint"):
            scf.MatrixFactorization.resume(tmp_path / "m.npz", ratings)

    def test_another_kind_of_random_generator(self, ratings, tmp_path):
        def rng():
            return np.random.Generator(np.random.MT19937(3))

        whole = model(random_state=rng()).fit(ratings)
        path = tmp_path / "run.npz"
        model(random_state=rng()).fit(
            ratings, checkpoint=path, callback=lambda row: row["epoch"] == 2
        )
        resumed = scf.MatrixFactorization.resume(path, ratings)
        assert resumed.parameters_.equals(whole.parameters_)


class TestForeignFiles:
    """What stands in a file may be a stranger's: it is refused before anything is done with it."""

    @pytest.fixture
    def parts_of_file(self, ratings, tmp_path):
        path = tmp_path / "run.npz"
        model().fit(ratings, checkpoint=path, callback=lambda row: row["epoch"] == 2)
        with np.load(path) as file:
            arrays = dict(file)
        return path, json.loads(str(arrays.pop("settings"))), arrays

    def refused(self, parts_of_file, ratings):
        path, settings, arrays = parts_of_file
        np.savez(path, settings=np.array(json.dumps(settings)), **arrays)
        with pytest.raises(ValueError, match=r"^run\.npz is not a model saved by shallow_cf$"):
            scf.MatrixFactorization.resume(path, ratings)

    @pytest.mark.parametrize(
        "training",
        [
            None,
            {"ratings": None},
            {"best_epoch": "1"},
            {"best_epoch": 3},
            {"best_epoch": -1},
            {"rng": None},
            {"rng": {"bit_generator": "seed", "state": {}}},
            {"rng": {"bit_generator": "__class__", "state": {}}},
            {"rng": {"bit_generator": "PCG64", "state": {"state": "x", "inc": []}}},
            {"rng": {"bit_generator": "MT19937", "state": {"key": [0] * 624, "pos": 10**6}}},
        ],
    )
    def test_state_of_the_run(self, parts_of_file, ratings, training):
        settings = parts_of_file[1]
        if training is None:
            settings["training"] = []
        elif training == {"ratings": None}:
            del settings["training"]["ratings"]
        else:
            settings["training"] |= training
        self.refused(parts_of_file, ratings)

    @pytest.mark.parametrize(
        "name", ["theta", "best_theta", "memory.mean", "memory.squares", "memory.mean_weight"]
    )
    def test_arrays_of_the_run(self, parts_of_file, ratings, name):
        path, settings, arrays = parts_of_file
        wrong = [np.zeros(3), np.zeros((2, 2)), arrays[name] * np.nan, arrays[name].astype(str)]
        for array in wrong:
            self.refused((path, settings, arrays | {name: array}), ratings)
        self.refused((path, settings, {k: v for k, v in arrays.items() if k != name}), ratings)

    def test_history(self, parts_of_file, ratings):
        path, settings, arrays = parts_of_file
        for history in (np.zeros((0, 5)), arrays["history"][1:], arrays["history"].astype(str)):
            self.refused((path, settings, arrays | {"history": history}), ratings)
        settings["history_columns"][0] = "era"
        self.refused(parts_of_file, ratings)

    def test_ids_that_stand_twice(self, ratings, tmp_path):
        path = tmp_path / "m.npz"
        model().fit(ratings).save(path, ratings=False)
        with np.load(path) as file:
            arrays = dict(file)
        for ids in (np.zeros(8, int), np.arange(8)[:, None]):
            np.savez(path, **arrays | {"user_ids": ids})
            with pytest.raises(ValueError, match=r"^m\.npz is not a model saved by shallow_cf$"):
                scf.MatrixFactorization.load(path)


class TestSavedModels:
    @pytest.mark.parametrize(
        "ids",
        [
            [10, -3, 2**60],
            ["", "Zoë", "=1+1"],
            [datetime.datetime(2026, 1, day, 3, 4, 5) for day in (1, 2, 3)],
        ],
    )
    def test_ids_of_any_type(self, ids, tmp_path):
        known = scf.Ratings(np.array(ids), np.array(ids), [0, 1, 2], [2, 0, 1], [1.0, 2.0, 3.0])
        fitted = model().fit(known)
        fitted.save(tmp_path / "m.npz")
        loaded = scf.MatrixFactorization.load(tmp_path / "m.npz")
        assert loaded.user_ids_.tolist() == ids
        assert loaded.predict(ids[1], ids[2]) == fitted.predict(ids[1], ids[2])
        assert loaded.ratings_.equals(known)

    def test_mean_range_and_settings(self, ratings, tmp_path):
        fitted = model(global_mean=True, unknown="mean").fit(ratings)
        fitted.save(tmp_path / "m.npz")
        loaded = scf.MatrixFactorization.load(tmp_path / "m.npz")
        assert loaded.parameters_.equals(fitted.parameters_)
        assert loaded.get_params() == fitted.get_params()
        assert loaded.fit(ratings).parameters_.equals(fitted.parameters_)

    def test_without_ratings(self, ratings, tmp_path):
        fitted = model().fit(ratings)
        fitted.save(tmp_path / "m.npz", ratings=False)
        loaded = scf.MatrixFactorization.load(tmp_path / "m.npz")
        assert loaded.ratings_ is None
        assert loaded.predict(1, 1) == fitted.predict(1, 1)

    def test_a_file_of_the_first_version(self, ratings, tmp_path):
        # Version 1 had no mean, range, init and unknown, and stored no ratings.
        fitted = scf.MatrixFactorization(2, bias=True, random_state=0).fit(ratings)
        fitted.save(tmp_path / "m.npz", ratings=False)
        with zipfile.ZipFile(tmp_path / "m.npz") as file:
            assert not any(name.startswith("rating") for name in file.namelist())
        with np.load(tmp_path / "m.npz") as file:
            arrays = dict(file)
        settings = json.loads(str(arrays["settings"])) | {"version": 1}
        for name in ("parameters", "global_mean", "rating_range", "init", "unknown"):
            del settings[name]
        for name in ("loss", "optimizer", "schedule", "patience"):
            del settings["solver_options"][name]
        arrays["settings"] = np.array(json.dumps(settings))
        np.savez(tmp_path / "old.npz", **arrays)
        loaded = scf.MatrixFactorization.load(tmp_path / "old.npz")
        assert loaded.parameters_.equals(fitted.parameters_)
        assert repr(loaded) == repr(fitted)

    def test_a_rule_of_ones_own_cannot_be_saved(self, ratings, tmp_path):
        class Lion(scf.SGD):
            pass

        own = model(solver_options=scf.SGDOptions(2, 0.01, optimizer=Lion())).fit(ratings)
        with pytest.raises(ValueError, match=r"`optimizer` must be one of sgd, .* got 'lion'$"):
            own.save(tmp_path / "m.npz")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
    def test_damaged(self, ratings, tmp_path, where):
        path = tmp_path / "m.npz"
        model().fit(ratings, checkpoint=path)
        content = bytearray(path.read_bytes())
        place = int(where * len(content))
        content[place : place + 40] = bytes(40)
        path.write_bytes(content)
        for read in (
            scf.MatrixFactorization.load,
            lambda p: scf.MatrixFactorization.resume(p, ratings),
        ):
            with pytest.raises(ValueError, match=r"^m\.npz is not a model saved by shallow_cf$"):
                read(path)

    def test_cut_short_at_any_length(self, ratings, tmp_path):
        path = tmp_path / "m.npz"
        model().fit(ratings).save(path)
        whole = path.read_bytes()
        for length in range(0, len(whole), 101):
            path.write_bytes(whole[:length])
            with pytest.raises(ValueError, match=r"^m\.npz is not a model saved by shallow_cf$"):
                scf.MatrixFactorization.load(path)


class TestScikitLearn:
    """scikit-learn's tools work on the model; the package itself does without it."""

    @pytest.fixture
    def pairs(self):
        frame = reference.planted(20, 15, 2, rated=0.8)[0].to_frame()
        return frame[["user_id", "item_id"]].to_numpy(), frame["rating"].to_numpy()

    def test_clone(self):
        base = pytest.importorskip("sklearn.base")
        ours = model(unknown="mean")
        clone = base.clone(ours)
        assert clone is not ours
        assert repr(clone) == repr(ours)

    def test_cross_val_score(self, pairs):
        selection = pytest.importorskip("sklearn.model_selection")
        options = scf.SGDOptions(60, 0.05, 16)
        ours = scf.MatrixFactorization(
            2, bias=True, solver_options=options, unknown="mean", random_state=0
        )
        folds = selection.KFold(3, shuffle=True, random_state=0)
        scores = selection.cross_val_score(ours, *pairs, cv=folds)
        assert scores.min() > 0.5  # R squared
        errors = selection.cross_val_score(
            ours, *pairs, cv=folds, scoring="neg_root_mean_squared_error"
        )
        train, test = next(folds.split(pairs[0]))
        by_hand = ours.fit(pairs[0][train], pairs[1][train]).predict(pairs[0][test])
        assert -errors[0] == pytest.approx(np.sqrt(np.mean((by_hand - pairs[1][test]) ** 2)))

    def test_grid_search(self, pairs):
        selection = pytest.importorskip("sklearn.model_selection")
        search = selection.GridSearchCV(
            scf.MatrixFactorization(unknown="mean", random_state=0),
            {"n_factors": [1, 2], "solver_options__n_epochs": [1, 40]},
            cv=3,
        )
        search.fit(*pairs)
        assert search.best_params_["solver_options__n_epochs"] == 40
        assert search.best_estimator_.solver_options.n_epochs == 40
        assert search.predict(pairs[0][:3]).shape == (3,)

    @pytest.mark.parametrize("name", ["bias", "global_mean"])
    def test_a_text_is_no_switch(self, name):
        with pytest.raises(TypeError, match=f"^`{name}` must be True or False, got 'no'$"):
            scf.MatrixFactorization(**{name: "no"})
        with pytest.raises(TypeError, match=r"^`non_negative` must be True or False, got 'no'$"):
            scf.SolverOptions(non_negative="no")
        assert scf.MatrixFactorization(**{name: np.True_}).get_params()[name] is True

    def test_settings_by_name(self):
        ours = model()
        settings = ours.get_params()
        assert settings["n_factors"] == 3
        assert settings["solver_options__learning_rate"] == 0.05
        assert "solver_options__reg" not in ours.get_params(deep=False)
        assert ours.set_params(n_factors=7, solver_options__reg=0.2) is ours
        assert (ours.n_factors, ours.solver_options.reg) == (7, 0.2)
        assert ours.solver_options.optimizer == OPTIONS.optimizer
        other = scf.MatrixFactorization().set_params(solver="grg")
        assert other.solver_options == scf.SolverOptions()

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"depth": 3}, "there is no setting 'depth'; known: n_factors, bias"),
            ({"solver_options__depth": 3}, "there is no setting 'solver_options__depth'"),
            ({"n_factors": 0}, "`n_factors` must be >= 1, got 0"),
            ({"solver_options__reg": -1}, "`reg` must be >= 0, got -1"),
        ],
    )
    def test_bad_settings_change_nothing(self, settings, message):
        ours = model()
        before = repr(ours)
        with pytest.raises(ValueError, match=message):
            ours.set_params(init_scale=0.7, **settings)
        assert repr(ours) == before

    def test_score_is_the_explained_share_of_the_variance(self, ratings):
        metrics = pytest.importorskip("sklearn.metrics")
        fitted = model().fit(ratings)
        frame = ratings.to_frame()
        wanted = metrics.r2_score(frame.rating, fitted.predict(frame.user_id, frame.item_id))
        assert fitted.score(ratings) == pytest.approx(wanted, rel=1e-12)

    def test_no_variance_to_explain(self, ratings):
        fitted = model().fit(ratings)
        with pytest.raises(ValueError, match=r"must have ratings that differ .* got 1 of [0-9.]+"):
            fitted.score(ratings.subset([0]))
        with pytest.raises(ValueError, match=r"got 3 of 0\.1: see `rmse`$"):
            fitted.score([[0, 1], [0, 2], [1, 1]], [0.1, 0.1, 0.1])

    def test_sparse_in(self, ratings):
        matrix = sparse.coo_array(ratings.to_sparse())
        assert model().fit(matrix).n_factors == 3
