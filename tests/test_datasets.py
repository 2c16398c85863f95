"""Ratings from files: every form that is understood, and one clear line for what is not."""

import csv
import gzip
import io
import re
import time
from dataclasses import replace

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shallow_cf as scf
from conftest import shared_file

quick = settings(deadline=None, max_examples=30)

# One small table in every form: users 1 and 2, items 31, 1029 and 7.
ROWS = [(2, 31, 2.5), (1, 1029, 3.0), (1, 31, 4.0), (2, 7, 0.5)]
CSV = "userId,movieId,rating,timestamp\n2,31,2.5,9\n1,1029,3.0,9\n1,31,4.0,9\n2,7,0.5,9\n"
U_DATA = "2\t31\t2.5\t9\n1\t1029\t3\t9\n1\t31\t4\t9\n2\t7\t0.5\t9\n"
RATINGS_DAT = U_DATA.replace("\t", "::")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for the whole file: hypothesis calls a test many times."""
    return tmp_path_factory.mktemp("ratings")


@pytest.fixture(scope="module")
def read(folder):
    """Write a text (or bytes) as r.csv and read it as ratings."""

    def read_content(content, **options):
        path = folder / "r.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return scf.read_ratings(path, **options)

    return read_content


@pytest.fixture(scope="module")
def refused(read):
    """The message with which a content is refused."""

    def message(content, error=ValueError, **options):
        with pytest.raises(error) as caught:
            read(content, **options)
        assert type(caught.value) is error
        return str(caught.value)

    return message


def triplets(ratings):
    """Ratings as a sorted list of (user id, item id, stars)."""
    table = ratings.to_frame()[["user_id", "item_id", "rating"]]
    return sorted(table.itertuples(index=False, name=None))


# --- the lesson's table ----------------------------------------------------------------


class TestCrosstab:
    def test_size(self, crosstab):
        assert (crosstab.n_users, crosstab.n_items, crosstab.n_ratings) == (15, 15, 206)
        assert crosstab.to_crosstab().isna().to_numpy().sum() == 19

    def test_ids_are_those_of_movielens(self, crosstab):
        assert crosstab.user_ids.dtype == crosstab.item_ids.dtype == np.int64
        assert crosstab.user_ids[:3].tolist() == [15, 30, 73]
        assert crosstab.item_ids[:3].tolist() == [1, 110, 260]

    def test_the_lessons_question_is_a_blank(self, crosstab):
        assert np.isnan(crosstab.to_crosstab().loc[294, 296])

    def test_it_is_the_top_of_ml_latest_small(self, crosstab):
        path = shared_file("data", "ml-latest-small-2016", "ratings.csv")
        top = scf.read_ratings(path).top(n_users=15, n_items=15)
        assert replace(top, timestamp=None).equals(crosstab)

    def test_every_movie_has_a_title(self, crosstab):
        titles = scf.load_crosstab_titles()
        assert list(titles) == crosstab.item_ids.tolist()
        assert len(set(titles.values())) == 15
        # Column headers: as long as a name that people say, and no year or subtitle.
        assert all(re.fullmatch(r"[A-Z][\w' ]{3,23}", title) for title in titles.values())
        assert (titles[296], titles[2571]) == ("Pulp Fiction", "The Matrix")

    def test_titles_are_those_of_the_same_films_in_movielens(self):
        theirs = scf.read_titles(shared_file("data", "ml-latest-small-2016", "movies.csv"))
        for movie, title in scf.load_crosstab_titles().items():
            assert set(title.split()) <= set(re.findall(r"[\w']+", theirs[movie]))

    def test_it_is_the_published_table(self, crosstab, reference_workbook):
        book = openpyxl.load_workbook(reference_workbook, read_only=True, data_only=True)
        try:
            head, *rows = book["dotprod"].iter_rows(
                min_row=1, max_row=16, min_col=7, max_col=22, values_only=True
            )
        finally:
            book.close()
        assert head[0] == "movieId"
        assert len(head) == 16
        assert len(rows) == 15
        ratings_csv = shared_file("data", "ml-latest-small-2016", "ratings.csv")
        # The sheet's label of a movie, counted from 0, is its place in this list.
        by_appearance = pd.unique(pd.read_csv(ratings_csv)["movieId"])

        table = crosstab.to_crosstab()
        for row in rows:
            user = row[0] + 1  # the sheet counts users from 0
            for label, published in zip(head[1:], row[1:], strict=True):
                ours = table.loc[user, by_appearance[label]]
                if published is None:
                    assert np.isnan(ours), (user, label)
                else:
                    assert ours == published, (user, label)
        # All 225 cells were compared: no user and no movie stands twice.
        assert [row[0] + 1 for row in rows] == crosstab.user_ids.tolist()
        assert sorted(by_appearance[list(head[1:])]) == crosstab.item_ids.tolist()


# --- the forms that are understood -----------------------------------------------------


class TestForms:
    @pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
    @pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
    @pytest.mark.parametrize("text", [CSV, U_DATA, RATINGS_DAT], ids=["csv", "u.data", "dat"])
    def test_movielens(self, read, text, line_end, packed):
        content = text.replace("\n", line_end).encode()
        ratings = read(gzip.compress(content) if packed else content)
        assert triplets(ratings) == sorted(ROWS)
        assert ratings.user_ids.dtype == ratings.item_ids.dtype == np.int64

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param(CSV.replace(",", ";"), id="semicolon"),
            pytest.param(CSV.replace(",", "\t"), id="tab with header"),
            pytest.param(CSV.replace(",", "::"), id="dat with header"),
            pytest.param(CSV.replace(",", ", "), id="blanks after the commas"),
            pytest.param(U_DATA.replace("\t", ","), id="commas without header"),
            pytest.param(CSV.rstrip("\n"), id="no line end at the end"),
            pytest.param("\n\r\n" + CSV, id="blank lines before"),
            pytest.param("\n\n" + U_DATA, id="blank lines before, no header"),
            pytest.param(CSV.replace("\n", "\n\n  \n"), id="blank lines between"),
            pytest.param(CSV + "\n\n \n", id="blank lines after"),
            pytest.param(CSV + ",,,\n,,,\n", id="Excel's empty rows"),
            pytest.param(CSV.replace("\n", ",\n"), id="a comma at the end of each line"),
            pytest.param(CSV.replace("9\n", "9,\n"), id="a comma after each row, not the header"),
            pytest.param(re.sub(",9|,timestamp", "", CSV), id="no timestamp"),
            pytest.param(re.sub("[0-9.]+", r'"\g<0>"', CSV), id="quoted numbers"),
            pytest.param(re.sub("[0-9.]+", r'"\g<0>"', U_DATA), id="quoted, no header"),
            pytest.param(re.sub("[0-9.]+", r"\g<0>e0", CSV), id="ids as 2e0"),
            pytest.param(CSV.replace("2,7,0.5,9", "2,7,0.5"), id="a timestamp missing"),
        ],
    )
    def test_variations(self, read, text):
        assert triplets(read(text)) == sorted(ROWS)

    @pytest.mark.parametrize(
        "encoding", ["utf-8-sig", "utf-16", "utf-16-le with BOM"], ids=["BOM", "UTF-16", "Excel"]
    )
    def test_what_excel_and_windows_write_in_front(self, read, encoding):
        bom, _, rest = encoding.partition(" ")
        for text in (CSV, U_DATA, '"userId"' + CSV[6:]):
            content = ("\ufeff" * bool(rest) + text).encode(bom)
            assert triplets(read(content)) == sorted(ROWS)

    @pytest.mark.parametrize(
        "header",
        [
            "userId,movieId,rating",
            "user_id,item_id,rating",
            "USER ID,Movie-ID,Rating",
            "user,item,stars",
            "User,Movie,Stars",
            "uid,iid,RATING",
            ' userId , movieId ,"rating" ',
        ],
    )
    def test_spellings(self, read, header):
        assert triplets(read(f"{header}\n1,2,3.5\n")) == [(1, 2, 3.5)]

    @quick
    @given(
        st.permutations(["userId", "movieId", "rating", "timestamp", "title"]),
        st.sampled_from(",;\t"),
    )
    def test_columns_in_any_order(self, read, order, separator):
        title = f'Good{separator} the "Bad"\nand the Ügly'
        values = {"userId": 1, "movieId": 2, "rating": 3.5, "timestamp": 9, "title": title}
        out = io.StringIO()
        writer = csv.writer(out, delimiter=separator)
        writer.writerow(order)
        writer.writerow([values[name] for name in order])
        assert triplets(read(out.getvalue())) == [(1, 2, 3.5)]

    def test_columns_named_by_the_user(self, read):
        text = "person,film,score,rating\nann,Heat,4,1\nbob,Ran,5,1\n"
        ratings = read(text, user="person", item="film", rating="score")
        assert triplets(ratings) == [("ann", "Heat", 4.0), ("bob", "Ran", 5.0)]
        ratings = read(text, user="person", item="film")  # rating by its usual name
        assert triplets(ratings) == [("ann", "Heat", 1.0), ("bob", "Ran", 1.0)]

        padded = text.replace("film", " film ")
        assert triplets(read(padded, user="person", item="film")) == triplets(ratings)

    def test_a_header_may_begin_with_a_number(self, read):
        assert triplets(read("0,userId,movieId,rating\n9,1,2,3\n")) == [(1, 2, 3.0)]

    def test_an_exact_name_wins_over_a_usual_one(self, read):
        text = "user,userId,movieId,rating\n5,1,2,3\n"
        assert triplets(read(text)) == [(1, 2, 3.0)]
        assert triplets(read(text, user="user")) == [(5, 2, 3.0)]

    @pytest.mark.parametrize("separator", [";", "\t"])
    def test_decimal_commas(self, read, separator):
        # What Excel saves where the comma is the decimal sign.
        text = "userId;movieId;rating\n1;2;3,5\n1;3;4\n2;2;-0,25\n"
        ratings = read(text.replace(";", separator))
        assert triplets(ratings) == [(1, 2, 3.5), (1, 3, 4.0), (2, 2, -0.25)]

    def test_quoted_titles(self, read):
        text = (
            "userId,title,movieId,rating\n"
            '1,"Good, the Bad and the Ugly, The",2,5\n'
            '1,"The ""Burbs",3,3\n'
            "2,M*A*S*H,2,4\n"
        )
        assert triplets(read(text)) == [(1, 2, 5.0), (1, 3, 3.0), (2, 2, 4.0)]
        by_title = read(text, item="title")
        assert "Good, the Bad and the Ugly, The" in by_title.item_ids
        assert 'The "Burbs' in by_title.item_ids

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig"])
    def test_titles_with_accents(self, read, encoding):
        text = "userId,movieId,rating\n1,Amélie,5\n2,Faßbinder,3\n"
        assert read(text.encode(encoding)).item_ids.tolist() == ["Amélie", "Faßbinder"]

    def test_precision(self, read):
        # Not a multiple of a half: every bit of what was written comes back.
        values = [0.1, 3.3, 1 / 3, 4.35, 2.675]
        lines = "".join(f"1,{k},{value!r}\n" for k, value in enumerate(values))
        np.testing.assert_allclose(
            read(f"userId,movieId,rating\n{lines}").rating, values, rtol=1e-15, atol=0
        )


class TestTimestamps:
    @pytest.mark.parametrize(
        "text",
        [
            "userId,movieId,rating,timestamp\n2,31,2.5,9\n1,7,3,8\n",
            "TimeStamp;movieId;rating;userId\n9;31;2.5;2\n8;7;3;1\n",
            "2\t31\t2.5\t9\n1\t7\t3\t8\n",
            "2::31::2.5::9\n1::7::3::8\n",
            "userId,movieId,rating,timestamp\n"
            "2,31,2.5,1970-01-01 00:00:09\n1,7,3,1970-01-01T00:00:08.9\n",
        ],
    )
    def test_where_the_file_has_them(self, read, text):
        assert read(text).timestamp.tolist() == [8, 9]

    @pytest.mark.parametrize(
        "text",
        [
            "userId,movieId,rating\n2,31,2.5\n",
            "2\t31\t2.5\n",
            # No time in every row: a column nobody asked for is left out, not an error.
            "userId,movieId,rating,timestamp\n2,31,2.5,9\n1,7,3,\n",
            "2\t31\t2.5\tgood\n",
            "2\t31\t2.5\t0.5\n",
        ],
    )
    def test_none(self, read, text):
        assert read(text).timestamp is None

    def test_a_named_column(self, read, refused):
        text = "userId,movieId,rating,when\n2,31,2.5,2020-01-02\n1,7,3,soon\n"
        assert read(text).timestamp is None
        assert read(text.replace("soon", "2020-01-01"), timestamp="when").timestamp.tolist() == [
            1577836800,
            1577923200,
        ]
        assert refused(text, timestamp="when") == (
            "r.csv line 3: timestamp must be a whole number of seconds or a date, got 'soon'"
        )
        assert refused(text, timestamp="time").startswith("r.csv line 1: column 'time' is missing")
        assert refused(text.replace("soon", ""), timestamp="when").endswith("got a blank")

    def test_a_row_with_nothing_but_a_time_is_empty(self, read):
        assert len(read(CSV + ",,,9\n")) == len(ROWS)

    def test_the_embedded_table_has_none(self, crosstab):
        assert crosstab.timestamp is None


class TestIds:
    @pytest.mark.parametrize(
        ("ids", "expected"),
        [
            (["ann", "bob"], ["ann", "bob"]),
            (["10", "9"], [9, 10]),
            (["10", "nine"], ["10", "nine"]),
            (["-3", "3"], [-3, 3]),
            # Two users, not one; and then all ids of the column are text.
            (["007", "7"], ["007", "7"]),
            (["10", "07"], ["07", "10"]),
            ([" 007", '"07"'], ["007", "07"]),
            (["0", "10"], [0, 10]),
            # Words that pandas takes for "missing" are names like any others.
            (["NA", "None"], ["NA", "None"]),
            (["null", "nan"], ["nan", "null"]),
            # Too long for a float: 2**53 + 1 and a Steam id keep their last digit.
            (["9007199254740993", "76561198000000001"], [9007199254740993, 76561198000000001]),
            (["18446744073709551615", "3"], ["18446744073709551615", "3"]),
        ],
    )
    def test_as_the_file_says(self, read, ids, expected):
        # A blank line in the middle must not turn whole numbers into floats.
        one, two = ids
        ratings = read(f"userId,movieId,rating\n{one},5,3\n\n{two},5,4\n")
        assert ratings.user_ids.tolist() == expected
        assert ratings.item_ids.tolist() == [5]
        ratings = read(f"rating,movieId,userId\n3,{one},5\n4,{two},5\n", user="userId")
        assert ratings.item_ids.tolist() == expected
        assert ratings.user_ids.tolist() == [5]

    @pytest.mark.parametrize("separator", [",", "\t", "::"])
    def test_leading_zero_on_the_first_line_without_header(self, read, separator):
        ratings = read(f"01{separator}5{separator}3\n1{separator}5{separator}4\n")
        assert ratings.user_ids.tolist() == ["01", "1"]

    def test_a_zero_elsewhere_changes_nothing(self, read):
        # The date and the rating begin with a zero, the ids do not.
        ratings = read("date,userId,movieId,rating\n01/02/2020,7,8,03.5\n")
        assert triplets(ratings) == [(7, 8, 3.5)]

    def test_whole_numbers_written_as_floats(self, read):
        # What pandas writes after a join that had blanks.
        assert read("userId,movieId,rating\n2.0,1,3\n10.0,1,4\n").user_ids.tolist() == [2, 10]


@st.composite
def written(draw):
    """Ratings and how to write them: separator, line end, quotes, header, compression."""
    names = st.text(st.sampled_from("abcé'=+,;:\t\"\n 07"), min_size=1, max_size=4)
    # Text that reads as a number, or begins with a blank, does not come back as it was.
    names = names.filter(lambda name: name[0] != " " and re.search("[a-cé]", name))
    ids = draw(st.sampled_from([st.integers(-(2**63), 2**63 - 1), st.integers(0, 9), names]))
    row = st.tuples(ids, ids, st.integers(-8, 20).map(lambda n: n / 4))
    return draw(st.lists(row, min_size=1, max_size=12, unique_by=lambda row: row[:2]))


class TestRoundTrip:
    @quick
    @given(
        written(),
        st.sampled_from(",;\t"),
        st.sampled_from(["\n", "\r\n"]),
        st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        st.booleans(),
    )
    def test_csv(self, read, rows, separator, line_end, quoting, packed):
        out = io.StringIO(newline="")
        writer = csv.writer(out, delimiter=separator, lineterminator=line_end, quoting=quoting)
        writer.writerows([("userId", "movieId", "rating"), *rows])
        content = out.getvalue().encode()
        ratings = read(gzip.compress(content) if packed else content)
        assert triplets(ratings) == sorted(rows)

    @quick
    @given(written())
    def test_what_pandas_writes(self, read, rows):
        expected = scf.Ratings.from_frame(
            pd.DataFrame(rows, columns=["user_id", "item_id", "rating"])
        )
        text = expected.to_frame().to_csv(index=False, lineterminator="\n")
        assert read(text).equals(expected)


# --- what is refused -------------------------------------------------------------------


class TestBadRatings:
    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            ("n/a", "'n/a'"),
            ("NaN", "'NaN'"),
            ("nan", "'nan'"),
            ("", "a blank"),
            ("  ", "a blank"),
            ("inf", "inf"),
            ("-Infinity", "-inf"),
            ("True", "True"),
            ("great", "'great'"),
            ("0x10", "'0x10'"),
            ("1_0", "'1_0'"),
            ('"3,5"', "'3,5'"),
            ("#VALUE!", "'#VALUE!'"),
        ],
    )
    def test_alone_in_its_column(self, refused, value, shown):
        message = refused(f"userId,movieId,rating\n1,2,{value}\n")
        assert message == f"r.csv line 2: rating must be a finite number, got {shown}"

    def test_among_good_ones(self, refused):
        for bad, shown in (("n/a", "'n/a'"), ("", "a blank"), ("inf", "inf"), ("True", "'True'")):
            message = refused(f"{CSV}5,6,{bad},9\n5,7,4,9\n")
            assert message == f"r.csv line 6: rating must be a finite number, got {shown}"

    @pytest.mark.parametrize("separator", ["\t", "::", ","])
    def test_without_header(self, refused, separator):
        text = "1\t2\tn/a\n1\t3\t4\n".replace("\t", separator)
        assert refused(text) == "r.csv line 1: rating must be a finite number, got 'n/a'"
        text = "1\t3\t4\n1\t2\tx\n".replace("\t", separator)
        assert refused(text) == "r.csv line 2: rating must be a finite number, got 'x'"

    def test_a_second_header_in_the_middle(self, refused):
        message = refused(CSV + CSV)
        assert message == "r.csv line 6: rating must be a finite number, got 'rating'"


class TestBadIds:
    @pytest.mark.parametrize(
        ("row", "message"),
        [
            (",2,3", "user id is missing"),
            ("1,,3", "item id is missing"),
            ("1.5,2,3", "user id must be a whole number or text, got 1.5"),
            ("1,2.5,3", "item id must be a whole number or text, got 2.5"),
            ("inf,2,3", "user id must be a whole number or text, got inf"),
        ],
    )
    def test_line(self, refused, row, message):
        text = f"userId,movieId,rating\n8,9,3\n\n{row}\n"
        assert refused(text) == f"r.csv line 4: {message}"


class TestDuplicates:
    text = "userId,movieId,rating\n1,2,3\n5,2,3\n\n1,2,5\n1,2,1.5\n"

    def test_error_names_pair_and_line(self, refused):
        assert refused(self.text) == (
            "r.csv line 5: user 1 rated item 2 more than once; "
            "duplicates='mean' or 'last' accepts that"
        )
        assert refused("user,item,rating\nann,Heat,3\nann,Heat,3\n") == (
            "r.csv line 3: user 'ann' rated item 'Heat' more than once; "
            "duplicates='mean' or 'last' accepts that"
        )

    def test_mean_and_last(self, read):
        assert triplets(read(self.text, duplicates="mean")) == [(1, 2, 9.5 / 3), (5, 2, 3.0)]
        assert triplets(read(self.text, duplicates="last")) == [(1, 2, 1.5), (5, 2, 3.0)]

    def test_another_word_is_refused_before_the_file_is_read(self):
        expected = r"^`duplicates` must be one of error, mean, last, got 'first'$"
        with pytest.raises(ValueError, match=expected):
            scf.read_ratings("no such file.csv", duplicates="first")


class TestBadColumns:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "person,movieId,rating\n1,2,3\n",
                "column for the user (such as userId) is missing; found: person, movieId, rating; "
                "name it, as in read_ratings(path, user='...')",
            ),
            (
                "userId,film,rating\n1,2,3\n",
                "column for the item (such as movieId) is missing; found: userId, film, rating; "
                "name it, as in read_ratings(path, item='...')",
            ),
            (
                "userId;movieId\n1;2\n",
                "column for the rating (such as rating) is missing; found: userId, movieId",
            ),
            # A crosstab given for ratings must not be taken for a file without header.
            (
                "userId," + ",".join(map(str, range(15))) + "\n" + "1," * 15 + "1\n",
                "column for the item (such as movieId) is missing; "
                "found: userId, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 4 more; "
                "name them, as in read_ratings(path, item='...', rating='...')",
            ),
            (
                ",1,2\n7,3,4\n",
                "column for the user (such as userId) is missing; found: '', 1, 2; "
                "name them, as in read_ratings(path, user='...', item='...', rating='...')",
            ),
            (
                "1 2 3\n2 3 4\n",
                "column for the user (such as userId) is missing; found: 1 2 3",
            ),
            (
                "ann,Heat,3\n",
                "column for the user (such as userId) is missing; found: ann, Heat, 3; "
                "name them, as in read_ratings(path, user='...', item='...', rating='...')",
            ),
            (
                "<!DOCTYPE html>\n<html><body>404</body></html>\n",
                "column for the user (such as userId) is missing; found: <!DOCTYPE html>",
            ),
            (
                "x" * 500_000,
                f"column for the user (such as userId) is missing; found: {'x' * 57}...",
            ),
            ("1\t2\n3\t4\n", "user, item and rating expected, got only 1, 2"),
            ("1\n2\n", "user, item and rating expected, got only 1"),
        ],
    )
    def test_missing_or_misnamed(self, refused, text, message):
        assert refused(text) == f"r.csv line 1: {message}"
        assert refused("\n\n" + text) == f"r.csv line 3: {message}"

    def test_names_told_that_are_not_there(self, refused):
        message = refused(CSV, user="person")
        assert message == (
            "r.csv line 1: column 'person' is missing; found: userId, movieId, rating, timestamp"
        )

    def test_names_told_where_there_is_no_header(self, refused):
        message = refused(U_DATA, rating="stars")
        assert message == "r.csv has no header line, so columns cannot be named"


class TestRagged:
    def test_too_many_fields(self, refused):
        # A comma in a title without quotes shifts what follows: not to be guessed at.
        text = "userId,title,movieId,rating\n1,Heat,2,3\n\n1,Good, the Bad,2,3\n"
        assert refused(text) == "r.csv line 4: expected 4 fields, got 5"
        assert refused(U_DATA + "1\t2\t3\t4\t5\n") == "r.csv line 5: expected 4 fields, got 5"

    def test_too_many_fields_in_the_first_row(self, refused):
        text = "\nuserId,title,movieId,rating\n\n1,Good, the Bad,2,3\n1,Heat,4,3\n"
        assert refused(text) == "r.csv line 4: more fields than the 4 named"

    def test_too_few_fields(self, refused):
        for row in ("1", "1,2"):
            message = refused(f"{CSV}{row}\n")
            assert message == "r.csv line 6: rating must be a finite number, got a blank"

    def test_a_quotation_mark_never_closed(self, refused):
        text = 'userId,movieId,rating\n1,2,3\n\n1,"3,4\n1,4,5\n'
        assert refused(text) == "r.csv line 4: a quotation mark opens here and is never closed"


class TestNoTable:
    @pytest.mark.parametrize(
        "content",
        [b"", b"\n", b"\r\n \r\n\n", b"   ", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)],
    )
    def test_empty(self, refused, content):
        assert refused(content) == "r.csv is empty"

    @pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\n,,,\n"])
    def test_only_a_header(self, refused, end):
        message = refused("userId,movieId,rating,timestamp" + end)
        assert message == "r.csv has a header but no ratings"

    def test_a_workbook_given_by_mistake(self, refused, folder):
        book = openpyxl.Workbook()
        book.active.append(["userId", "movieId", "rating"])
        book.save(folder / "book.xlsx")
        content = (folder / "book.xlsx").read_bytes()
        assert refused(content) == (
            "r.csv is an Excel workbook or a zip archive, not a text file of ratings: "
            "save the sheet as CSV, or unpack the archive"
        )

    @pytest.mark.parametrize(
        "content",
        [
            b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00\x00",  # an old .xls
            CSV.encode() + b"5,6,\x003,9\n",
            CSV.encode("utf-16-le"),  # without the mark in front it cannot be told
            gzip.compress(b"\x00\x01", mtime=0),
        ],
    )
    def test_binary(self, refused, content):
        message = refused(content)
        assert message == (
            "r.csv is not a text file of ratings (it holds binary data): save it as CSV"
        )

    def test_damaged_gzip(self, refused):
        packed = gzip.compress(CSV.encode() * 100)
        for damaged in (packed[:-20], packed[:12] + b"damaged" * 9, packed[:3]):
            assert re.fullmatch(r"r\.csv: damaged gzip file \(.+\)", refused(damaged))

    def test_a_folder(self, folder):
        with pytest.raises(IsADirectoryError) as caught:
            scf.read_ratings(folder)
        assert str(caught.value) == f"{folder} is a folder, not a file of ratings"

    def test_a_file_that_is_not_there(self, folder):
        with pytest.raises(FileNotFoundError) as caught:
            scf.read_ratings(folder / "nowhere" / "r.csv")
        assert str(caught.value) == f"there is no file {folder / 'nowhere' / 'r.csv'}"

    def test_fewer_than_asked_for(self, read):
        ratings = read(CSV)
        expected = r"^`n_users`: asked for 15 users, but there are only 2$"
        with pytest.raises(ValueError, match=expected):
            ratings.top(n_users=15, n_items=15)


# --- line numbers ----------------------------------------------------------------------


class TestLineNumbers:
    def test_far_down_between_blank_lines(self, refused):
        # Header, then 30 000 times one rating and two blank lines, then the bad one.
        rows = "".join(f"{k},{k},3\n\n \n" for k in range(30_000))
        message = refused(f"userId,movieId,rating\n{rows}1,2,bad\n")
        assert message == "r.csv line 90002: rating must be a finite number, got 'bad'"

    @quick
    @given(
        st.lists(st.sampled_from(["plain", "blank", "spaces", "two-line title", "separators"])),
        st.sampled_from(["\n", "\r\n", "\r"]),
        st.sampled_from(",;\t"),
    )
    def test_whatever_stands_above(self, refused, above, line_end, separator):
        lines = {
            "plain": ["{k};5;3;"],
            "blank": [""],
            "spaces": ["  "],
            "two-line title": ['{k};5;3;"Good', 'Bad; ""Ugly"""'],
            "separators": [";;;"],
        }
        text = [line.format(k=k) for k, name in enumerate(above) for line in lines[name]]
        text = ["userId;movieId;rating;title", *text, "1;1;bad;", "1;2;3;"]
        content = line_end.join(text).replace(";", separator)
        message = refused(content)
        expected = len(text) - 1
        assert message == f"r.csv line {expected}: rating must be a finite number, got 'bad'"

    def test_a_field_of_any_length(self, refused):
        # Python's csv module, which counts the lines, stops at 131 072 characters.
        text = f'userId,movieId,rating,note\n\n1,2,bad,"{200_000 * "x"}"\n'
        assert refused(text) == "r.csv line 3: rating must be a finite number, got 'bad'"

    @pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
    def test_blank_lines_above_a_ragged_one(self, refused, line_end):
        text = "\nuserId,movieId,rating\n\n1,2,3\n  \n\n1,2,3,4\n".replace("\n", line_end)
        assert refused(text) == "r.csv line 7: expected 3 fields, got 4"


# --- anything at all -------------------------------------------------------------------

FRAGMENTS = [
    *("userId", "movieId", "rating", "userId,movieId,rating\n", "1\t2\t3\n", "1::2::3\n"),
    *(",", "\n", "\r", "\t", ";", "::", '"', " ", "0", "1", "07", "3.5", "n/a", "é", "-"),
    *("1e999", "99999999999999999999", "nan", "True", "\ufeff", "\0", "\x0b", "\x85", "\u2028"),
]


class TestAnything:
    @settings(deadline=None, max_examples=100)
    @given(
        st.one_of(
            st.binary(max_size=40),
            st.tuples(
                st.lists(st.sampled_from(FRAGMENTS), max_size=20).map("".join),
                st.sampled_from(["utf-8", "latin-1", "utf-16"]),
            ).map(lambda text: text[0].encode(text[1], "replace")),
        )
    )
    def test_is_read_or_refused_in_one_line(self, read, content):
        """No file makes another error than ValueError, nor more than one line of it."""
        message = "r.csv"
        try:
            assert np.isfinite(read(content).rating).all()
        except ValueError as error:
            message = str(error)
        assert message.startswith("r.csv")
        assert "\n" not in message
        assert len(message) < 1000


class TestWindows:
    def test_excels_western_csv(self, tmp_path):
        text = "userId,movieId,rating\nO\u2019Brien \u20ac,1,4\n\u0160imon,1,3\n"
        (tmp_path / "r.csv").write_bytes(text.encode("cp1252"))
        ratings = scf.read_ratings(tmp_path / "r.csv")
        assert ratings.user_ids.tolist() == ["O\u2019Brien \u20ac", "\u0160imon"]


class TestIdsAsWritten:
    @pytest.mark.parametrize("other", ["0100000", "-0100000"])
    def test_leading_zeros_make_another_id(self, tmp_path, other):
        (tmp_path / "r.csv").write_text(f"userId,movieId,rating\n100000,1,4\n{other},1,3\n")
        ratings = scf.read_ratings(tmp_path / "r.csv")
        assert sorted(ratings.user_ids.tolist()) == sorted(["100000", other])


# --- titles -----------------------------------------------------------------------------

MOVIES_CSV = (
    "movieId,title,genres\n1,Toy Story (1995),Adventure|Animation|Children|Comedy\n"
    '11,"American President, The (1995)",Drama\n7310,"""Great Performances"" Cats (1998)",Musical\n'
)
MOVIES_DAT = (
    "1::Toy Story (1995)::Adventure|Animation|Children|Comedy\n"
    '11::American President, The (1995)::Drama\n7310::"Great Performances" Cats (1998)::Musical\n'
)
U_ITEM = (
    "1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/?q=Toy%20Story|0|0|1\n"
    "11|American President, The (1995)|01-Jan-1995||http://us.imdb.com/|0|0|0\n"
    '7310|"Great Performances" Cats (1998)|||http://us.imdb.com/|0|0|0\n'
)
TITLES = {
    1: "Toy Story (1995)",
    11: "American President, The (1995)",
    7310: '"Great Performances" Cats (1998)',
}


@pytest.fixture(scope="module")
def titles(folder):
    """Write a text (or bytes) as t.csv and read it as titles."""

    def read_content(content, **options):
        path = folder / "t.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return scf.read_titles(path, **options)

    return read_content


class TestTitles:
    @pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
    @pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["unix", "windows"])
    @pytest.mark.parametrize("text", [MOVIES_CSV, MOVIES_DAT, U_ITEM], ids=["csv", "dat", "u.item"])
    def test_movielens(self, titles, text, line_end, packed):
        content = text.replace("\n", line_end).encode()
        found = titles(gzip.compress(content) if packed else content)
        assert found == TITLES
        assert list(found) == list(TITLES)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("title;Item ID\nHeat;6\n", {6: "Heat"}),
            ("id\ttitle\n6\tHeat\n", {6: "Heat"}),
            ("movie id|movie title|year\n6|Heat|1995\n", {6: "Heat"}),
            ("movieId,title\n007,Heat\n7,Casino\n", {"007": "Heat", "7": "Casino"}),
            ("007::Heat::Action\n7::Casino::Drama\n", {"007": "Heat", "7": "Casino"}),
            ("007|Heat|x\n7|Casino|y\n", {"007": "Heat", "7": "Casino"}),
            ("movieId,title\nm1,Heat\nm2,Casino\n", {"m1": "Heat", "m2": "Casino"}),
            ("movieId,title\n1,300\n2,NA\n3, 010 \n", {1: "300", 2: "NA", 3: "010"}),
            ("6,Heat\n16,Casino\n", {6: "Heat", 16: "Casino"}),
            ("movieId,title\n1,\n\n2,Heat\n,\n", {2: "Heat"}),
            ("movieId,title\n1,Heat\n1,Heat\n", {1: "Heat"}),
            ('movieId,title\n1,"Two\nlines"\n', {1: "Two\nlines"}),
        ],
    )  # fmt: skip
    def test_variations(self, titles, text, expected):
        assert titles(text) == expected

    def test_columns_named_by_the_user(self, titles):
        text = "tconst,title,primaryTitle\ntt1,no,Heat\n"
        assert titles(text, item="tconst", title="primaryTitle") == {"tt1": "Heat"}

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16"])
    def test_accents(self, titles, encoding):
        text = "1|Cité des enfants perdus, La (1995)|x\n2|Amélie|y\n"
        expected = {1: "Cité des enfants perdus, La (1995)", 2: "Amélie"}
        assert titles(text.encode(encoding)) == expected

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "t.csv is empty"),
            ("movieId,title\n", "t.csv has a header but no titles"),
            (
                "film,title\n1,Heat\n",
                "t.csv line 1: column for the id (such as movieId) is missing; found: film, title; "
                "name it, as in read_titles(path, item='...')",
            ),
            (
                "\nmovieId,genres\n1,Drama\n",
                "t.csv line 2: column for the title (such as title) is missing; "
                "found: movieId, genres; name it, as in read_titles(path, title='...')",
            ),
            ("12\n13\n", "t.csv line 1: id and title expected, got only 12"),
            ("movieId,title\n\n,Heat\n", "t.csv line 3: item id is missing"),
            (
                "movieId,title\n1.5,Heat\n",
                "t.csv line 2: item id must be a whole number or text, got 1.5",
            ),
            (
                "movieId,title\n1,Heat\n2,Casino\n1,Casino\n",
                "t.csv line 4: item 1 has two titles, 'Heat' and 'Casino'",
            ),
            ("movieId,title\n1,Heat\n2,Good, The\n", "t.csv line 3: expected 2 fields, got 3"),
            ("1|Heat\n2|a|b\n", "t.csv line 2: expected 2 fields, got 3"),
            (b"\0\1", "t.csv is not a text file of titles (it holds binary data): save it as CSV"),
        ],
    )
    def test_refusals(self, titles, text, message):
        with pytest.raises(ValueError) as caught:
            titles(text)
        assert str(caught.value) == message

    def test_names_told_where_there_is_no_header(self, titles):
        with pytest.raises(ValueError, match="has no header line, so columns cannot be named"):
            titles(U_ITEM, title="title")

    def test_not_a_file(self, folder):
        with pytest.raises(IsADirectoryError, match="is a folder, not a file of titles"):
            scf.read_titles(folder)
        with pytest.raises(FileNotFoundError, match="there is no file"):
            scf.read_titles(folder / "nowhere.csv")

    @quick
    @given(
        known=st.dictionaries(
            st.integers(0, 10**6),
            st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1),
        ).filter(len)
    )
    def test_what_csv_writes_comes_back(self, titles, known):
        file = io.StringIO()
        csv.writer(file).writerows([("movieId", "title"), *known.items()])
        assert titles(file.getvalue()) == known

    def test_ids_are_those_of_the_ratings(self, tmp_path):
        (tmp_path / "r.csv").write_text("userId,movieId,rating\n1,007,3\n1,7,4\n")
        (tmp_path / "t.csv").write_text("movieId,title\n007,Heat\n7,Casino\n")
        ratings = scf.read_ratings(tmp_path / "r.csv")
        known = scf.read_titles(tmp_path / "t.csv")
        assert [known[i] for i in ratings.item_ids] == ["Heat", "Casino"]
        assert [known[i] for i in ratings.item_ids.tolist()] == ["Heat", "Casino"]

    def test_a_catalogue_of_60000(self, titles):
        text = "movieId,title\n" + "".join(f'{i},"Film, The {i} (1999)"\n' for i in range(60_000))
        start = time.perf_counter()
        assert len(titles(text)) == 60_000
        assert time.perf_counter() - start < 1

    def test_ml_latest_small(self, crosstab):
        path = shared_file("data", "ml-latest-small-2016", "movies.csv")
        known = scf.read_titles(path)
        assert len(known) == 9125
        assert known[1] == "Toy Story (1995)"
        assert known[11] == "American President, The (1995)"
        assert set(crosstab.item_ids.tolist()) <= set(known)

    def test_ml_100k(self):
        known = scf.read_titles(shared_file("data", "ml-100k", "u.item"))
        assert len(known) == 1682
        assert known[1] == "Toy Story (1995)"


class TestFindTitles:
    def test_the_first_there_is(self, tmp_path):
        ratings = tmp_path / "ratings.csv"
        assert scf.find_titles(ratings) is None
        (tmp_path / "movies.csv").mkdir()  # a folder is no file of titles
        for name in ("u.item", "movies.dat"):
            (tmp_path / name).write_text("1|Heat\n")
            assert scf.find_titles(str(ratings)) == tmp_path / name
        (tmp_path / "movies.csv").rmdir()
        (tmp_path / "movies.csv").write_text("movieId,title\n1,Heat\n")
        assert scf.find_titles(ratings) == tmp_path / "movies.csv"

    def test_the_ratings_are_not_their_own_titles(self, tmp_path):
        (tmp_path / "movies.csv").write_text("userId,movieId,rating\n1,2,3\n")
        assert scf.find_titles(tmp_path / "movies.csv") is None

    def test_ml_latest_small(self):
        ratings = shared_file("data", "ml-latest-small-2016", "ratings.csv")
        assert scf.find_titles(ratings) == ratings.with_name("movies.csv")
