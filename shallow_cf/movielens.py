"""The data sets of MovieLens: where they are, under which conditions, and how they get here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from shallow_cf._checks import check_bool, check_choice, check_number
from shallow_cf._fetch import DownloadError, check_file, fetch
from shallow_cf._stream import Progress
from shallow_cf._unzip import unpack
from shallow_cf.datasets import read_ratings
from shallow_cf.ratings import Ratings


class DataSet(NamedTuple):
    """A published data set: a zip archive with one folder, of the data set's name.

    `size` is in bytes; `digest` is "sha256:" or "md5:" and hexadecimal digits; `ratings` and
    `readme` are files in the folder; `terms` are what differs in the conditions of use.
    """

    url: str
    size: int
    digest: str
    ratings: str
    n_ratings: int
    readme: str
    terms: tuple[str, ...]


_URL = "https://files.grouplens.org/datasets/movielens/{}.zip"
_NOT_PASSED_ON = "Do not pass the data on without separate permission."
_PASSED_ON = "Pass the data on, changed or not, only under these same conditions."

#: Sizes and sha256 are those of TensorFlow Datasets (url_checksums/movielens.txt); OmniRec has
#: the same sha256 of ml-25m and ml-latest-small. The md5 of ml-32m is GroupLens' own
#: (ml-32m.zip.md5), quoted with that size by several projects; a sha256 was not found. The terms
#: are those of each README.
DATA_SETS = {
    "ml-latest-small": DataSet(
        _URL.format("ml-latest-small"), 978_202,
        "sha256:696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        "ratings.csv", 100_836, "README.txt", (_PASSED_ON,),
    ),
    "ml-100k": DataSet(
        _URL.format("ml-100k"), 4_924_029,
        "sha256:50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        "u.data", 100_000, "README", (_NOT_PASSED_ON,),
    ),
    "ml-1m": DataSet(
        _URL.format("ml-1m"), 5_917_549,
        "sha256:a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        "ratings.dat", 1_000_209, "README",
        ("Send GroupLens a copy of such publications.", _NOT_PASSED_ON),
    ),
    "ml-25m": DataSet(
        _URL.format("ml-25m"), 261_978_986,
        "sha256:8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
        "ratings.csv", 25_000_095, "README.txt", (_NOT_PASSED_ON,),
    ),
    "ml-32m": DataSet(
        _URL.format("ml-32m"), 238_950_008, "md5:d472be332d4daa821edc399621853b57",
        "ratings.csv", 32_000_204, "README.txt", (_PASSED_ON,),
    ),
}  # fmt: skip


def licence(name: str) -> str:
    """The conditions of use of a data set, in our words.

    Its own text, which counts, is in the README of the archive.

    Parameters
    ----------
    name : str
        Of a data set, such as "ml-100k".

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> print(licence("ml-1m").splitlines()[0])
    ml-1m belongs to GroupLens, University of Minnesota. Its conditions of use, in short:
    """
    known = DATA_SETS[check_choice("name", name, tuple(DATA_SETS))]
    terms = (
        "For research. Nothing commercial or that brings in revenue without permission of a\n"
        "  faculty member of the GroupLens Research Project.",
        "Do not state or imply that the University of Minnesota or GroupLens endorse you.",
        "Say in publications that the data were used, and cite: F. M. Harper, J. A. Konstan\n"
        "  (2015), The MovieLens Datasets: History and Context, ACM TiiS 5(4), 19,\n"
        "  https://doi.org/10.1145/2827872",
        *known.terms,
        "No warranty: nobody guarantees that the data are correct, or is liable for damages.",
    )
    return "\n".join(
        [
            f"{name} belongs to GroupLens, University of Minnesota. Its conditions of use, in "
            "short:",
            *(f"- {term}" for term in terms),
            f"The full text, which is the one that counts, is in {known.readme}, which comes with "
            "the data.",
        ]
    )


def data_folder() -> Path:
    """Where data sets are kept unless another folder is named; it need not exist.

    The folder that SHALLOW_CF_DATA names, or the system's place for what can be had again:
    ~/.cache/shallow_cf (or in XDG_CACHE_HOME), ~/Library/Caches/shallow_cf on macOS,
    %LOCALAPPDATA%\\shallow_cf on Windows.

    Examples
    --------
    >>> import os
    >>> os.environ["SHALLOW_CF_DATA"] = "lessons"
    >>> data_folder().as_posix()
    'lessons'
    >>> del os.environ["SHALLOW_CF_DATA"]
    """
    if named := os.environ.get("SHALLOW_CF_DATA"):
        return Path(named).expanduser()
    if sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or "")
        if not caches.is_absolute():  # as its specification says
            caches = Path.home() / ".cache"
    return caches / "shallow_cf"


def find_data_set(name: str, folder: str | os.PathLike[str] | None = None) -> Path | None:
    """The file of ratings of a data set that was downloaded before, or None.

    Parameters
    ----------
    name : str
        Of a data set, such as "ml-100k".
    folder : path, optional
        Where data sets are kept: by default `data_folder`.

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> from pathlib import Path
    >>> Path("ml-100k").mkdir()
    >>> Path("ml-100k", "u.data").touch()
    >>> find_data_set("ml-100k", ".").as_posix()
    'ml-100k/u.data'
    """
    known = DATA_SETS[check_choice("name", name, tuple(DATA_SETS))]
    path = _home(folder) / name / known.ratings
    return path if path.is_file() else None


def _home(folder: str | os.PathLike[str] | None) -> Path:
    return data_folder() if folder is None else Path(folder)


def download(
    name: str,
    *,
    accept_licence: bool = False,
    folder: str | os.PathLike[str] | None = None,
    from_file: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    timeout: float = 30.0,
) -> Path:
    r"""Get a data set of MovieLens, unless it is there already.

    The archive is taken over https from GroupLens, held against its published checksum and
    unpacked. A download that broke off is taken up again by the next call.

    Parameters
    ----------
    name : {"ml-latest-small", "ml-100k", "ml-1m", "ml-25m", "ml-32m"}
        0.1, 0.1, 1, 25 and 32 million ratings; archives of 1, 5, 6, 262 and 239 MB.
    accept_licence : bool
        Say that you accept the conditions of use; without it they are shown, in an error. A
        data set that is there was accepted.
    folder : path, optional
        Where data sets are kept: that of SHALLOW_CF_DATA, or the system's place for caches.
    from_file : path, optional
        The archive, where it is at hand: no network is needed.
    progress : callable, optional
        Called as ``progress(done, size)`` with the bytes of the archive.
    timeout : float
        Seconds in which the server must send something.

    Returns
    -------
    Path
        The folder of the data set, with the ratings and the titles in it.

    Raises
    ------
    ValueError
        If the conditions are not accepted, there is no such data set, or the archive cannot be
        unpacked.
    DownloadError
        If the archive cannot be had, or is another one. This is an OSError.
    FileNotFoundError
        If there is no such `from_file`.
    FileExistsError
        If something else stands in the place of the data set.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> folder = scf.download("ml-100k", accept_licence=True)  # doctest: +SKIP
    >>> scf.read_titles(folder / "u.item")[50]  # doctest: +SKIP
    'Star Wars (1977)'

    Without the conditions accepted they are what is read first:

    >>> scf.download("ml-100k", folder="empty")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: ml-100k belongs to GroupLens, ...
    """
    check_bool("accept_licence", accept_licence)
    timeout = check_number("timeout", timeout, 0.0, above=True)
    found = find_data_set(name, folder)
    if found is not None:
        return found.parent
    if not accept_licence:
        raise ValueError(f"{licence(name)}\nTo get it, `accept_licence` must be True, got False")
    known, home = DATA_SETS[name], _home(folder)
    _make(home, name)
    if from_file is not None:
        _check_given(known, Path(from_file))
        return unpack(Path(from_file), name, home)
    archive = home / f".{name}.zip"  # ours: a visible one of that name may be somebody's own
    try:
        _get(known, archive, progress, timeout)
        unpack(archive, name, home)
    except OSError:
        if find_data_set(name, folder) is None:
            raise
        # Another process got the same data set meanwhile.
    archive.unlink(missing_ok=True)
    return home / name


def load_movielens(
    name: str,
    *,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Ratings:
    """The ratings of a data set of MovieLens that was downloaded before: no network is used.

    Parameters
    ----------
    name : {"ml-latest-small", "ml-100k", "ml-1m", "ml-25m", "ml-32m"}
    folder : path, optional
        Where data sets are kept: see `download`.
    progress : callable, optional
        As in `read_ratings`.

    Returns
    -------
    Ratings

    Raises
    ------
    FileNotFoundError
        If it is not there, saying how to get it.
    ValueError
        If there is no such data set.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> scf.load_movielens("ml-100k")  # doctest: +SKIP
    Ratings(943 users x 1682 items, 100000 ratings)
    >>> scf.load_movielens("ml-100k", folder="empty")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    FileNotFoundError: ml-100k is not in empty: get it by `shallow-cf download ml-100k` or ...
    """
    path = find_data_set(name, folder)
    if path is None:
        raise FileNotFoundError(
            f"{name} is not in {_home(folder)}: get it by `shallow-cf download {name}` or "
            f"scf.download({name!r}); without network, scf.synthetic_ratings makes ratings like it"
        )
    return read_ratings(path, progress=progress)


def _make(home: Path, name: str) -> None:
    """Make the folder of data sets, and see that the one of this data set is free."""
    if (home / name).exists():
        raise FileExistsError(
            f"{home / name} is there, but not as a data set; remove it or choose another `folder`"
        )
    home.mkdir(parents=True, exist_ok=True)


def _get(known: DataSet, archive: Path, progress: Progress | None, timeout: float) -> None:
    """The archive by network, unless an earlier call got it and was stopped then."""
    if archive.exists():
        try:
            check_file(archive, known.size, known.digest)
        except DownloadError:
            archive.unlink()  # damaged since then
        else:
            return
    try:
        fetch(
            known.url, archive, size=known.size, digest=known.digest, progress=progress,
            timeout=timeout,
        )  # fmt: skip
    except DownloadError as error:
        raise DownloadError(
            f"{error}. If it does not pass: open {known.url} in a browser, and name the file that "
            "you get by `from_file`; or make ratings like it up: shallow-cf synthetic"
        ) from None


def _check_given(known: DataSet, archive: Path) -> None:
    """Check an archive that is at hand."""
    if not archive.is_file():
        raise FileNotFoundError(f"there is no file {archive}")
    try:
        check_file(archive, known.size, known.digest)
    except DownloadError as error:
        raise DownloadError(
            f"{archive} is not the archive that was published ({error}). Of another edition, "
            f"unpack it yourself: {known.ratings} can be read wherever it stands"
        ) from None
