"""What commands about models share: a model read and written, ids as people type them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shallow_cf._files import whole_file
from shallow_cf._ids import find_ids, index_of
from shallow_cf.commands.shared import Args, id_text, titles_for
from shallow_cf.estimator import MatrixFactorization

Ids = npt.NDArray[Any]


def load(args: Args) -> MatrixFactorization:
    """The model that a command was given."""
    if Path(args.model).is_dir():
        raise IsADirectoryError(f"{args.model} is a folder, not a model")
    return MatrixFactorization.load(args.model)


def save(model: MatrixFactorization, path: str, *, force: bool) -> None:
    """Write a model; a file that came to stand there meanwhile is replaced only by force."""
    with whole_file(path, overwrite=force) as temporary:
        model.save(temporary)


def known_ids(ids: Ids, texts: Iterable[str], kind: str) -> Ids:
    """The ids among `ids` that are written so.

    A text stands for a whole number only as that is written: 007 is not 7, as in files.

    Raises
    ------
    ValueError
        Naming the first that is not among them.
    """
    wanted = _as_typed(ids, texts)
    found: Ids = ids[index_of(ids, wanted, kind)]
    return found


def places(ids: Ids, others: Ids) -> npt.NDArray[np.intp]:
    """Where other ids stand among `ids`, by how they are written; -1 where they do not."""
    if ids.dtype.kind == others.dtype.kind:
        return find_ids(ids, others)
    return find_ids(ids, _as_typed(ids, map(id_text, others)))


def _as_typed(ids: Ids, texts: Iterable[str]) -> npt.NDArray[np.object_]:
    """Texts as ids of the same kind where they can be that."""
    return np.array([typed_id(ids, text) for text in texts], dtype=object)


def typed_id(ids: Ids, text: str) -> int | str:
    """A text as an id of the same kind as `ids` where it can be that."""
    is_number = ids.dtype.kind == "i" and text.removeprefix("-").isdecimal()
    return int(text) if is_number and str(int(text)) == text else text


def item_titles(args: Args, model: MatrixFactorization) -> dict[Any, str] | None:
    """What the model's items are called, by the file given or the one beside the model."""
    titles = titles_for(args.titles, beside=args.model)
    if titles is None:
        return None
    ids = model.item_ids_
    idx = find_ids(ids, _as_typed(ids, map(str, titles)))
    return {ids[k]: title for k, title in zip(idx, titles.values(), strict=True) if k >= 0}
