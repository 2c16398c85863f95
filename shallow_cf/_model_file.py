"""A model in one .npz file: settings as JSON beside arrays, nothing pickled."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shallow_cf._files import whole_file
from shallow_cf._ids import as_ids
from shallow_cf.parameters import Parameters
from shallow_cf.posterior import Posterior, RowPrior
from shallow_cf.ratings import Ratings
from shallow_cf.solvers.descent import Progress

VERSION = 2
_BLOCKS = ("user_factors", "item_factors", "user_bias", "item_bias")
#: Ratings at a time.
_BLOCK = 1 << 20
_TRIPLETS = ("user_idx", "item_idx", "rating", "timestamp")

Arrays = dict[str, npt.NDArray[Any]]
Settings = dict[str, Any]


def write(path: str | os.PathLike[str], settings: Settings, arrays: Arrays) -> None:
    """Write a file, whole or not at all; one that stands there is replaced."""
    text = json.dumps(settings | {"version": VERSION}, default=_plain)
    with whole_file(path, overwrite=True) as temporary, temporary.open("wb") as file:
        # An open file, because for a name savez adds ".npz".
        np.savez_compressed(file, settings=np.array(text), **arrays)  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays in JSON's types."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


def read(path: str | os.PathLike[str]) -> tuple[Settings, Arrays]:
    """Settings and arrays of a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    LaterVersionError
        If a later version wrote it.
    Exception
        Whatever a foreign or damaged file makes the parsers raise.
    """
    with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as file:
        arrays = dict(file)
    settings = json.loads(str(arrays.pop("settings")))
    if settings["version"] > VERSION:
        raise LaterVersionError(f"{Path(path).name} was saved by a later version of shallow_cf")
    return settings, arrays


class LaterVersionError(ValueError):
    """The file is of a version of shallow_cf that does not exist yet."""


# --- what is in it ----------------------------------------------------------------------


def pack_parameters(parameters: Parameters) -> tuple[Settings, Arrays]:
    """Mean and range as settings, numbers as arrays."""
    form = {"mean": parameters.global_mean, "range": parameters.rating_range}
    return form, dict(zip(_BLOCKS, parameters.blocks(), strict=False))


def unpack_parameters(form: Settings, arrays: Arrays) -> Parameters:
    """What `pack_parameters` took apart."""
    blocks = (arrays[name] for name in _BLOCKS if name in arrays)
    return Parameters(*blocks, global_mean=form.get("mean"), rating_range=form.get("range"))


def pack_ratings(ratings: Ratings) -> Arrays:
    """The triplets; the ids stand in the file already."""
    columns = {name: getattr(ratings, name) for name in _TRIPLETS}
    return {name: column for name, column in columns.items() if column is not None}


def unpack_ratings(arrays: Arrays) -> Ratings | None:
    """The ratings, or None where the file has none."""
    if "rating" not in arrays:
        return None
    ids = as_ids(arrays["user_ids"]), as_ids(arrays["item_ids"])
    return Ratings(*ids, *(arrays.get(name) for name in _TRIPLETS))  # type: ignore[arg-type]


def pack_posterior(posterior: Posterior) -> Arrays:
    """Covariances, priors and noise."""
    arrays: Arrays = {"posterior.noise_std": np.array(posterior.noise_std)}
    for side in ("user", "item"):
        arrays[f"posterior.{side}_covariance"] = getattr(posterior, f"{side}_covariance")
        prior = getattr(posterior, f"{side}_prior")
        arrays |= {f"posterior.{side}_{k}": v for k, v in prior._asdict().items()}
    return arrays


def unpack_posterior(arrays: Arrays, parameters: Parameters) -> Posterior | None:
    """What `pack_posterior` took apart, or None where the file has none.

    Raises
    ------
    ValueError
        If it does not belong to such parameters.
    """
    if "posterior.noise_std" not in arrays:
        return None

    user_prior, item_prior = (
        RowPrior._make(arrays[f"posterior.{side}_{name}"] for name in RowPrior._fields)
        for side in ("user", "item")
    )
    posterior = Posterior(
        arrays["posterior.user_covariance"],
        arrays["posterior.item_covariance"],
        user_prior,
        item_prior,
        float(arrays["posterior.noise_std"]),
    )
    posterior.check(parameters)
    return posterior


def pack_progress(progress: Progress) -> tuple[Settings, Arrays]:
    """A run that is to go on."""
    state = {"rng": progress.rng_state, "best_epoch": progress.best_epoch}
    arrays = {f"memory.{name}": array for name, array in progress.memory.items()}
    return state, arrays | {"theta": progress.theta, "best_theta": progress.best_theta}


def unpack_progress(state: Settings, arrays: Arrays, trace: list[dict[str, float]]) -> Progress:
    """What `pack_progress` took apart."""
    memory = {
        name.removeprefix("memory."): array
        for name, array in arrays.items()
        if name.startswith("memory.")
    }
    theta, best_theta = arrays["theta"], arrays["best_theta"]
    return Progress(theta, memory, state["rng"], trace, best_theta, state["best_epoch"])


def fingerprint(ratings: Ratings | None) -> str | None:
    """A text that is another one for other ratings, ids and order of ids included."""
    if ratings is None:
        return None
    digest = hashlib.sha256()
    for ids in (ratings.user_ids, ratings.item_ids):
        digest.update(json.dumps(ids.tolist(), default=str).encode())
    # All in 64 bits, whatever they are kept in: equal stars are the same ratings.
    for name, width in (("user_idx", np.int64), ("item_idx", np.int64), ("rating", np.float64)):
        array = getattr(ratings, name)
        for start in range(0, len(array), _BLOCK):
            digest.update(array[start : start + _BLOCK].astype(width).tobytes())
    return digest.hexdigest()
