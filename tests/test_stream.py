"""Files of ratings read block by block: the same ratings, whatever the size of a block."""

import gzip
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shallow_cf as scf
from shallow_cf import _stream, datasets

quick = settings(deadline=None, max_examples=40)

HEADER = "userId,movieId,rating,timestamp\n"
LINES = ["2,31,2.5,9", "1,1029,3.0,8", "1,31,4.0,7", "2,7,0.5,6", "10,7,5,5", "3,7,1,4"]
CSV = HEADER + "\n".join(LINES) + "\n"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """One file for all tests: hypothesis calls a test many times."""
    return tmp_path_factory.mktemp("stream") / "r.csv"


@pytest.fixture(scope="module")
def in_blocks(path):
    """Read a text in blocks of a few bytes; refuse to look at the whole of it."""

    def whole(*args):
        raise AssertionError("not read as a plain file")

    def read(content, block=45, **options):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_stream, "BLOCK", block)
            patch.setattr(datasets, "_read_whole", whole)
            return scf.read_ratings(path, **options)

    return read


@pytest.fixture(scope="module")
def in_one_piece(path):
    """Read a text as the reader does that sees the whole of it."""

    def not_plain(*args):
        raise _stream.NotPlain

    def read(content, **options):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(datasets, "read_plain", not_plain)
            return scf.read_ratings(path, **options)

    return read


def forms(text):
    """A text of commas in the other forms of a plain file."""
    return {
        "csv": text,
        "windows": text.replace("\n", "\r\n"),
        "no line end at the end": text.rstrip("\n"),
        "semicolons": text.replace(",", ";"),
        "u.data": text.removeprefix(HEADER).replace(",", "\t"),
        "ratings.dat": text.removeprefix(HEADER).replace(",", "::"),
        "ids in texts": text.replace("\n", "\nü").removesuffix("ü"),
        "a header in quotes": '"userId","movieId",rating,timestamp\n' + text.removeprefix(HEADER),
        "UTF-8 with mark": "\ufeff" + text,
        "no times": "\n".join(line.rpartition(",")[0] for line in text.splitlines()),
        "another column": text.replace(",rating", ",title,rating").replace(",7,", ",7,Ran,")
        .replace(",31,", ",31,Die Häfte,").replace("1029,", "1029,Heat,"),
    }  # fmt: skip


class TestSameRatings:
    @pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
    @pytest.mark.parametrize("form", forms(CSV))
    def test_in_every_form(self, in_blocks, in_one_piece, form, packed):
        content = forms(CSV)[form].encode()
        expected = in_one_piece(content)
        assert len(expected) == len(LINES)
        for block in (45, 46, 47, 48, 70, 10_000):
            found = in_blocks(gzip.compress(content) if packed else content, block)
            assert found.equals(expected)
            assert found.rating.dtype == expected.rating.dtype == np.float32

    @quick
    @given(
        st.lists(
            st.tuples(
                st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9),
                st.sampled_from(["7", "x", "Ran", "a b", "é", "0x", "-", "1e5"]),
                st.integers(-8, 20).map(lambda n: n / 4) | st.floats(-9, 9),
            ),
            min_size=1,
            max_size=20,
            unique_by=lambda row: row[:2],
        ),
        st.integers(120, 400),
    )
    def test_of_any_numbers_and_texts(self, in_one_piece, path, rows, block):
        # Here a block may turn out not to be plain, and the whole be read after all.
        text = "u,item,rating,user\n" + "".join(f"-,{i},{r!r},{u}\n" for u, i, r in rows)
        expected = in_one_piece(text)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_stream, "BLOCK", block)
            found = scf.read_ratings(path)
        assert found.equals(expected)
        assert found.rating.dtype == expected.rating.dtype

    def test_far_apart_ids_stay_whole_numbers(self, in_blocks):
        ids = [2**62, -(2**62), 5, 2**31, -(2**31)]
        ratings = in_blocks("u,item,rating,user\n" + "".join(f",{k},3,{k}\n" for k in ids))
        assert ratings.user_ids.tolist() == ratings.item_ids.tolist() == sorted(ids)
        assert ratings.user_idx.tolist() == ratings.item_idx.tolist() == [0, 1, 2, 3, 4]


class TestDtype:
    @pytest.mark.parametrize(
        ("stars", "dtype"),
        [
            (["1", "5"], np.float32),
            (["0.5", "4.5"], np.float32),
            (["16777216", "0.25"], np.float32),
            (["16777217", "0.25"], np.float64),  # 2**24 + 1 needs 25 bits
            (["1", "3.3"], np.float64),
            (["1", "1e300"], np.float64),
        ],
    )
    def test_32_bits_where_they_hold_all_stars(self, in_blocks, in_one_piece, stars, dtype):
        text = "userId,movieId,rating\n" + "".join(f"1,{k},{r}\n" for k, r in enumerate(stars))
        for read in (in_blocks, in_one_piece):
            ratings = read(text)
            assert ratings.rating.dtype == dtype
            assert ratings.rating.tolist() == [float(r) for r in stars]

    def test_means_of_duplicates(self, in_blocks):
        text = "userId,movieId,rating\n1,2,3\n1,2,4\n5,2,3\n"
        halves = in_blocks(text, duplicates="mean")
        assert (halves.rating.dtype, halves.rating.tolist()) == (np.float32, [3.5, 3.0])
        thirds = in_blocks(text + "1,2,4\n", duplicates="mean")
        assert (thirds.rating.dtype, thirds.rating.tolist()) == (np.float64, [11 / 3, 3.0])


class TestLineNumbers:
    """Whatever stands in a later block is named with its line in the file."""

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("1,2,bad,3", "rating must be a finite number, got 'bad'"),
            ("1,2,,3", "rating must be a finite number, got a blank"),
            ("1,2,inf,3", "rating must be a finite number, got inf"),
            (",2,3,3", "user id is missing"),
            ("1.5,2,3,3", "user id must be a whole number or text, got 1.5"),
            ("1,2,3,3,", "expected 4 fields, got 5"),
            ("1,2,3,3,4", "expected 4 fields, got 5"),
            ('1,"2,3,4', "a quotation mark opens here and is never closed"),
            (
                "10,7,5,5",
                "user 10 rated item 7 more than once; duplicates='mean' or 'last' accepts that",
            ),
        ],
    )
    @pytest.mark.parametrize("block", [35, 45, 10_000])
    def test_mistakes(self, path, monkeypatch, line, message, block):
        path.write_text(CSV + f"{line}\n11,7,5,5\n")
        monkeypatch.setattr(_stream, "BLOCK", block)
        with pytest.raises(ValueError) as caught:
            scf.read_ratings(path)
        assert str(caught.value) == f"r.csv line 8: {message}"

    def test_duplicates_need_no_second_look(self, in_blocks):
        for text, line in ((CSV, 8), (forms(CSV)["u.data"], 7), (forms(CSV)["ratings.dat"], 7)):
            again = text + text.splitlines()[-1] + "\n"
            with pytest.raises(ValueError, match=rf"^r\.csv line {line}: user 3 rated item 7 more"):
                in_blocks(again)

    @pytest.mark.parametrize("id_", ["07", "-07", " 07"])
    @pytest.mark.parametrize("block", [35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46])
    def test_a_leading_zero_wherever_a_block_begins(self, path, monkeypatch, id_, block):
        path.write_text(CSV + f"{id_},5,3,3\n7,5,3,3\n")
        monkeypatch.setattr(_stream, "BLOCK", block)
        assert id_.strip() in scf.read_ratings(path).user_ids.tolist()
        assert "7" in scf.read_ratings(path).user_ids.tolist()

    def test_a_text_far_down_makes_all_ids_texts(self, path, monkeypatch):
        path.write_text(CSV + "ann,5,3,3\n")
        monkeypatch.setattr(_stream, "BLOCK", 35)
        assert scf.read_ratings(path).user_ids.tolist() == ["1", "10", "2", "3", "ann"]

    def test_binary_data_far_down(self, path, monkeypatch):
        path.write_bytes(CSV.encode() + b"5,6,\x003,9\n")
        monkeypatch.setattr(_stream, "BLOCK", 35)
        with pytest.raises(ValueError, match="holds binary data"):
            scf.read_ratings(path)


class TestProgress:
    @pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
    def test_bytes_of_the_file(self, in_blocks, packed):
        content = gzip.compress(CSV.encode()) if packed else CSV.encode()
        calls = []
        in_blocks(content, progress=lambda *call: calls.append(call))
        assert calls[-1] == (len(content), len(content))
        assert all(size == len(content) for _, size in calls)
        assert len(calls) > 2
        assert all(one[0] <= two[0] for one, two in itertools.pairwise(calls))

    def test_of_a_file_read_in_one_piece(self, in_one_piece):
        calls = []
        in_one_piece(CSV, progress=lambda *call: calls.append(call))
        assert calls == [(len(CSV), len(CSV))]

    def test_its_errors_are_not_hidden(self, in_blocks):
        def refuse(done, size):
            raise ValueError("enough")

        with pytest.raises(ValueError, match=r"^enough$"):
            in_blocks(CSV, progress=refuse)
