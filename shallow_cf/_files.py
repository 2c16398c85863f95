"""Files are written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    target = Path(path)
    if target.is_symlink():
        target = target.resolve()  # so that the link stays one
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder, not a file")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists already and is left as it is")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist")
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".shallow_cf-", suffix=target.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(_permissions(target))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _permissions(target: Path) -> int:
    """Those of the file that is replaced, or what any new file of this user gets."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    umask = os.umask(0)  # the only way to ask for it is to set it
    os.umask(umask)
    return 0o666 & ~umask
