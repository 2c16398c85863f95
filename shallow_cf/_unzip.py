"""A zip archive to a folder: whole or not at all, and never beyond that folder."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

#: Bytes that an archive may say it unpacks to; the largest data set has 1.2 GB.
MOST_BYTES = 4 * 10**9


def unpack(archive: Path, name: str, parent: Path, *, most: int = MOST_BYTES) -> Path:
    """Unpack an archive's folder `name` to ``parent / name``.

    Parameters
    ----------
    archive : path
        A zip file.
    name : str
        The folder in it; what stands elsewhere is left out.
    parent : path
        Folder in which it is to stand, and does not yet.
    most : int
        Bytes that the archive may say it unpacks to.

    Returns
    -------
    Path
        ``parent / name``.

    Raises
    ------
    ValueError
        If it is no zip archive, is broken or encrypted, has no such folder, unpacks to more
        than `most`, or has a member that could be written elsewhere.
    """
    with tempfile.TemporaryDirectory(dir=parent, prefix=".shallow_cf-") as work:
        try:
            with zipfile.ZipFile(archive) as file:
                members = _checked(file, most)
                wanted = [it for it in members if PurePosixPath(it.filename).parts[0] == name]
                for member in wanted:
                    _write(file, member, Path(work))
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
            raise ValueError(f"{archive.name} is not a zip archive, or broken: {error}") from None
        if not (Path(work) / name).is_dir():
            raise ValueError(f"{archive.name} has no folder {name}")
        return (Path(work) / name).rename(parent / name)


def _checked(file: zipfile.ZipFile, most: int) -> list[zipfile.ZipInfo]:
    """The members, after a look at all of them and before any is unpacked."""
    members = file.infolist()
    for member in members:
        # As it is written there, before zipfile mends it, and what zipfile makes of it: from
        # Python 3.12 on that is a second name, if the archive has one.
        for name in (member.orig_filename, member.filename):
            _check_name(name)
        _check_kind(member)
        if member.flag_bits & 1:
            raise ValueError(f"the archive is encrypted: {member.filename!r}")
    if len({member.filename.casefold().rstrip("/") for member in members}) < len(members):
        raise ValueError("the archive has two members of one name")
    size = sum(member.file_size for member in members)
    if size > most:
        raise ValueError(f"the archive unpacks to {size} bytes, more than {most}")
    return members


def _check_name(name: str) -> None:
    """Refuse names that lead out of a folder on any system."""
    # A colon makes a drive or a stream of a file on Windows, a backslash a folder; and dots and
    # spaces at the end of a name are nothing there.
    parts = name.removesuffix("/").split("/")
    if any(sign in name for sign in "\\:\0") or not all(part.strip(". ") for part in parts):
        raise ValueError(f"the archive has a member that leads out of its folder: {name!r}")


def _check_kind(member: zipfile.ZipInfo) -> None:
    """Refuse links and devices, and what is compressed by methods that no data set uses."""
    name = member.filename
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(f"the archive has a member that is no file and no folder: {name!r}")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"the archive is compressed in an unusual way: {name!r}")


def _write(file: zipfile.ZipFile, member: zipfile.ZipInfo, parent: Path) -> None:
    target = parent / member.filename
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with file.open(member) as source, target.open("xb") as copy:
        shutil.copyfileobj(source, copy)  # reads no more than the size that was checked
