"""Ratings: triplets, the crosstab, the top users and items, and what is refused.

The property tests draw small tables at random and compare with a slow loop over a
dictionary ``{(user, item): [stars, in the order of the file]}``.
"""

import datetime
import decimal
import pickle
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import shallow_cf as scf
from shallow_cf._ids import index_ids, index_of
from shallow_cf._pairs import repeats, sorted_pairs

quick = settings(deadline=None, max_examples=30)

NAMES = ("user_ids", "item_ids", "user_idx", "item_idx", "rating")


def frame(users, items, stars):
    return pd.DataFrame({"user_id": users, "item_id": items, "rating": stars})


def small():
    """Users 7 and 9, items 1, 2 and 5; user 9 did not rate item 2."""
    return scf.Ratings.from_frame(
        frame([9, 7, 7, 9, 7], [5, 2, 1, 1, 5], [4.5, 3.0, 5.0, 2.0, 0.5])
    )


def pairs(ratings):
    """Ratings as {(user id, item id): stars}, whatever the order inside."""
    table = ratings.to_frame()
    return dict(zip(zip(table.user_id, table.item_id, strict=True), table.rating, strict=True))


# --- what hypothesis draws -------------------------------------------------------------

whole_ids = st.integers(min_value=-(2**63), max_value=2**63 - 1) | st.integers(1, 9)
# Any text but NUL, which NumPy drops from the end of a string.
text_ids = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=5)
stars = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def tables(draw, ids, stars=stars, repeats=False):
    """Rows (user, item, stars); a pair twice only with `repeats`."""
    row = st.tuples(ids, ids, stars)
    unique = None if repeats else lambda row: row[:2]
    return draw(st.lists(row, min_size=1, max_size=25, unique_by=unique))


@st.composite
def crosstabs(draw):
    """Ratings in which some users and items may have no rating at all."""
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    cells = [(u, i) for u in range(n_users) for i in range(n_items)]
    rated = draw(st.lists(st.sampled_from(cells), min_size=1, unique=True))
    values = draw(st.lists(stars, min_size=len(rated), max_size=len(rated)))
    ids = st.sampled_from((whole_ids, text_ids)).flatmap(
        lambda one: st.lists(one, min_size=6, max_size=6, unique=True)
    )
    u, i = zip(*rated, strict=True)
    return scf.Ratings(np.array(draw(ids)[:n_users]), np.array(draw(ids)[:n_items]), u, i, values)


# --- from a table with one rating a row ------------------------------------------------


class TestFromFrame:
    def test_ids_ascend_and_ratings_are_sorted_by_user_and_item(self):
        ratings = small()
        assert ratings.user_ids.tolist() == [7, 9]
        assert ratings.item_ids.tolist() == [1, 2, 5]
        assert ratings.user_idx.tolist() == [0, 0, 0, 1, 1]
        assert ratings.item_idx.tolist() == [0, 1, 2, 0, 2]
        assert ratings.rating.tolist() == [5.0, 3.0, 0.5, 2.0, 4.5]
        assert (ratings.n_users, ratings.n_items, ratings.n_ratings) == (2, 3, 5)
        assert len(ratings) == 5
        assert repr(ratings) == "Ratings(2 users x 3 items, 5 ratings)"

    def test_any_column_names_and_further_columns(self):
        table = pd.DataFrame({"when": [1, 2], "who": ["b", "a"], "film": [8, 8], "*": [3, 4]})
        ratings = scf.Ratings.from_frame(table, user="who", item="film", rating="*")
        assert pairs(ratings) == {("b", 8): 3.0, ("a", 8): 4.0}

    def test_columns_may_have_names_that_are_no_text(self):
        table = pd.DataFrame([[9, 5, 4.0]])  # columns 0, 1, 2
        assert pairs(scf.Ratings.from_frame(table, user=0, item=1, rating=2)) == {(9, 5): 4.0}

    def test_the_index_of_the_frame_does_not_matter(self):
        table = small().to_frame()
        for index in ([5, 5, 5, 5, 5], list("edcba"), pd.RangeIndex(10, 15)):
            assert scf.Ratings.from_frame(table.set_axis(index)).equals(small())

    @quick
    @given(tables(whole_ids) | tables(text_ids), st.randoms())
    def test_the_order_of_rows_does_not_matter(self, rows, random):
        ratings = scf.Ratings.from_frame(frame(*zip(*rows, strict=True)))
        assert pairs(ratings) == {(user, item): value for user, item, value in rows}
        random.shuffle(rows)
        assert scf.Ratings.from_frame(frame(*zip(*rows, strict=True))).equals(ratings)

    @pytest.mark.parametrize(
        ("ids", "expected"),
        [
            ([10, 9], [9, 10]),
            ([10.0, 9.0], [9, 10]),  # what pandas makes of whole numbers beside a blank
            (pd.array([10, 9], dtype="Int64"), [9, 10]),
            (pd.Categorical([10, 9]), [9, 10]),
            (np.array([10, 9], dtype=np.uint8), [9, 10]),
            (pd.Series([10, 9], dtype=object), [9, 10]),
            (["10", "9"], ["10", "9"]),  # text stays text, in the order of text
            (pd.Categorical(["b", "a"]), ["a", "b"]),
            ([10, "nine"], ["10", "nine"]),
            (["7", "007"], ["007", "7"]),
            # Beyond 64 bits, or only just within unsigned ones: text, not another number.
            (np.array([2**64 - 1, 3], dtype=np.uint64), ["18446744073709551615", "3"]),
            (pd.Series([2**70, 3], dtype=object), ["1180591620717411303424", "3"]),
        ],
    )
    def test_kinds_of_ids(self, ids, expected):
        ratings = scf.Ratings.from_frame(frame(ids, [1, 1], [3, 4]))
        assert ratings.user_ids.tolist() == expected
        assert ratings.user_ids.dtype.kind == ("i" if isinstance(expected[0], int) else "U")

    def test_one_id_in_two_spellings_is_one_user(self):
        # In a column of mixed type 1 and "1" become the same text, so this pair stands twice.
        with pytest.raises(ValueError, match=r"^row 1: user '1' rated item 5 more than once"):
            scf.Ratings.from_frame(frame([1, "1"], [5, 5], [3, 4]))

    @pytest.mark.parametrize(
        "values",
        [
            pd.array([3.5, 4], dtype="Float64"),
            np.array([3.5, 4], dtype=np.float16),
            ["3.5", "4"],
            [decimal.Decimal("3.5"), 4],
            pd.Categorical([3.5, 4]),
        ],
    )
    def test_kinds_of_stars(self, values):
        ratings = scf.Ratings.from_frame(frame([1, 2], [1, 1], values))
        assert ratings.rating.dtype == np.float64
        assert ratings.rating.tolist() == [3.5, 4.0]

    def test_stars_in_32_bits_stay_so(self):
        values = np.array([3.5, 4.1], dtype=np.float32)
        ratings = scf.Ratings.from_frame(frame([1, 2], [1, 1], values))
        assert ratings.rating.dtype == np.float32
        assert np.array_equal(ratings.rating, values)


class TestFromFrameRefuses:
    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            ("n/a", "'n/a'"),
            ("", "''"),
            ("3,5", "'3,5'"),
            (None, "a blank"),
            (pd.NA, "a blank"),
            (pd.NaT, "a blank"),
            (np.nan, "a blank"),
            (np.inf, "inf"),
            (np.float64(-np.inf), "-inf"),
            (True, "True"),
            (np.True_, "True"),
            ([3], r"\[3\]"),
            (pd.Timestamp("2020-01-02"), r"Timestamp\('2020-01-02 00:00:00'\)"),
            ("x" * 900, r"'x{56}\.\.\."),
        ],
    )
    def test_a_rating_that_is_no_finite_number(self, value, shown):
        expected = f"^row 1: rating must be a finite number, got {shown}$"
        for column in (pd.Series([3, value, 4]), pd.Series([3, value, 4], dtype=object)):
            with pytest.raises(ValueError, match=expected):
                scf.Ratings.from_frame(frame([1, 2, 3], [1, 1, 1], column))

    @pytest.mark.parametrize(
        ("column", "shown"),
        [
            (pd.Series([True, False]), "True"),
            (pd.array([None, True], dtype="boolean"), "a blank"),
            (pd.Series([1 + 2j, 3]), r"\(1\+2j\)"),
            (pd.to_datetime(["2020-01-02", "2020-01-03"]), r"Timestamp\(.*\)"),
            (pd.to_timedelta([1, 2]), r"Timedelta\(.*\)"),
        ],
    )
    def test_a_column_that_holds_no_stars(self, column, shown):
        with pytest.raises(ValueError, match=f"^row 0: rating must be a finite .* got {shown}$"):
            scf.Ratings.from_frame(frame([1, 2], [1, 1], column))

    @pytest.mark.parametrize(
        ("ids", "message"),
        [
            ([5, 5, None], "row 2: user id is missing"),
            (["a", "a", None], "row 2: user id is missing"),
            (pd.array([5, 5, None], dtype="Int64"), "row 2: user id is missing"),
            ([1.0, 1.0, 1.5], "row 2: user id must be a whole number or text, got 1.5"),
            ([1.0, 1.0, np.inf], "row 2: user id must be a whole number or text, got inf"),
            ([1.0, 1.0, 1e20], r"row 2: user id must be a whole number or text, got 1e\+20"),
        ],
    )
    def test_ids(self, ids, message):
        with pytest.raises(ValueError, match=f"^{message}$"):
            scf.Ratings.from_frame(frame(ids, [1, 2, 3], [3, 4, 5]))
        with pytest.raises(ValueError, match=f"^{message.replace('user', 'item')}$"):
            scf.Ratings.from_frame(frame([1, 2, 3], ids, [3, 4, 5]))

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            (pd.DataFrame(), "column 'user_id' is missing; found: no columns"),
            (
                pd.DataFrame({"user_id": [1], "movie": [2], "rating": [3]}),
                "column 'item_id' is missing; found: user_id, movie, rating",
            ),
            (
                pd.DataFrame(columns=["user_id", *range(20)]),
                "column 'item_id' is missing; "
                "found: user_id, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 9 more",
            ),
            (
                pd.DataFrame([[1, 2, 2, 3]], columns=["user_id", "item_id", "item_id", "rating"]),
                "column 'item_id' must be there once, found 2 of that name",
            ),
            (frame([], [], []), "there are no ratings"),
        ],
    )
    def test_tables(self, table, message):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            scf.Ratings.from_frame(table)

    def test_what_is_no_table(self):
        with pytest.raises(TypeError, match=r"^`frame` must be a pandas DataFrame, got dict$"):
            scf.Ratings.from_frame({"user_id": [1], "item_id": [2], "rating": [3]})


# --- duplicates ------------------------------------------------------------------------


class TestDuplicates:
    """One user, one item, more than one rating: which is meant?"""

    table = frame([2, 1, 2, 1, 2], [5, 5, 5, 6, 5], [3.0, 1.0, 4.0, 2.0, 3.5])

    def test_error_names_the_pair_and_the_first_row_that_repeats(self):
        expected = (
            "^row 2: user 2 rated item 5 more than once; duplicates='mean' or 'last' accepts that$"
        )
        with pytest.raises(ValueError, match=expected):
            scf.Ratings.from_frame(self.table)

    def test_the_first_repeat_in_the_file_is_named_not_the_lowest_id(self):
        table = frame([9, 9, 1, 1], [1, 1, 1, 1], [3, 3, 3, 3])
        with pytest.raises(ValueError, match=r"^row 1: user 9 rated item 1 more than once"):
            scf.Ratings.from_frame(table)

    def test_mean(self):
        ratings = scf.Ratings.from_frame(self.table, duplicates="mean")
        assert pairs(ratings) == {(1, 5): 1.0, (1, 6): 2.0, (2, 5): 3.5}

    def test_last(self):
        ratings = scf.Ratings.from_frame(self.table, duplicates="last")
        assert pairs(ratings) == {(1, 5): 1.0, (1, 6): 2.0, (2, 5): 3.5}
        backwards = scf.Ratings.from_frame(self.table[::-1], duplicates="last")
        assert pairs(backwards) == {(1, 5): 1.0, (1, 6): 2.0, (2, 5): 3.0}

    # Quarter stars add up without rounding, so the means must agree to the last bit.
    @quick
    @given(tables(st.integers(1, 3), st.integers(-20, 20).map(lambda n: n / 4), repeats=True))
    def test_against_a_slow_loop(self, rows):
        seen = {}
        for user, item, value in rows:
            seen.setdefault((user, item), []).append(value)
        table = frame(*zip(*rows, strict=True))
        mean = scf.Ratings.from_frame(table, duplicates="mean")
        last = scf.Ratings.from_frame(table, duplicates="last")
        assert pairs(mean) == {pair: sum(values) / len(values) for pair, values in seen.items()}
        assert pairs(last) == {pair: values[-1] for pair, values in seen.items()}
        if len(seen) == len(rows):
            assert scf.Ratings.from_frame(table).equals(mean)
        else:
            with pytest.raises(ValueError, match=r"more than once; duplicates='mean'"):
                scf.Ratings.from_frame(table)

    def test_another_word(self):
        expected = r"^`duplicates` must be one of error, mean, last, got 'first'$"
        with pytest.raises(ValueError, match=expected):
            scf.Ratings.from_frame(self.table, duplicates="first")


# --- when ------------------------------------------------------------------------------


def timed():
    """As `small`, with timestamps 50, 20, 10, 90, 70 in the order of its rows."""
    table = frame([9, 7, 7, 9, 7], [5, 2, 1, 1, 5], [4.5, 3.0, 5.0, 2.0, 0.5])
    return scf.Ratings.from_frame(table.assign(when=[50, 20, 10, 90, 70]), timestamp="when")


class TestTimestamp:
    def test_sorted_with_the_triplets(self):
        assert timed().timestamp.tolist() == [10, 20, 70, 90, 50]
        assert timed().timestamp.dtype == np.int64
        assert not timed().timestamp.flags.writeable
        assert small().timestamp is None

    def test_there_and_back(self):
        table = timed().to_frame()
        assert table["timestamp"].tolist() == [10, 20, 70, 90, 50]
        assert scf.Ratings.from_frame(table, timestamp="timestamp").equals(timed())
        assert scf.Ratings.from_frame(table).equals(small())
        assert pickle.loads(pickle.dumps(timed())).equals(timed())

    def test_equals(self):
        later = scf.Ratings.from_frame(
            timed().to_frame().assign(timestamp=[10, 20, 70, 90, 51]), timestamp="timestamp"
        )
        assert timed().equals(timed())
        assert not timed().equals(small())
        assert not small().equals(timed())
        assert not timed().equals(later)

    def test_parts_keep_theirs(self):
        assert timed().top(n_items=1).timestamp.tolist() == [10, 90]
        assert timed().subset([4, 1]).timestamp.tolist() == [20, 50]

    def test_duplicates(self):
        table = TestDuplicates.table.assign(when=[30, 1, 20, 2, 10])
        mean = scf.Ratings.from_frame(table, duplicates="mean", timestamp="when")
        last = scf.Ratings.from_frame(table, duplicates="last", timestamp="when")
        assert mean.timestamp.tolist() == [1, 2, 30]  # the latest of 30, 20 and 10
        assert last.timestamp.tolist() == [1, 2, 10]  # the last row's

    @pytest.mark.parametrize(
        "when",
        [
            [0, 1577934245],
            [0.0, 1577934245.0],
            ["0", "1577934245"],
            pd.array([0, 1577934245], dtype="Int64"),
            pd.to_datetime(["1970-01-01 00:00:00.1", "2020-01-02 03:04:05.9"]),
            pd.to_datetime(["1970-01-01 00:00:00", "2020-01-02 03:04:05"]).tz_localize("UTC"),
            pd.to_datetime(["1970-01-01 01:00:00", "2020-01-02 04:04:05"]).tz_localize("Etc/GMT-1"),
            ["1970-01-01", "2020-01-02 03:04:05"],
            ["1970-01-01T00:00:00Z", "2020-01-02T03:04:05+00:00"],
            [datetime.datetime(1970, 1, 1), datetime.datetime(2020, 1, 2, 3, 4, 5)],
            np.array(["1970-01-01T00:00:00", "2020-01-02T03:04:05"], "datetime64[s]"),
        ],
    )
    def test_kinds(self, when):
        table = frame([1, 2], [1, 1], [3, 4]).assign(when=when)
        ratings = scf.Ratings.from_frame(table, timestamp="when")
        assert ratings.timestamp.tolist() == [0, 1577934245]

    def test_days(self):
        days = [datetime.date(1970, 1, 2), datetime.date(2020, 1, 2)]
        table = frame([1, 2], [1, 1], [3, 4]).assign(when=days)
        ratings = scf.Ratings.from_frame(table, timestamp="when")
        assert ratings.timestamp.tolist() == [86400, 1577923200]

    def test_before_1970(self):
        dates = pd.to_datetime(["1969-12-31 23:59:58.5", "1970-01-01 00:00:00.5"])
        table = frame([1, 2], [1, 1], [3, 4]).assign(when=dates)
        assert scf.Ratings.from_frame(table, timestamp="when").timestamp.tolist() == [-2, 0]

    @pytest.mark.parametrize(
        ("when", "shown"),
        [
            ([5, None], "a blank"),
            ([5, 1.5], "1.5"),
            ([5, np.inf], "inf"),
            ([5, "soon"], "'soon'"),
            ([5, "2020-01-02"], "'2020-01-02'"),  # numbers or dates, not both
            (["2020-01-02", "soon"], "'soon'"),
            (pd.to_datetime(["2020-01-02", None]), "a blank"),
            (pd.array([5, None], dtype="Int64"), "a blank"),
            ([5, 1e20], r"1e\+20"),
            (pd.Series([5, True], dtype=object), "True"),
            (np.array([5, 2**64 - 1], dtype=np.uint64), "18446744073709551615"),
        ],
    )
    def test_what_is_no_time(self, when, shown):
        table = frame([1, 2], [1, 1], [3, 4]).assign(when=when)
        rule = "timestamp must be a whole number of seconds or a date"
        with pytest.raises(ValueError, match=f"^row 1: {rule}, got {shown}$"):
            scf.Ratings.from_frame(table, timestamp="when")

    def test_a_missing_column(self):
        with pytest.raises(ValueError, match=r"^column 'when' is missing; found: user_id, item_id"):
            scf.Ratings.from_frame(frame([1], [1], [3]), timestamp="when")

    def test_what_the_constructor_refuses(self):
        arrays = [getattr(small(), name) for name in NAMES]
        with pytest.raises(ValueError, match=r"^`timestamp` must have shape \(5,\), got \(4,\)$"):
            scf.Ratings(*arrays, [1, 2, 3, 4])
        with pytest.raises(TypeError, match=r"seconds since 1970, got float64$"):
            scf.Ratings(*arrays, [1.0, 2, 3, 4, 5])


# --- the order of pairs, and the table of ids --------------------------------------------

int32s = st.integers(0, 5).map(np.int32)


class TestOrder:
    """Against NumPy's own sorts, which take no short cuts."""

    @quick
    @given(st.lists(st.tuples(int32s, int32s), min_size=1, max_size=40), st.booleans())
    def test_of_pairs(self, rows, is_huge):
        u, i = (np.array(column) for column in zip(*rows, strict=True))
        # With so many users and items a pair and its place do not fit into one number.
        sizes = (2**31 - 1, 2**31 - 1) if is_huge else (6, 6)
        order, sorted_u, sorted_i = sorted_pairs(u, i, *sizes)
        expected = np.lexsort((i, u))
        if order is None:
            assert expected.tolist() == list(range(len(u)))
        else:
            assert order.tolist() == expected.tolist()
        assert sorted_u.tolist() == u[expected].tolist()
        assert sorted_i.tolist() == i[expected].tolist()
        pairs = list(zip(sorted_u, sorted_i, strict=True))
        expected = [k > 0 and pair == pairs[k - 1] for k, pair in enumerate(pairs)]
        assert repeats(sorted_u, sorted_i).tolist() == expected

    @pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint8, np.int64, np.uint64])
    @pytest.mark.parametrize("step", [1, 3, 2**40])
    def test_of_ids(self, dtype, step):
        info = np.iinfo(dtype)
        lowest, highest = int(info.min), min(int(info.max), 2**63 - 1)
        values = {lowest, lowest + 1, highest, highest - 1, 5}
        values |= {5 + k * step for k in range(40) if 5 + k * step <= highest}
        for some in (sorted(values), sorted(v for v in values if 0 <= v <= 10**14)):
            column = pd.Series(np.array(some[::-1] + some[:3], dtype))
            ids, index = index_ids(column, "user id", str)
            expected, position = np.unique(column.to_numpy(), return_inverse=True)
            assert ids.tolist() == expected.tolist()
            assert index.tolist() == position.tolist()
            assert (ids.dtype, index.dtype) == (np.int64, np.int32)

    def test_of_more_ids_than_rows_of_a_block(self):
        rng = np.random.default_rng(0)
        X = np.column_stack([rng.permutation(70_000), rng.integers(-9, 9, 70_000)])
        ratings = scf.Ratings.from_arrays(X, np.arange(70_000))
        expected = X[np.lexsort((X[:, 1], X[:, 0]))]
        assert np.array_equal(ratings.to_frame()[["user_id", "item_id"]], expected)


class TestNumberOfIds:
    @pytest.mark.parametrize("kind", ["user", "item"])
    def test_more_than_an_index_can_tell_apart(self, kind):
        ids = {"user": [1], "item": [1]} | {kind: np.broadcast_to(np.int64(0), 2**31)}
        message = rf"^`{kind}_ids` must be fewer than 2\*\*31, got 2147483648$"
        with pytest.raises(ValueError, match=message):
            scf.Ratings(ids["user"], ids["item"], [0], [0], [3.0])


class TestSubset:
    def test_all_ids_are_kept(self):
        part = small().subset([3])
        assert pairs(part) == {(9, 1): 2.0}
        np.testing.assert_array_equal(part.user_ids, small().user_ids)
        np.testing.assert_array_equal(part.item_ids, small().item_ids)

    @quick
    @given(crosstabs(), st.randoms(use_true_random=False))
    def test_is_what_the_constructor_makes(self, ratings, random):
        index = random.sample(range(len(ratings)), random.randint(1, len(ratings)))
        columns = (getattr(ratings, name)[index] for name in ("user_idx", "item_idx", "rating"))
        expected = scf.Ratings(ratings.user_ids, ratings.item_ids, *columns)
        part = ratings.subset(index)
        assert part.equals(expected)
        assert not part.rating.flags.writeable

    def test_by_positions_or_by_a_mask(self):
        mask = small().rating > 2
        assert small().subset(mask).equals(small().subset(np.flatnonzero(mask)[::-1]))
        assert small().subset(np.arange(5)).equals(small())

    @pytest.mark.parametrize(
        ("index", "message"),
        [
            ([5], "`index` must be >= 0 and < 5, got 5"),
            ([-1], "`index` must be >= 0 and < 5, got -1"),
            ([0, 0], "user 7 rated item 1 more than once"),
            ([3, 1, 1, 3], "user 7 rated item 2 more than once"),
            ([], "there are no ratings"),
            (
                [0.5],
                "`index` must be a vector of whole numbers or of True and False, "
                "got float64 of shape (1,)",
            ),
            ([True], "`index` must have shape (5,), got (1,)"),
        ],
    )
    def test_what_is_refused(self, index, message):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            small().subset(index)


# --- dates for ids ---------------------------------------------------------------------


class TestDates:
    days = (datetime.datetime(2020, 1, 3, 4, 5, 6, 7), datetime.datetime(2020, 1, 2))

    @pytest.mark.parametrize(
        "ids",
        [
            list(days),
            pd.Series(days, dtype=object),
            pd.to_datetime(pd.Series(days)),
            np.array(days, dtype="datetime64[us]"),
            np.array(days, dtype="datetime64[ns]"),
            pd.Categorical(days),
        ],
    )
    def test_stay_dates(self, ids):
        ratings = scf.Ratings.from_frame(frame(ids, [1, 1], [3, 4]))
        assert ratings.user_ids.dtype == "datetime64[us]"
        assert ratings.user_ids.tolist() == sorted(self.days)
        assert ratings.rating.tolist() == [4, 3]

    def test_days(self):
        days = [datetime.date(2020, 1, 2), datetime.date(2020, 1, 3)]
        ratings = scf.Ratings.from_frame(frame(days, [1, 1], [3, 4]))
        assert ratings.user_ids.tolist() == [datetime.datetime(2020, 1, d) for d in (2, 3)]
        assert index_of(ratings.user_ids, days[::-1], "user").tolist() == [1, 0]

    @pytest.mark.parametrize(
        "ids",
        [
            [datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2)],
            pd.to_datetime(["2020-01-02", "2020-01-03"]).tz_localize("UTC"),
            pd.to_datetime(["2020-01-02 00:00:00.0", "2020-01-02 00:00:00.000000001"]),
            [datetime.date(2020, 1, 2), "never"],
        ],
    )
    def test_what_becomes_text(self, ids):
        ratings = scf.Ratings.from_frame(frame(ids, [1, 1], [3, 4]))
        assert ratings.user_ids.dtype.kind == "U"
        assert len(ratings.user_ids) == 2

    def test_a_missing_date(self):
        with pytest.raises(ValueError, match=r"^row 1: user id is missing$"):
            scf.Ratings.from_frame(frame([self.days[0], None], [1, 1], [3, 4]))
        with pytest.raises(ValueError, match=r"^ids must be whole numbers of 64 bits, texts or"):
            scf.Ratings(np.array(["NaT"], "datetime64[s]"), [1], [0], [0], [3.0])

    def test_crosstab_there_and_back(self):
        table = pd.DataFrame([[3, 4]], index=[self.days[0]], columns=pd.to_datetime(self.days))
        ratings = scf.Ratings.from_crosstab(table)
        assert ratings.user_ids.dtype == ratings.item_ids.dtype == "datetime64[us]"
        assert scf.Ratings.from_crosstab(ratings.to_crosstab()).equals(ratings)
        assert scf.Ratings.from_frame(ratings.to_frame()).rating.tolist() == [4, 3]

    @pytest.mark.parametrize(
        "wanted",
        [
            days[1],
            datetime.date(2020, 1, 2),
            pd.Timestamp("2020-01-02"),
            np.datetime64("2020-01-02"),
            np.datetime64("2020-01-02", "ns"),
            "2020-01-02",
            "2020-01-02 00:00:00",  # what stands in a workbook
        ],
    )
    def test_looked_up(self, wanted):
        ids = np.array(sorted(self.days), "datetime64[us]")
        assert index_of(ids, wanted, "user") == 0
        assert index_of(ids, [[wanted]], "user").tolist() == [[0]]

    @pytest.mark.parametrize("wanted", ["2020-01-04", "someone", 2020, None, "2020-01-02 00:00:01"])
    def test_unknown(self, wanted):
        ids = np.array(self.days, "datetime64[us]")
        shown = re.escape(repr(wanted))
        expected = f"^user id {shown} is not among .*, such as 2020-01-03 04:05:06.000007$"
        with pytest.raises(ValueError, match=expected):
            index_of(ids, wanted, "user")

    def test_a_pair_twice(self):
        table = frame([self.days[1]] * 2, [5, 5], [3, 4])
        with pytest.raises(ValueError, match=r"^row 1: user 2020-01-02 00:00:00 rated item 5 more"):
            scf.Ratings.from_frame(table)

    def test_a_model_saved_and_a_workbook(self):
        table = frame(sorted(self.days) * 2, [5, 5, 6, 6], [3, 4, 5, 1])
        ratings = scf.Ratings.from_frame(table)
        model = scf.MatrixFactorization(1, solver="grg", random_state=1).fit(ratings)
        model.save("model.npz")
        again = scf.MatrixFactorization.load("model.npz")
        assert again.user_ids_.dtype == "datetime64[us]"
        scf.write_workbook("book.xlsx", ratings, again)
        book = scf.read_workbook("book.xlsx")
        assert book.ratings.user_ids.tolist() == [str(day) for day in sorted(self.days)]
        assert model.parameters_for(book.ratings).equals(model.parameters_)


# --- the crosstab ----------------------------------------------------------------------


class TestCrosstab:
    def test_users_down_items_across_blank_where_unrated(self):
        table = small().to_crosstab()
        assert table.index.tolist() == [7, 9]
        assert table.columns.tolist() == [1, 2, 5]
        np.testing.assert_array_equal(table, [[5.0, 3.0, 0.5], [2.0, np.nan, 4.5]])

    @quick
    @given(crosstabs())
    def test_there_and_back(self, ratings):
        assert scf.Ratings.from_crosstab(ratings.to_crosstab()).equals(ratings)

    @quick
    @given(crosstabs())
    def test_there_and_back_through_one_row_a_rating(self, ratings):
        again = scf.Ratings.from_frame(ratings.to_frame())
        assert pairs(again) == pairs(ratings)
        # Users without a rating stand in no row of the frame, so they cannot come back.
        assert set(again.user_ids) == set(ratings.user_ids[ratings.user_idx])

    def test_the_order_of_ids_is_the_tables_own(self):
        table = pd.DataFrame([[1, 2], [3, 4]], index=["b", "a"], columns=[20, 10])
        ratings = scf.Ratings.from_crosstab(table)
        assert ratings.user_ids.tolist() == ["b", "a"]
        assert ratings.item_ids.tolist() == [20, 10]
        np.testing.assert_array_equal(ratings.to_crosstab(), table)

    def test_users_and_items_without_ratings_are_kept(self):
        table = pd.DataFrame([[3, None], [None, None]], index=[1, 2], columns=[5, 6])
        ratings = scf.Ratings.from_crosstab(table)
        assert repr(ratings) == "Ratings(2 users x 2 items, 1 ratings)"

    def test_the_lessons_pivot(self):
        # What the notebook does: one row a rating -> pd.crosstab -> a table with blanks.
        long = small().to_frame()
        wide = pd.crosstab(long.user_id, long.item_id, long.rating, aggfunc="sum")
        assert scf.Ratings.from_crosstab(wide).equals(small())

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            (
                pd.DataFrame({1: [3, "x"], 2: [4, None]}, index=[5, 6]),
                "user 6, item 1: rating must be a finite number, got 'x'",
            ),
            (
                pd.DataFrame({"Heat": [3, 4], "Ran": [np.inf, 4]}, index=["ann", "bob"]),
                "user 'ann', item 'Ran': rating must be a finite number, got inf",
            ),
            (
                pd.DataFrame({1: [True, None]}, index=[5, 6]),
                "user 5, item 1: rating must be a finite number, got True",
            ),
            (
                pd.DataFrame({1: [3, 4]}, index=[5, 5]),
                "user ids must differ, but 5 is there more than once",
            ),
            (
                pd.DataFrame([[3, 4]], columns=["Heat", "Heat"]),
                "item ids must differ, but 'Heat' is there more than once",
            ),
            (pd.DataFrame({1: [3, 4]}, index=[5, np.nan]), "row 1: user id is missing"),
            (pd.DataFrame([[3, 4]], columns=[5, None]), "column 1: item id is missing"),
            (pd.DataFrame({1: [np.nan, None]}, index=[5, 6]), "there are no ratings"),
            (pd.DataFrame(), "there are no ratings"),
            (
                # A pivot table with a list of values has a level of names more.
                small().to_frame().pivot(index="user_id", columns="item_id", values=["rating"]),
                "`table` must have one level of item ids across, got 2",
            ),
            (
                small().to_frame().set_index(["user_id", "item_id"]),
                "`table` must have one level of user ids down, got 2",
            ),
        ],
    )
    def test_what_is_refused(self, table, message):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            scf.Ratings.from_crosstab(table)

    def test_what_is_no_table(self):
        with pytest.raises(TypeError, match=r"^`table` must be a pandas DataFrame, got ndarray$"):
            scf.Ratings.from_crosstab(np.ones((2, 2)))


# --- arrays and sparse matrices --------------------------------------------------------


class TestFromArrays:
    @pytest.mark.parametrize(
        "X",
        [
            [[9, 5], [7, 2], [7, 1], [9, 1], [7, 5]],
            np.array([[9, 5], [7, 2], [7, 1], [9, 1], [7, 5]], dtype=float),
            np.array([[9, 5], [7, 2], [7, 1], [9, 1], [7, 5]], dtype=object),
            pd.DataFrame({"u": [9, 7, 7, 9, 7], "i": [5, 2, 1, 1, 5]}, index=list("edcba")),
        ],
    )
    @pytest.mark.parametrize("kind", [list, np.array, pd.Series])
    def test_kinds(self, X, kind):
        y = kind([4.5, 3.0, 5.0, 2.0, 0.5])
        assert scf.Ratings.from_arrays(X, y).equals(small())

    def test_ids_of_two_kinds(self):
        ratings = scf.Ratings.from_arrays([["ann", 10], ["bob", 9]], [3, 4])
        assert ratings.user_ids.tolist() == ["ann", "bob"]
        assert ratings.item_ids.tolist() == [9, 10]

    def test_duplicates(self):
        X, y = [[1, 2], [1, 2]], [3, 4]
        assert scf.Ratings.from_arrays(X, y, duplicates="mean").rating.tolist() == [3.5]
        with pytest.raises(ValueError, match=r"^row 1: user 1 rated item 2 more than once"):
            scf.Ratings.from_arrays(X, y)

    @pytest.mark.parametrize(
        ("X", "shape"), [([[1, 2]], "(1, 2)"), ([[1], [2]], "(2, 1)"), ([1, 2], "(2, 1)")]
    )
    def test_shapes(self, X, shape):
        rule = "`X` must have two columns and as many rows as `y`, which has 2, got shape"
        with pytest.raises(ValueError, match=f"^{re.escape(f'{rule} {shape}')}$"):
            scf.Ratings.from_arrays(X, [3, 4])


class TestSparse:
    @quick
    @given(crosstabs(), st.sampled_from(["csr", "csc", "coo", "lil"]))
    def test_there_and_back(self, ratings, kind):
        matrix = ratings.to_sparse()
        assert matrix.shape == (ratings.n_users, ratings.n_items)
        assert matrix.format == "csr"
        # lil drops zeros that are stored, so it is no form for ratings of 0 stars.
        matrix = matrix.asformat(kind if (ratings.rating != 0).all() else "csr")
        again = scf.Ratings.from_sparse(matrix, ratings.user_ids, ratings.item_ids)
        assert again.equals(ratings)

    @quick
    @given(crosstabs())
    def test_is_the_crosstab(self, ratings):
        table = np.nan_to_num(ratings.to_crosstab().to_numpy())
        matrix = ratings.to_sparse()
        matrix.check_format(full_check=True)
        assert np.array_equal(matrix.toarray(), table)
        assert matrix.has_canonical_format
        assert matrix.dtype == np.float64

    def test_a_stored_zero_is_a_rating(self):
        matrix = sparse.coo_array(([0.0, 5.0], ([0, 1], [1, 0])), shape=(2, 3))
        for kind in (sparse.coo_array, sparse.csr_matrix):
            ratings = scf.Ratings.from_sparse(kind(matrix))
            assert pairs(ratings) == {(0, 1): 0.0, (1, 0): 5.0}
            assert ratings.to_sparse().nnz == 2
            assert (ratings.n_users, ratings.n_items) == (2, 3)

    def test_no_ids_no_trouble(self):
        assert pairs(scf.Ratings.from_sparse(small().to_sparse())) == {
            (0, 0): 5.0, (0, 1): 3.0, (0, 2): 0.5, (1, 0): 2.0, (1, 2): 4.5,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("matrix", "ids", "error", "message"),
        [
            (np.eye(2), (), TypeError, "`matrix` must be a SciPy sparse matrix, got ndarray"),
            (
                sparse.csr_array(np.eye(2)),
                ([1, 2, 3],),
                ValueError,
                "`user_ids` and `item_ids` must fit a matrix of shape (2, 2), got 3 and 2 ids",
            ),
            (
                sparse.csr_array(np.eye(2)),
                (None, [1]),
                ValueError,
                "`user_ids` and `item_ids` must fit a matrix of shape (2, 2), got 2 and 1 ids",
            ),
            (
                sparse.coo_array(([3.0, 4.0], ([0, 0], [1, 1])), shape=(2, 2)),
                (),
                ValueError,
                "user 0 rated item 1 more than once",
            ),
            (sparse.csr_array((2, 2)), (), ValueError, "there are no ratings"),
            (
                sparse.coo_array(np.array([1.0, 2.0])),
                (),
                ValueError,
                "`matrix` must have two dimensions, got 1",
            ),
        ],
    )
    def test_what_is_refused(self, matrix, ids, error, message):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            scf.Ratings.from_sparse(matrix, *ids)


# --- top -------------------------------------------------------------------------------


def slow_top(ratings, n_users, n_items):
    """The pairs of the users and items with the most ratings, by counting in a loop."""
    kept = []
    for place, n in ((0, n_users), (1, n_items)):
        count = Counter(pair[place] for pair in pairs(ratings))
        by_count_then_id = sorted(sorted(count), key=lambda one: -count[one])
        kept.append(by_count_then_id[:n])
    return {p: r for p, r in pairs(ratings).items() if p[0] in kept[0] and p[1] in kept[1]}


class TestTop:
    def test_among_equals_the_first_id_is_kept(self):
        # All four users have two ratings; items 10, 20, 30, 40 have 2, 4, 1 and 1.
        table = frame(
            [4, 4, 3, 3, 2, 2, 1, 1],
            [20, 10, 20, 10, 20, 30, 20, 40],
            [1, 2, 3, 4, 5, 1, 2, 3],
        )
        top = scf.Ratings.from_frame(table).top(n_users=3, n_items=3)
        assert top.user_ids.tolist() == [1, 2, 3]
        assert top.item_ids.tolist() == [10, 20, 30]
        assert pairs(top) == {(3, 20): 3, (3, 10): 4, (2, 20): 5, (2, 30): 1, (1, 20): 2}

    def test_counts_are_over_all_ratings_as_in_the_lesson(self):
        # Item 1 has the most ratings, but none from the busiest user.
        table = frame([1, 2, 3, 9, 9, 9, 9], [1, 1, 1, 2, 3, 4, 5], [3] * 7)
        ratings = scf.Ratings.from_frame(table)
        assert ratings.top(n_items=1).n_ratings == 3
        expected = "^the top 1 users rated none of the top 1 items; ask for more of either$"
        with pytest.raises(ValueError, match=expected):
            ratings.top(n_users=1, n_items=1)

    def test_users_left_without_a_rating_are_kept(self):
        table = frame([1, 1, 1, 2, 2, 3], [10, 20, 30, 40, 50, 10], [3] * 6)
        top = scf.Ratings.from_frame(table).top(n_users=2, n_items=2)
        assert top.user_ids.tolist() == [1, 2]  # user 2 rated neither 10 nor 20
        assert pairs(top) == {(1, 10): 3, (1, 20): 3}

    def test_none_keeps_all(self):
        assert small().top().equals(small())
        ratings = small()
        assert ratings.top() is ratings  # 25 million of them are not copied
        assert small().top(n_users=2, n_items=3).equals(small())

    @quick
    @given(tables(st.integers(1, 6), st.sampled_from([1.0, 2.5])), st.data())
    def test_against_a_slow_loop(self, rows, data):
        ratings = scf.Ratings.from_frame(frame(*zip(*rows, strict=True)))
        n_users = data.draw(st.integers(1, ratings.n_users))
        n_items = data.draw(st.integers(1, ratings.n_items))
        expected = slow_top(ratings, n_users, n_items)
        if expected:
            top = ratings.top(n_users, n_items)
            assert pairs(top) == expected
            assert (top.n_users, top.n_items) == (n_users, n_items)
        else:
            with pytest.raises(ValueError, match="rated none of the top"):
                ratings.top(n_users, n_items)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"n_users": 3}, ValueError, "`n_users`: asked for 3 users, but there are only 2"),
            ({"n_items": 16}, ValueError, "`n_items`: asked for 16 items, but there are only 3"),
            ({"n_users": 0}, ValueError, "`n_users` must be >= 1, got 0"),
            ({"n_items": -2}, ValueError, "`n_items` must be >= 1, got -2"),
            ({"n_users": 1.5}, TypeError, "`n_users` must be a whole number, got 1.5"),
            ({"n_users": True}, TypeError, "`n_users` must be a whole number, got True"),
        ],
    )
    def test_bad_numbers(self, arguments, error, message):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            small().top(**arguments)


# --- the class itself ------------------------------------------------------------------


class TestConstructor:
    good = ([7, 9], ["a", "b"], [0, 1], [1, 0], [3.0, 4.0])

    @pytest.mark.parametrize(
        ("place", "value", "message"),
        [
            (0, [7, 7], "user ids must differ, but 7 is there more than once"),
            (1, ["b", "b"], "item ids must differ, but 'b' is there more than once"),
            (0, [[7, 9]], "`user_ids` and `item_ids` must be vectors, got shapes (1, 2) and (2,)"),
            (0, [7.5, 9], "ids must be whole numbers of 64 bits, texts or dates, got [7.5, 9.0]"),
            (
                1,
                np.array([2**64 - 1, 3], dtype=np.uint64),  # as int64 this would be -1
                "ids must be whole numbers of 64 bits, texts or dates, "
                "got [18446744073709551615, 3]",
            ),
            (2, [0, 2], "`user_idx` must be >= 0 and < 2, got 2"),
            (3, [0, -1], "`item_idx` must be >= 0 and < 2, got -1"),
            (0, [], "`user_idx` must be >= 0 and < 0, got 0"),
            (
                4,
                [3.0],
                "`user_idx`, `item_idx` and `rating` must be vectors of one length, "
                "got (2,), (2,) and (1,)",
            ),
            (4, [3.0, np.nan], "`rating` must be finite, got nan"),
            (4, [-np.inf, 3], "`rating` must be finite, got -inf"),
        ],
    )
    def test_what_does_not_fit(self, place, value, message):
        arrays = list(self.good)
        arrays[place] = value
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            scf.Ratings(*map(np.array, arrays))

    def test_text_ids_are_text_not_objects(self):
        # Arrays of Python objects could not be saved safely.
        ratings = scf.Ratings(np.array(["x", "y"], dtype=object), *self.good[1:])
        assert ratings.user_ids.dtype.kind == "U"

    def test_indices_are_whole_numbers(self):
        # NumPy would cut 0.9 to 0 and say nothing.
        with pytest.raises(TypeError, match=r"^`user_idx` must be whole numbers, got float64$"):
            scf.Ratings(*self.good[:2], [0.9, 1.0], *self.good[3:])

    def test_a_pair_twice(self):
        with pytest.raises(ValueError, match=r"^user 9 rated item 'a' more than once$"):
            scf.Ratings(*self.good[:2], [1, 0, 1], [0, 0, 0], [3.0, 4.0, 3.0])

    def test_no_ratings(self):
        with pytest.raises(ValueError, match=r"^there are no ratings$"):
            scf.Ratings(*self.good[:2], [], [], [])

    @pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.int32])
    def test_indices_of_any_width(self, dtype):
        # In eight bits 20 * 20 is -112: the pairs must not be counted in the type they come in.
        n = 20
        u, i = np.divmod(np.arange(n * n), n)
        ids = np.arange(n)
        wide = scf.Ratings(ids, ids, u, i, np.arange(n * n))
        narrow = scf.Ratings(ids, ids, u.astype(dtype), i.astype(dtype), np.arange(n * n))
        assert narrow.equals(wide)
        assert narrow.user_idx.dtype == narrow.item_idx.dtype == np.int32


class TestImmutable:
    def test_arrays_are_read_only(self):
        ratings = small()
        for name in NAMES:
            with pytest.raises(ValueError, match="read-only"):
                getattr(ratings, name)[0] = 1
            with pytest.raises(AttributeError):
                setattr(ratings, name, np.array([1]))

    def test_the_callers_arrays_are_neither_frozen_nor_shared(self):
        # Already sorted, so that a lazy implementation might keep them as they are.
        arrays = {
            "user_ids": np.array([7, 9]),
            "item_ids": np.array([1, 2]),
            "user_idx": np.array([0, 0, 1]),
            "item_idx": np.array([0, 1, 1]),
            "rating": np.array([3.0, 4.0, 5.0]),
        }
        before = {name: array.copy() for name, array in arrays.items()}
        ratings = scf.Ratings(**arrays)
        for name, array in arrays.items():
            assert array.flags.writeable
            np.testing.assert_array_equal(array, before[name])
            array[:] = 0
            np.testing.assert_array_equal(getattr(ratings, name), before[name])

    def test_the_callers_tables_are_not_changed(self):
        long, wide = small().to_frame(), small().to_crosstab()
        kept = long.copy(), wide.copy()
        scf.Ratings.from_frame(long)
        scf.Ratings.from_crosstab(wide)
        pd.testing.assert_frame_equal(long, kept[0])
        pd.testing.assert_frame_equal(wide, kept[1])

    def test_tables_given_out_may_be_changed(self):
        ratings = small()
        long, wide = ratings.to_frame(), ratings.to_crosstab()
        long.loc[0, ["user_id", "rating"]] = 1
        wide.iloc[0, 0] = 1.0
        assert ratings.equals(small())

    def test_pickle(self):
        assert pickle.loads(pickle.dumps(small())).equals(small())


class TestEquals:
    def test_every_array_counts(self):
        ratings = small()
        arrays = {name: np.array(getattr(ratings, name)) for name in NAMES}
        assert ratings.equals(scf.Ratings(**arrays))
        others = {
            "user_ids": [7, 8],
            "item_ids": [1, 2, 6],
            "user_idx": [0, 0, 0, 1, 1],
            "item_idx": [0, 1, 2, 0, 1],
            "rating": np.nextafter(ratings.rating, 9),  # one bit
        }
        for name in ("user_ids", "item_ids", "item_idx", "rating"):
            assert not ratings.equals(scf.Ratings(**arrays | {name: np.array(others[name])}))

    def test_text_and_numbers_differ(self):
        ratings = small()
        text = scf.Ratings.from_frame(ratings.to_frame().astype({"user_id": str}))
        assert not ratings.equals(text)
        assert not ratings.equals(ratings.top(n_users=1))


class TestIndexOf:
    def test_in_the_shape_of_what_is_asked(self):
        ids = np.array([30, 10, 20])
        assert index_of(ids, 20, "user").tolist() == 2
        assert index_of(ids, [[10, 10], [30, 20]], "user").tolist() == [[1, 1], [0, 2]]

    @pytest.mark.parametrize(
        ("ids", "asked", "message"),
        [
            ([7, 9], [9, 8, 6], "user id 8 is not among the 2 known users, such as 7"),
            (["7", "9"], [7], "user id 7 is not among the 2 known users, such as '7'"),
            (["ann"], "bob", "user id 'bob' is not among the 1 known users, such as 'ann'"),
        ],
    )
    def test_unknown(self, ids, asked, message):
        with pytest.raises(ValueError, match=f"^{message}$"):
            index_of(np.array(ids), asked, "user")
