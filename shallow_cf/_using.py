"""What a fitted model is good for: the methods of `MatrixFactorization` beside fit and predict.

Ids come in and tables come out here; the work is done by `recommend`, `fold_in` and
`meaning`, on parameters and indices.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from shallow_cf import fold_in, meaning
from shallow_cf._checks import check_choice, check_int, check_number
from shallow_cf._ids import index_of
from shallow_cf.meaning import PrincipalComponents
from shallow_cf.parameters import FloatArray, IntArray, Parameters
from shallow_cf.posterior import Posterior
from shallow_cf.ranking import often_rated
from shallow_cf.ratings import Ratings
from shallow_cf.recommend import MEASURES, Explanation, best_items, nearest, terms

#: Id -> what it is called: a dict, or a Series with ids as its index.
Titles = Mapping[Any, str] | pd.Series


class Using:
    """Methods that use what was learned. Not a model by itself."""

    parameters_: Parameters
    user_ids_: npt.NDArray[Any]
    item_ids_: npt.NDArray[Any]
    ratings_: Ratings | None
    posterior_: Posterior | None

    def _fitted(self) -> Parameters:
        """The parameters, or ValueError where there are none yet."""
        raise NotImplementedError

    def recommend(
        self,
        user_id: Any,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        min_ratings: int = 0,
        items: npt.ArrayLike | None = None,
        titles: Titles | None = None,
    ) -> pd.DataFrame:
        """The items with the highest predictions for a user, or for each of several.

        Parameters
        ----------
        user_id : id or sequence of ids
            For whom.
        n : int
            Items for each user; fewer where there are not so many.
        exclude_seen : bool
            Whether to leave out what the user rated.
        min_ratings : int
            Only items with so many ratings or more.
        items : sequence of ids, optional
            Only among these items.
        titles : dict, optional
            Item id -> title, for instance from `read_titles`.

        Returns
        -------
        DataFrame
            ``item_id``, ``prediction`` (stars, highest first; of equal ones the item that
            comes first in ``item_ids_``), and ``title`` where titles were given. For
            several users ``user_id`` comes before, one user after the other.

        Raises
        ------
        ValueError
            If an id was not in the ratings the model was fitted on, or those ratings are
            needed (`exclude_seen`, `min_ratings`) and were not kept.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings = scf.load_crosstab()
        >>> model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(ratings)
        >>> model.recommend(294).round(2)
           item_id  prediction
        0      296        3.35
        1      608        3.22
        2      593        2.83
        >>> model.recommend([294, 564], 2, exclude_seen=False, items=[260, 296, 318]).round(2)
           user_id  item_id  prediction
        0      294      260        4.46
        1      294      296        3.35
        2      564      296        4.82
        3      564      318        4.28
        """
        parameters = self._fitted()
        check_int("n", n, 1)
        asked = np.asarray(user_id)
        u = index_of(self.user_ids_, asked, "user").ravel()
        candidates = self._chosen("item", min_ratings)
        if items is not None:
            among = index_of(self.item_ids_, np.atleast_1d(np.asarray(items)), "item")
            candidates = np.intersect1d(candidates, among)
        seen = self._kept("`exclude_seen=True`") if exclude_seen else None
        row, i, prediction = best_items(parameters, u, n, candidates, seen)
        table = self._table("item", i, titles, prediction=prediction)
        if asked.ndim:
            table.insert(0, "user_id", self.user_ids_[u[row]])
        return table

    def similar_items(
        self,
        item_id: Any,
        n: int = 10,
        *,
        measure: str = "cosine",
        min_ratings: int = 0,
        titles: Titles | None = None,
    ) -> pd.DataFrame:
        """The items whose embeddings are most like that of an item.

        Parameters
        ----------
        item_id : id
        n : int
            How many; fewer where there are not so many.
        measure : {"cosine", "dot"}
            Cosine of the angle between two embeddings, or their dot product, which
            prefers long ones. Biases do not count.
        min_ratings : int
            Only items with so many ratings or more.
        titles : dict, optional
            Item id -> title.

        Returns
        -------
        DataFrame
            ``item_id``, ``similarity`` (highest first), and ``title`` where titles were
            given. The item itself is left out.

        Raises
        ------
        ValueError
            If the id is not known, or `min_ratings` needs ratings that were not kept.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings = scf.load_crosstab()
        >>> model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(ratings)
        >>> model.similar_items(260, 2).round(2)
           item_id  similarity
        0     1196        0.90
        1     1198        0.84
        """
        return self._nearest("item", item_id, n, measure, min_ratings, titles)

    def similar_users(
        self,
        user_id: Any,
        n: int = 10,
        *,
        measure: str = "cosine",
        min_ratings: int = 0,
        titles: Titles | None = None,
    ) -> pd.DataFrame:
        """The users whose embeddings are most like that of a user.

        As `similar_items`, with users for items: `min_ratings` are ratings given, and
        `titles` name users.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings = scf.load_crosstab()
        >>> model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(ratings)
        >>> model.similar_users(294, 2).round(2)
           user_id  similarity
        0       73        0.92
        1      311        0.91
        """
        return self._nearest("user", user_id, n, measure, min_ratings, titles)

    def explain(
        self, user_id: Any, item_id: Any, *, n: int = 5, titles: Titles | None = None
    ) -> Explanation:
        """How the prediction of a user for an item comes about.

        Parameters
        ----------
        user_id, item_id : ids
        n : int
            How many of the items that the user rated to show, those nearest to this one;
            0 does without the ratings the model was fitted on.
        titles : dict, optional
            Item id -> title.

        Returns
        -------
        Explanation
            Its ``terms`` add up to the score, which is the ``prediction`` unless there is
            a rating range.

        Raises
        ------
        ValueError
            If an id is not known, or `n` > 0 and the ratings were not kept.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings = scf.load_crosstab()
        >>> model = scf.MatrixFactorization(2, bias=True, solver="varpro", random_state=0)
        >>> why = model.fit(ratings).explain(294, 296, n=2)
        >>> why.terms[["term", "product"]].round(2)
                term  product
        0  user bias    -0.09
        1  item bias     4.60
        2   factor 1    -0.01
        3   factor 2     0.02
        >>> round(why.score, 2) == round(why.prediction, 2) == 4.51
        True
        >>> why.rated.round(2)
           item_id  similarity  rating
        0     2571        0.98     4.5
        1     1196        0.77     4.0
        """
        parameters = self._fitted()
        check_int("n", n, 0)
        u, i = self._index("user", user_id), self._index("item", item_id)
        user, item = _keys(self.user_ids_[[u]])[0], _keys(self.item_ids_[[i]])[0]
        ratings = self._kept("`explain` with n > 0") if n else None
        stars = {} if ratings is None else _given(ratings, u)
        own = np.array(list(stars), np.intp)
        near, similarity = nearest(parameters.item_factors, i, n, "cosine", own)
        rating = np.array([stars[k] for k in near.tolist()], np.float64)
        return Explanation(
            user_id=user,
            item_id=item,
            title=names_of([item], titles)[0],
            terms=terms(parameters, u, i),
            prediction=float(parameters.predict(u, i)),
            rating_range=parameters.rating_range,
            rating=stars.get(i),
            rated=self._table("item", near, titles, similarity=similarity, rating=rating),
        )

    def predict_all(self, user_ids: npt.ArrayLike | None = None) -> FloatArray:
        """Predicted stars of users for every item.

        Parameters
        ----------
        user_ids : ids, optional
            All users, in the order of ``user_ids_``, if None.

        Returns
        -------
        (n, n_items) array of float
            Stars, a row a user, a column an item in the order of ``item_ids_``; (n_items,)
            for a single id.

        Raises
        ------
        ValueError
            If an id was not in the ratings the model was fitted on.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> model = scf.MatrixFactorization(random_state=0).fit(scf.load_crosstab())
        >>> model.predict_all([294, 509]).shape
        (2, 15)
        """
        parameters = self._fitted()
        if user_ids is None:
            return parameters.predict_all()
        u = index_of(self.user_ids_, user_ids, "user")
        table = parameters.select(u.ravel(), np.arange(parameters.n_items)).predict_all()
        return table.reshape(*u.shape, parameters.n_items)

    def fold_in_user(
        self,
        ratings: Mapping[Any, float],
        user_id: Any = None,
        *,
        reg: float | None = None,
    ) -> Self:
        """A model that knows one more user, from a few ratings and without training.

        All other numbers stay as they are; the new user's minimise
        `objective.half_sse` (the derivation opens `shallow_cf.fold_in`). With solver "vb" they
        are the mean of what the model now knows of the user, and the new model has that in
        its ``posterior_``.

        Parameters
        ----------
        ratings : dict
            Item id -> stars. An empty one is a user of whom nothing is known: all zeros, or
            with solver "vb" the mean of the learned prior.
        user_id : id, optional
            What to call the user; if None, one more than the highest id, or "new user"
            where ids are texts.
        reg : float, optional
            L2 penalty lambda >= 0 on the new numbers. The default, 3, comes within 0.008
            stars of the best penalty in all eight models that it was chosen by. Users of
            MovieLens 100K, folded in from 43 ratings on average and tested on as many
            others: RMSE 0.940 stars with 5 factors and biases (1.014 without a penalty). A
            model of solver "vb" has learned what stands in its place, and takes none.

        Returns
        -------
        MatrixFactorization
            A new one, with the user at the end of ``user_ids_`` and the ratings in
            ``ratings_``; this one stays as it is. ``history_`` and ``result_`` are still
            those of the training. Constraints of `SolverOptions` are not heeded here.

        Raises
        ------
        TypeError, ValueError
            If an item is not known, a rating is no finite number or outside the rating
            range, `user_id` is in use or of another type than the other ids, or `reg` is
            negative, or given to a model of solver "vb".

        Examples
        --------
        >>> import shallow_cf as scf
        >>> model = scf.MatrixFactorization(2, bias=True, solver="varpro", random_state=0)
        >>> model = model.fit(scf.load_crosstab()).fold_in_user({260: 5, 1196: 5, 589: 2})
        >>> model.user_ids_[-1]
        np.int64(625)
        >>> model.recommend(625, 3).round(1)
           item_id  prediction
        0      110         4.8
        1      296         4.8
        2      527         4.5
        """
        return self._folded_in("user", ratings, user_id, reg)

    def fold_in_item(
        self,
        ratings: Mapping[Any, float],
        item_id: Any = None,
        *,
        reg: float | None = None,
    ) -> Self:
        """A model that knows one more item, from a few ratings and without training.

        As `fold_in_user`, with users and items exchanged.

        Parameters
        ----------
        ratings : dict
            User id -> stars.
        item_id : id, optional
            What to call the item; if None, one more than the highest id, or "new item"
            where ids are texts.
        reg : float, optional
            L2 penalty lambda >= 0 on the new numbers; 3 if None. Not with solver "vb".

        Examples
        --------
        >>> import shallow_cf as scf
        >>> model = scf.MatrixFactorization(2, bias=True, solver="varpro", random_state=0)
        >>> model = model.fit(scf.load_crosstab()).fold_in_item({294: 3, 509: 4.5}, 99999)
        >>> model.item_ids_[-1]
        np.int64(99999)
        """
        return self._folded_in("item", ratings, item_id, reg)

    def _folded_in(
        self, side: str, given: Mapping[Any, float], new_id: Any, reg: float | None
    ) -> Self:
        parameters, posterior = self._fitted(), self.posterior_
        if reg is not None and posterior is not None:
            raise ValueError("`reg` must be left out where solver 'vb' has learned a prior")
        reg = check_number("reg", fold_in.DEFAULT_REG if reg is None else reg, 0.0)
        other = "item" if side == "user" else "user"
        idx, stars = fold_in.check_given(given, self._ids(other), other, parameters.rating_range)
        ids = fold_in.with_id(self._ids(side), new_id, side)
        model = copy.copy(self)
        if side == "item":  # a user of the model with users for items
            parameters = fold_in.turned(parameters)
            posterior = posterior and posterior.turned()
        if posterior is None:
            x = fold_in.best_numbers(parameters, idx, stars, reg)
        else:
            x, covariance = fold_in.posterior_numbers(parameters, posterior, idx, stars)
            posterior = posterior.with_user(covariance)
        parameters = fold_in.with_user(parameters, x)
        if side == "item":
            parameters = fold_in.turned(parameters)
            posterior = posterior and posterior.turned()
            model.item_ids_ = ids
        else:
            model.user_ids_ = ids
        model.parameters_, model.posterior_ = parameters, posterior
        if self.ratings_ is not None:
            model.ratings_ = fold_in.with_ratings(self.ratings_, side, ids, idx, stars)
        return model

    def bias_list(
        self,
        n: int = 10,
        *,
        side: str = "item",
        min_ratings: int = 0,
        most_rated: int | None = None,
        titles: Titles | None = None,
    ) -> pd.DataFrame:
        """The lowest and the highest biases.

        An item with a low bias is liked less than its factors would have it, whoever is
        asked; that says more than a low mean rating, which may be due to who rated it.

        Parameters
        ----------
        n : int
            How many of the lowest, and how many of the highest.
        side : {"item", "user"}
            Whose biases.
        min_ratings : int
            Only of those with so many ratings or more.
        most_rated : int, optional
            Only of so many, those with the most ratings; the lessons take 1000.
        titles : dict, optional
            Id -> title.

        Returns
        -------
        DataFrame
            ``end`` ("lowest", the lowest first; then "highest", the highest first),
            ``item_id`` or ``user_id``, ``bias`` (stars; with a rating range in terms of the
            score), and ``title`` where titles were given.

        Raises
        ------
        ValueError
            If the model has no biases, or ratings are needed that were not kept.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> model = scf.MatrixFactorization(2, bias=True, solver="varpro", random_state=0)
        >>> model.fit(scf.load_crosstab()).bias_list(2, side="user").round(2)
               end  user_id  bias
        0   lowest      468 -0.74
        1   lowest      213 -0.60
        2  highest       73  0.56
        3  highest       30  0.46
        """
        parameters = self._fitted()
        check_int("n", n, 1)
        check_choice("side", side, ("item", "user"))
        if parameters.biases is None:
            raise ValueError("this model has no biases: fit one with bias=True")
        chosen = self._chosen(side, min_ratings, most_rated)
        bias = parameters.biases[side == "item"]
        return self._ends(side, chosen, bias[chosen], n, "bias", titles)

    def principal_components(
        self,
        n: int = 3,
        *,
        min_ratings: int = 0,
        most_rated: int | None = None,
        titles: Titles | None = None,
    ) -> PrincipalComponents:
        """The directions along which the items' factors differ most.

        Factors may be rotated without any change of a prediction, so a single factor
        means little; these directions do not depend on the rotation, but for their signs:
        which end of one is called positive may change from training to training.

        Parameters
        ----------
        n : int
            How many, at most the number of factors.
        min_ratings : int
            Only items with so many ratings or more.
        most_rated : int, optional
            Only so many items, those with the most ratings; the lessons take 1000.
        titles : dict, optional
            Item id -> title.

        Returns
        -------
        PrincipalComponents
            ``items``, a DataFrame with the coordinates; ``directions``; ``share`` of the
            variance.

        Raises
        ------
        ValueError
            If there are not so many components, or ratings are needed that were not kept.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> model = scf.MatrixFactorization(solver="varpro", random_state=0)
        >>> found = model.fit(scf.load_crosstab()).principal_components(2)
        >>> found.items.columns.tolist()
        ['item_id', 'component 1', 'component 2']
        >>> found.share.round(2)
        array([0.28, 0.27])
        """
        parameters = self._fitted()
        check_int("n", n, 1)
        chosen = self._chosen("item", min_ratings, most_rated)
        most = min(len(chosen), parameters.n_factors)
        if n > most:
            raise ValueError(
                f"`n` must be <= {most} with {len(chosen)} items of {parameters.n_factors} "
                f"factors, got {n}"
            )
        factors = parameters.item_factors[chosen]
        coordinates, directions, share = meaning.components(factors, n)
        columns = {f"component {k}": x for k, x in enumerate(coordinates.T, start=1)}
        items = self._table("item", chosen, titles, **columns)
        return PrincipalComponents(items, directions, share)

    def factor_extremes(
        self,
        n: int = 5,
        *,
        components: int | None = None,
        min_ratings: int = 0,
        most_rated: int | None = None,
        titles: Titles | None = None,
    ) -> pd.DataFrame:
        """The items at both ends of each factor, or of each principal component.

        Parameters
        ----------
        n : int
            How many items at each end.
        components : int, optional
            Sort along so many principal components instead of the factors.
        min_ratings, most_rated, titles
            As in `principal_components`.

        Returns
        -------
        DataFrame
            ``factor`` ("factor 1", ... or "component 1", ...), ``end`` ("lowest", the
            lowest first; then "highest", the highest first), ``item_id``, ``value``, and
            ``title`` where titles were given.

        Raises
        ------
        ValueError
            If there are not so many components, or ratings are needed that were not kept.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> model = scf.MatrixFactorization(solver="varpro", random_state=0)
        >>> model.fit(scf.load_crosstab()).factor_extremes(2, components=1).round(2)
                factor      end  item_id  value
        0  component 1   lowest      318  -1.11
        1  component 1   lowest      608  -0.77
        2  component 1  highest      260   1.46
        3  component 1  highest     1196   0.76
        """
        parameters = self._fitted()
        check_int("n", n, 1)
        chosen = self._chosen("item", min_ratings, most_rated)
        if components is None:
            factors = parameters.item_factors[chosen].T
            lines = {f"factor {k}": values for k, values in enumerate(factors, start=1)}
        else:
            found = self.principal_components(
                components, min_ratings=min_ratings, most_rated=most_rated
            )
            lines = {
                name: np.asarray(found.items[name], np.float64) for name in found.items.columns[1:]
            }
        tables = []
        for name, values in lines.items():
            table = self._ends("item", chosen, values, n, "value", titles)
            table.insert(0, "factor", name)
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def _nearest(
        self,
        side: str,
        wanted: Any,
        n: int,
        measure: str,
        min_ratings: int,
        titles: Titles | None,
    ) -> pd.DataFrame:
        parameters = self._fitted()
        check_int("n", n, 1)
        check_choice("measure", measure, MEASURES)
        k = self._index(side, wanted)
        factors = parameters.item_factors if side == "item" else parameters.user_factors
        idx, similarity = nearest(factors, k, n, measure, self._chosen(side, min_ratings))
        return self._table(side, idx, titles, similarity=similarity)

    def _ids(self, side: str) -> npt.NDArray[Any]:
        return self.item_ids_ if side == "item" else self.user_ids_

    def _index(self, side: str, wanted: Any) -> int:
        """Where a single id stands."""
        if np.ndim(wanted):
            raise TypeError(f"`{side}_id` must be a single id, got {wanted!r}")
        return int(index_of(self._ids(side), wanted, side))

    def _kept(self, wants: str) -> Ratings:
        """The ratings the model was fitted on, or ValueError saying what wants them."""
        if self.ratings_ is None:
            raise ValueError(
                f"this model was saved without its ratings, and {wants} needs them: "
                "fit it again, or do without"
            )
        return self.ratings_

    def _chosen(self, side: str, min_ratings: int, most_rated: int | None = None) -> IntArray:
        """Indices of the users or items with many ratings, ascending."""
        check_int("min_ratings", min_ratings, 0)
        if most_rated is not None:
            check_int("most_rated", most_rated, 1)
        ids = self._ids(side)
        if min_ratings == 0 and most_rated is None:
            return np.arange(len(ids))
        ratings = self._kept("`min_ratings`" if most_rated is None else "`most_rated`")
        idx = ratings.item_idx if side == "item" else ratings.user_idx
        return often_rated(np.bincount(idx, minlength=len(ids)), min_ratings, most_rated)

    def _table(
        self, side: str, idx: IntArray, titles: Titles | None, **columns: FloatArray
    ) -> pd.DataFrame:
        """Ids, columns of numbers, and titles ("" where one is missing) if there are any."""
        ids = self._ids(side)[idx]
        table = pd.DataFrame({f"{side}_id": ids, **columns})
        if titles is not None:
            table["title"] = names_of(_keys(ids), titles)
        return table

    def _ends(
        self,
        side: str,
        chosen: IntArray,
        values: FloatArray,
        n: int,
        name: str,
        titles: Titles | None,
    ) -> pd.DataFrame:
        """The lowest and the highest of the chosen users or items, by their values."""
        lowest, highest = meaning.extremes(values, n)
        both = np.append(lowest, highest)
        table = self._table(side, chosen[both], titles, **{name: values[both]})
        table.insert(0, "end", ["lowest"] * len(lowest) + ["highest"] * len(highest))
        return table


def names_of(keys: list[Any], titles: Titles | None) -> list[str]:
    """What the ids are called, "" where that is not known.

    Raises
    ------
    TypeError
        If the titles are no dict and no Series.
    """
    if not isinstance(titles, Mapping | pd.Series | None):
        raise TypeError(f"`titles` must be a dict of ids and titles, got {type(titles).__name__}")
    known = {} if titles is None else titles
    return [str(known.get(key, "")) for key in keys]


def _keys(ids: npt.NDArray[Any]) -> list[Any]:
    """Ids as one writes them in a dict; dates as NumPy has them, which `tolist` may count."""
    return list(ids) if ids.dtype.kind == "M" else ids.tolist()


def _given(ratings: Ratings, u: int) -> dict[int, float]:
    """Item -> stars, of all that a user rated, in the order of the items."""
    # Ratings are sorted by user. In 32 bits, or NumPy would make a copy of all in 64.
    own = slice(*np.searchsorted(ratings.user_idx, np.array([u, u + 1], np.int32)))
    return dict(zip(ratings.item_idx[own].tolist(), ratings.rating[own].tolist(), strict=True))
