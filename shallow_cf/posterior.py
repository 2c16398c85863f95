"""What variational Bayes knows beside the parameters: how sure it is of each of them.

With x_u ~ N(m_u, S_u) and y_i ~ N(m_i, S_i), of `solvers.vb`, and y extended to the (q_i, 1)
that x_u = (p_u, b_u) is multiplied by, the score s = b_u + b_i + p_u . q_i has the variance

    (22j)  Var s = (q, 1)' S_u (q, 1) + (p, 1)' S_i (p, 1) + tr(S_u S_i)

with the trace over the factors alone, and a rating, by (22a), has 1/tau more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from shallow_cf.parameters import FloatArray, IntArray, Parameters, RealArray

#: Pairs handled at once, so that what is gathered for them stays small.
_PAIRS = 4096


class RowPrior(NamedTuple):
    """What a row of one side is taken for before its ratings are known: N(W' f, Lambda^-1)."""

    vectors: RealArray  # by which f is found from which columns were rated, (n_columns, f)
    span: RealArray  # lowest and highest f of the rows that W was learned from, (2, f)
    weights: FloatArray  # W, (f + 1, d)
    precision: FloatArray  # Lambda, (d, d)


@dataclass(frozen=True, eq=False)
class Posterior:
    """How sure a model is of its parameters: covariances, noise, and the priors learned.

    Parameters
    ----------
    user_covariance, item_covariance : (n_users, d (d + 1) / 2) and (n_items, ...) arrays
        S_u and S_i, the upper triangles row by row; d = n_factors, plus 1 with biases.
    user_prior, item_prior : RowPrior
    noise_std : float
        Standard deviation of a rating about its score, stars.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> model = scf.MatrixFactorization(
    ...     2, bias=True, global_mean=True, solver="vb", random_state=0)
    >>> posterior = model.fit(scf.load_crosstab()).posterior_
    >>> posterior.user_covariance.shape, round(posterior.noise_std, 1)
    ((15, 6), 0.9)
    """

    user_covariance: RealArray
    item_covariance: RealArray
    user_prior: RowPrior
    item_prior: RowPrior
    noise_std: float

    def check(self, parameters: Parameters) -> None:
        """Raise ValueError unless it can be that of such parameters."""
        n_users, n_items = parameters.n_users, parameters.n_items
        d = parameters.n_factors + parameters.has_bias
        for n, columns, covariance, prior in (
            (n_users, n_items, self.user_covariance, self.user_prior),
            (n_items, n_users, self.item_covariance, self.item_prior),
        ):
            f = prior.vectors.shape[1]
            shapes = [covariance.shape, *(part.shape for part in prior)]
            if shapes != [(n, d * (d + 1) // 2), (columns, f), (2, f), (f + 1, d), (d, d)]:
                raise ValueError("posterior and parameters do not fit together")
            if not all(np.isfinite(part).all() for part in (covariance, *prior)):
                raise ValueError("the posterior must be finite")
            j, k = np.triu_indices(d)
            if (covariance[:, j == k] < 0).any() or np.linalg.eigvalsh(prior.precision)[0] <= 0:
                raise ValueError("the posterior must have variances above 0")
        if not 0 < self.noise_std < np.inf:
            raise ValueError("the posterior must have a noise above 0")

    def std(self, parameters: Parameters, u: IntArray, i: IntArray) -> FloatArray:
        """Standard deviation of the ratings of users `u` for items `i`, stars. Equation (22j).

        Parameters
        ----------
        parameters : Parameters
            The means that the covariances belong to.
        u, i : arrays of int that broadcast against each other

        Examples
        --------
        >>> import numpy as np, shallow_cf as scf
        >>> model = scf.MatrixFactorization(
        ...     2, bias=True, global_mean=True, solver="vb", random_state=0)
        >>> model = model.fit(scf.load_crosstab())
        >>> one, all_items = np.array(0), np.arange(15)
        >>> std = model.posterior_.std(model.parameters_, one, all_items)
        >>> bool((std > model.posterior_.noise_std).all())
        True
        """
        u, i = np.broadcast_arrays(u, i)
        users, items = u.ravel(), i.ravel()
        variance = np.empty(users.shape)
        for start in range(0, len(users), _PAIRS):
            some = slice(start, start + _PAIRS)
            variance[some] = self._variance(parameters, users[some], items[some])
        # Numbers that are all but certain can leave a little less than 0 by rounding.
        variance = variance.clip(min=0.0) + self.noise_std**2  # (22a): the noise's on top
        std: FloatArray = np.sqrt(variance).reshape(u.shape)
        return std[()]  # of one pair a number, as a prediction is

    def _variance(self, parameters: Parameters, u: IntArray, i: IntArray) -> FloatArray:
        """Variance of scores, stars**2, for vectors of pairs."""
        k = parameters.n_factors
        S_u, S_i = (
            _unpacked(covariance[idx].astype(np.float64))
            for covariance, idx in ((self.user_covariance, u), (self.item_covariance, i))
        )
        p, q = parameters.user_factors[u], parameters.item_factors[i]
        if parameters.has_bias:
            p, q = (np.column_stack((each, np.ones(len(each)))) for each in (p, q))
        found: FloatArray = (
            np.einsum("nj,njk,nk->n", q, S_u, q)
            + np.einsum("nj,njk,nk->n", p, S_i, p)
            + np.einsum("njk,njk->n", S_u[:, :k, :k], S_i[:, :k, :k])
        )  # (22j)
        return found

    def turned(self) -> Posterior:
        """The same with users for items and items for users."""
        return Posterior(
            self.item_covariance, self.user_covariance, self.item_prior, self.user_prior,
            self.noise_std,
        )  # fmt: skip

    def with_user(self, covariance: RealArray) -> Posterior:
        """The same with one more user, of whom the covariance is known, at the end."""
        more = np.vstack((self.user_covariance, covariance.astype(self.user_covariance.dtype)))
        vectors = self.item_prior.vectors  # of the items' patterns, a row a user
        unseen = np.zeros((1, vectors.shape[1]), vectors.dtype)
        prior = self.item_prior._replace(vectors=np.vstack((vectors, unseen)))
        return replace(self, user_covariance=more, item_prior=prior)

    def with_average(self, parameters: Parameters) -> Posterior:
        """The same with one more user and item at the end: any of those known, at random.

        They have the average's means, and beside the average covariance the spread of means.
        """
        (Q, *bi), (P, *bu) = parameters.blocks()[1::2], parameters.blocks()[::2]
        found = self.with_user(_mixed(self.user_covariance, np.column_stack((P, *bu)))).turned()
        return found.with_user(_mixed(self.item_covariance, np.column_stack((Q, *bi)))).turned()


def _mixed(covariance: RealArray, means: FloatArray) -> FloatArray:
    """Covariance of a row drawn at random, (1, d (d + 1) / 2)."""
    deviation = means - means.mean(axis=0)
    spread = deviation.T @ deviation / len(means)
    average = covariance.mean(axis=0, dtype=np.float64, keepdims=True)
    return np.asarray(average + spread[np.triu_indices(len(spread))], np.float64)


def _unpacked(upper: FloatArray) -> FloatArray:
    """Symmetric matrices, (n, d, d), from their upper triangles, (n, d (d + 1) / 2)."""
    d = int((2 * upper.shape[1]) ** 0.5)
    full = np.empty((len(upper), d, d))
    j, k = np.triu_indices(d)
    full[:, j, k] = full[:, k, j] = upper
    return full
