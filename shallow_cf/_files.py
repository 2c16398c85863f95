"""Files are written whole or not at all, and in reproducible builds the same each time."""

from __future__ import annotations

import datetime
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: The end of 2107, which is as far as the time of a file in a zip archive goes.
_LAST_SECOND = 4_354_819_199


@contextmanager
def whole_file(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary path in the target's folder; move it over `path` when all went well.

    Parameters
    ----------
    path
        Where the finished file shall stand.
    overwrite
        Whether a file that stands there may be replaced.

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is false.
    FileNotFoundError
        If the folder of `path` does not exist.
    """
    target = check_place(path)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists already and is left as it is")
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".shallow_cf-", suffix=target.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(_permissions(target))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def check_place(path: str | os.PathLike[str]) -> Path:
    """Where a file is to stand, links followed; OSError for a folder or where there is none."""
    target = Path(path)
    if target.is_symlink():
        target = target.resolve()  # so that the link stays one
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder, not a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist")
    return target


def _permissions(target: Path) -> int:
    """Those of the file that is replaced, or what any new file of this user gets."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    umask = os.umask(0)  # the only way to ask for it is to set it
    os.umask(umask)
    return 0o666 & ~umask


def source_date() -> datetime.datetime | None:
    """The time, UTC, that SOURCE_DATE_EPOCH asks files to say they were made; None if unset.

    Raises
    ------
    ValueError
        If it is no whole number of seconds, or later than a zip archive can say.
    """
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not seconds:
        return None
    if not seconds.isdecimal() or int(seconds) > _LAST_SECOND:
        raise ValueError(
            f"SOURCE_DATE_EPOCH must be seconds since 1970, up to the year 2107, got {seconds!r}"
        )
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(seconds))
