r"""Variable projection: the movies' numbers are never searched for, they follow.

Given the users' numbers, each movie's best numbers are a linear least-squares problem. So
they are eliminated (Golub and Pereyra 1973, "The differentiation of pseudo-inverses and
nonlinear least squares problems whose variables separate", SIAM J. Numer. Anal. 10(2)),
and what is left to search, the projected objective phi, has half the variables and far
fewer traps; for matrix factorisation see Hong and Fitzgibbon (2015), "Secrets of matrix
factorization", ICCV.

Notation beside that of `objective`: N holds the searched rows n_u = (p_u, b_u); v_i =
(q_i, b_i) is eliminated; c_i = (q_i, 1); A_i has the rows (p_u, 1) for u in U(i), and
t_i the entries r_ui - b_u. Without biases n_u = p_u, v_i = c_i = q_i, and A_i and t_i hold
p_u and r_ui. With the singular value decomposition A_i = L S R' and lambda = reg:

    (8)   v_i  = argmin 1/2 |A_i v - t_i|^2 + lambda/2 |v|^2 = R S/(S^2 + lambda) L' t_i
          e_i  = A_i v_i - t_i                                                (2)
    (9)   phi  = 1/2 sum |e_i|^2 + lambda/2 (sum |v_i|^2 + |N|^2)             (3a)

A movie with fewer ratings than factors has several best v_i; (8) leaves out the singular
values that are zero, and so takes the shortest.

Gradient. As v_i is optimal, its own change does not count (the envelope theorem), so it is
that of the movie's half: (4a) and (4c).
    (10)  dphi/dN_uk = sum over i in I(u) of e_ui c_ik + lambda N_uk

Jacobian. Differentiating the normal equations A' e + lambda v = 0 of (8), with
G = A'A + lambda I, dA the change of A_i (its column of ones does not change) and dN c_i
that of A_i v_i - t_i at fixed v_i:
    (11)  dv = -1/G (dA' e + A' dN c)
          de = dN c + A dv = (I - A 1/G A') dN c - A 1/G dA' e

Second derivatives. Differentiating (10): dc_i = dv_i without its entry for b_i, so
    (12)  H = sum over i of   (M_i - A 1/G A') (x) c c'  -  e e' (x) 1/G  -  X - X'  (+ lambda I)
          with X[(u,k),(w,l)] = c_k e_w (A 1/G)_ul, and M_i the rated users of i on the
          diagonal; 1/G and X without the row and column of b_i, which n_u does not have.
    (12')  J'J = sum over i of (M_i - A 1/G A') (x) c c'  +  e e' (x) 1/G
          for lambda = 0: Gauss and Newton's approximation of H, from (11).

Every step solves (H + mu I) d = -gradient, mu falling after a success and growing after a
failure (Levenberg 1944, Marquardt 1963). With (12') that is the method of the papers; (12)
costs the same here, as all of it comes from the same small products, and needs a fifth of
the steps on the lesson's table, with biases a fifteenth. P T and Q T^-1' describe the same
predictions for every invertible T, so without penalty P is made orthonormal again after
each step and the step is kept from leading along the old P (Ruhe and Wedin 1980,
"Algorithms for separable nonlinear least squares problems", SIAM Review 22(3), treat the
family of such methods); with biases P is also centred and b_u made orthogonal to it, since
what P and b_i can say need not be said by b_u.

The first steps are taken with a penalty, 1.4 standard deviations of the ratings. Its
minimum is that of a convex function, the squared error plus lambda times the nuclear norm
of P Q' (Srebro, Rennie and Jaakkola 2004, "Maximum-margin matrix factorization"), wherever
that has no more than n_factors factors, so the search enters the final problem from one
side and not from wherever it was started.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import linalg

from shallow_cf import objective
from shallow_cf._checks import check_choice, check_number, check_share
from shallow_cf.parameters import FloatArray, Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.solvers.monitor import Monitor
from shallow_cf.solvers.multistart import multistart
from shallow_cf.solvers.options import MultistartOptions, check_limits, draw_start
from shallow_cf.solvers.result import MESSAGES, Callback, SolverResult, check_start

HESSIANS = ("exact", "gauss_newton")

#: The first penalty, in standard deviations of the ratings. On the lesson's table with
#: biases 0.75 to 4 of them lead to the best known optimum from all of 100 starts.
_FIRST_PENALTY = 1.4
#: Relative fall of phi in a step, below which the first penalty has done its work.
_FIRST_CONVERGENCE = 1e-4
#: Largest entry of the gradient of phi, over n rmse, that counts as zero: code 0.
_OPTIMALITY_TOLERANCE = 1e-9
#: An RMSE that is zero but for rounding, in units of the largest rating.
_PERFECT = 1e-13
#: Damping mu, relative to the mean of H's diagonal: at first, at least, and where a step is
#: given up.
_FIRST_DAMPING, _SMALLEST_DAMPING, _LARGEST_DAMPING = 1e-2, 1e-15, 1e12
#: Singular values below this, relative to the largest, count as zero.
_RANK_TOLERANCE = 1e-10
#: Numbers in H, and in the largest table behind it: 8 bytes each.
_MAX_NUMBERS = 50_000_000


@dataclass(frozen=True, kw_only=True)
class VarproOptions(MultistartOptions):
    """Settings of variable projection.

    Parameters
    ----------
    reg : float
        L2 penalty lambda >= 0 of `objective.half_sse`.
    hessian : {"exact", "gauss_newton"}
        Second derivatives (12), or their approximation (12') by the projected Jacobian.
    convergence : float
        Between 0 and 1: stop when five iterations in a row change the RMSE by less than
        this, relatively.
    iterations : int, optional
        Most iterations; None for no limit.
    max_time : float, optional
        Most seconds; None for no limit.
    multistart, population_size, random_seed
        See `MultistartOptions`.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of its range.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> options = scf.VarproOptions(iterations=50)
    >>> model = scf.MatrixFactorization(solver="varpro", solver_options=options, random_state=0)
    >>> round(model.fit(scf.load_crosstab()).result_.rmse_after, 4)
    0.3929
    """

    reg: float = 0.0
    hessian: str = "exact"
    convergence: float = 1e-10
    iterations: int | None = None
    max_time: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("reg", self.reg, 0.0)
        check_choice("hessian", self.hessian, HESSIANS)
        check_share("convergence", self.convergence)
        check_limits(self.iterations, self.max_time)


def solve(
    ratings: Ratings,
    parameters: Parameters,
    options: VarproOptions | None = None,
    callback: Callback | None = None,
    random_state: int | np.random.Generator | None = None,
) -> SolverResult:
    """Minimise `objective.half_sse` by variable projection.

    Parameters
    ----------
    ratings : Ratings
    parameters : Parameters
        Where to start; left as they are. The items' numbers are not looked at. What is
        found is never worse than the start.
    options : VarproOptions, optional
    callback : callable, optional
        Called after each iteration with the row of the trace: ``iteration``,
        ``train_rmse``, ``step``, ``gradient_norm`` (both of the users' numbers),
        ``seconds`` (with multistart after each search, see `multistart.multistart`).
        Returning True stops (code 6), and so does Ctrl-C; what was reached is kept.
    random_state : int or Generator, optional
        Of multistart's starts where ``options.random_seed`` is 0; nothing else is drawn.

    Returns
    -------
    SolverResult
        Without a penalty the factors found are orthogonal, sorted by size and as long on
        the users' side as on the items'; with biases they are centred.

    Raises
    ------
    ValueError
        If the parameters do not fit the ratings or are not finite, or the table is too
        large for a matrix of second derivatives.

    Examples
    --------
    >>> from shallow_cf import Parameters, load_crosstab
    >>> from shallow_cf.solvers import varpro
    >>> result = varpro.solve(load_crosstab(), Parameters.random(15, 15, 5, random_state=0))
    >>> round(result.rmse_after, 4), result.message[:25]
    (0.3929, 'Solver found a solution. ')
    """
    options = options or VarproOptions()
    check_start(ratings, parameters)
    parameters.check_plain("solver varpro")
    if options.multistart:
        unbounded = np.full(parameters.n_params, np.inf)
        return multistart(
            lambda start, local: solve(ratings, start, local),
            lambda rng: draw_start(rng, -unbounded, unbounded),
            parameters,
            options,
            options,
            callback,
            random_state,
            lambda run: objective.half_sse(ratings, run.parameters, options.reg),
        )
    cells = Cells.of(ratings, parameters)
    monitor = Monitor(options.convergence, options.iterations, options.max_time, callback)
    with np.errstate(over="ignore", invalid="ignore"):
        before = objective.half_sse(ratings, parameters, options.reg)
        monitor.note(searched(parameters), objective.rmse(ratings, parameters))
        if np.isfinite(before):
            found, code = _search(cells, parameters, options, monitor, before)
        else:
            found, code = parameters, 9
    if code != 9:
        # Of the numbers returned: making the factors orthogonal changes the last digit.
        monitor.trace[-1]["train_rmse"] = objective.rmse(ratings, found)
    return SolverResult(
        parameters=found,
        trace=monitor.trace,
        code=code,
        message=MESSAGES[code],
        seconds=monitor.seconds,
        start=parameters,
        n_function=cells.counts["function"],
        n_gradient=cells.counts["gradient"],
        reduced_gradient=None if code == 9 else objective.rmse_gradient(ratings, found),
    )


class Cells(NamedTuple):
    """The table with a row an item, (n_items, n_users), and what was asked of it.

    Examples
    --------
    >>> from shallow_cf import Parameters, Ratings
    >>> ratings = Ratings.from_arrays([["ann", 1], ["ann", 2], ["bob", 1]], [4, 3, 5])
    >>> cells = Cells.of(ratings, Parameters.random(2, 2, 1))
    >>> cells.rating.tolist(), cells.rated.tolist()
    ([[4.0, 5.0], [3.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]])
    """

    rated: FloatArray
    rating: FloatArray
    has_bias: bool
    counts: dict[str, int]

    @classmethod
    def of(cls, ratings: Ratings, like: Parameters) -> Cells:
        """The cells of a table for such parameters.

        Raises
        ------
        ValueError
            If the second derivatives would take too much memory.

        Examples
        --------
        >>> from shallow_cf import Parameters, load_crosstab
        >>> cells = Cells.of(load_crosstab(), Parameters.random(15, 15))
        >>> int(cells.rated.sum()), cells.has_bias
        (206, False)
        """
        searched = like.n_users * (like.n_factors + like.has_bias)
        if max(like.n_items * like.n_users**2, searched**2) > _MAX_NUMBERS:
            raise ValueError(
                f"{ratings!r} is too large for varpro, which holds a table of n_items x "
                f"n_users**2 and one of (n_users x n_factors)**2: use another solver, or "
                "ask for fewer users or items"
            )
        rated = np.zeros((like.n_items, like.n_users))
        rating = np.zeros_like(rated)
        rated[ratings.item_idx, ratings.user_idx] = 1.0
        rating[ratings.item_idx, ratings.user_idx] = ratings.rating
        return cls(rated, rating, like.has_bias, {"function": 0, "gradient": 0})


class Projection:
    """phi and its derivatives at one N, with the items' best numbers.

    Parameters
    ----------
    cells : Cells
    N : (n_users, n_factors or n_factors + 1) array
        P, and b_u as its last column where there are biases.
    reg : float

    Attributes
    ----------
    phi : float
        The projected objective (9), stars**2.
    rmse : float
        Stars.
    v : (n_items, n_factors or n_factors + 1) array
        The items' numbers (8).
    e : (n_items, n_users) array
        Residuals (2), 0 where nothing is rated, stars.

    Examples
    --------
    >>> import numpy as np
    >>> from shallow_cf import Parameters, Ratings
    >>> ratings = Ratings.from_arrays([["ann", 1], ["bob", 1]], [4, 2])
    >>> N = np.array([[1.0], [1.0]])
    >>> here = Projection(Cells.of(ratings, Parameters(N, [[0]])), N, reg=0.0)
    >>> here.v.round(6).tolist(), here.e.round(6).tolist(), round(here.phi, 6)  # the mean is best
    ([[3.0]], [[-1.0, 1.0]], 1.0)
    >>> here.gradient().round(6).tolist()
    [[-3.0], [3.0]]
    """

    def __init__(self, cells: Cells, N: FloatArray, reg: float) -> None:
        cells.counts["function"] += 1
        self.cells, self.N, self.reg = cells, N, reg
        A, t = N, cells.rating
        if cells.has_bias:
            A = np.column_stack((N[:, :-1], np.ones(len(N))))
            t = cells.rated * (cells.rating - N[:, -1])
        # An SVD an item, of the rows of its own users.
        self._L, s, self._R = np.linalg.svd(cells.rated[:, :, None] * A, full_matrices=False)
        is_kept = s > _RANK_TOLERANCE * s[:, :1]
        self._inverse = np.where(is_kept, 1 / np.where(is_kept, s**2 + reg, 1.0), 0.0)  # of G
        self._gain = self._inverse * s  # S/(S^2 + lambda)
        t_in_L = np.einsum("iur,iu->ir", self._L, t)
        self.v = np.einsum("ir,irk->ik", self._gain * t_in_L, self._R)  # (8)
        self._kept_of_t = self._gain * s  # S^2/(S^2 + lambda), in A 1/G A' = L that L'
        self.e = np.einsum("iur,ir->iu", self._L, self._kept_of_t * t_in_L) - t  # (2)
        squares = float(np.vdot(self.e, self.e))
        self.rmse = float(np.sqrt(squares / cells.rated.sum()))  # (3b)
        penalty = float(np.vdot(self.v, self.v) + np.vdot(N, N))
        self.phi = squares / 2 + reg / 2 * penalty  # (9)
        self.c = self.v.copy()
        if cells.has_bias:
            self.c[:, -1] = 1.0

    def gradient(self) -> FloatArray:
        """The gradient of phi, of N's shape. Equation (10).

        Examples
        --------
        >>> import numpy as np
        >>> from shallow_cf import Parameters, Ratings
        >>> ratings = Ratings.from_arrays([["ann", 1], ["bob", 1]], [4, 2])
        >>> N = np.array([[1.0], [1.0]])
        >>> cells = Cells.of(ratings, Parameters(N, [[0]]))
        >>> Projection(cells, N, reg=0.0).gradient().round(6).tolist()  # e = (-1, 1) times v = 3
        [[-3.0], [3.0]]
        """
        gradient: FloatArray = self.e.T @ self.c + self.reg * self.N  # (10)
        return gradient

    def hessian(self, kind: str = "exact") -> FloatArray:
        """The second derivatives of phi, in the order of N row by row. (12) or (12').

        Parameters
        ----------
        kind : {"exact", "gauss_newton"}

        Examples
        --------
        >>> import numpy as np
        >>> from shallow_cf import Parameters, Ratings
        >>> ratings = Ratings.from_arrays([["ann", 1], ["bob", 1]], [4, 2])
        >>> N = np.array([[1.0], [1.0]])
        >>> cells = Cells.of(ratings, Parameters(N, [[0]]))
        >>> Projection(cells, N, reg=0.0).hessian().round(6).tolist()
        [[7.0, -4.0], [-4.0, 1.0]]
        """
        self.cells.counts["gradient"] += 1
        n_items, n_users = self.e.shape
        width = self.c.shape[1]
        # (11): what dN c comes with, M_i - A 1/G A', and dA' e, A 1/G
        M_less_AGA = -(self._L * self._kept_of_t[:, None, :]) @ self._L.transpose(0, 2, 1)
        M_less_AGA[:, np.arange(n_users), np.arange(n_users)] += self.cells.rated
        G_inverse = self._R.transpose(0, 2, 1) @ (self._inverse[:, :, None] * self._R)
        A_G = (self._L * self._gain[:, None, :]) @ self._R
        if self.reg > 0:  # where A is zero, G is lambda alone
            kept = (self._inverse > 0)[:, :, None] * self._R
            G_inverse += (np.eye(width) - kept.transpose(0, 2, 1) @ kept) / self.reg
        if self.cells.has_bias:  # b_i is the partner of nothing in N
            G_inverse[:, -1], G_inverse[:, :, -1], A_G[:, :, -1] = 0.0, 0.0, 0.0

        def summed(left: FloatArray, right: FloatArray) -> FloatArray:
            # Over items, for every pair of what stands in left with what stands in right.
            return left.reshape(n_items, -1).T @ right.reshape(n_items, -1)

        by_users = n_users, n_users, width, width  # u, w, k, l
        ee, cc = self.e[:, :, None] * self.e[:, None, :], self.c[:, :, None] * self.c[:, None, :]
        H = summed(M_less_AGA, cc).reshape(by_users)
        curved = summed(ee, G_inverse).reshape(by_users)
        if kind == "gauss_newton":
            H = H + curved  # (12')
        else:
            ec = self.e[:, :, None] * self.c[:, None, :]
            X = summed(ec, A_G).reshape(n_users, width, n_users, width)  # w, k, u, l
            X = X.transpose(2, 0, 1, 3)
            H = H - curved - X - X.transpose(1, 0, 3, 2)  # (12)
        H = H.transpose(0, 2, 1, 3).reshape(n_users * width, n_users * width)
        H[np.diag_indices_from(H)] += self.reg
        return H

    def parameters(self) -> Parameters:
        """N and v as parameters.

        Examples
        --------
        >>> import numpy as np
        >>> from shallow_cf import Parameters, Ratings
        >>> ratings = Ratings.from_arrays([["ann", 1], ["bob", 1]], [4, 2])
        >>> N = np.array([[1.0], [1.0]])
        >>> cells = Cells.of(ratings, Parameters(N, [[0]]))
        >>> Projection(cells, N, reg=0.0).parameters().item_factors.round(6).tolist()
        [[3.0]]
        """
        if not self.cells.has_bias:
            return Parameters(self.N, self.v)
        return Parameters(self.N[:, :-1], self.v[:, :-1], self.N[:, -1], self.v[:, -1])


def searched(parameters: Parameters) -> FloatArray:
    """N, (n_users, n_factors), or (n_users, n_factors + 1) with biases: P and b_u.

    Examples
    --------
    >>> from shallow_cf import Parameters
    >>> searched(Parameters([[1, 2], [3, 4]], [[5, 6]], [7, 8], [9])).tolist()
    [[1.0, 2.0, 7.0], [3.0, 4.0, 8.0]]
    """
    if parameters.user_bias is None:
        return parameters.user_factors.copy()
    return np.column_stack((parameters.user_factors, parameters.user_bias))


def _search(
    cells: Cells, start: Parameters, options: VarproOptions, monitor: Monitor, before: float
) -> tuple[Parameters, int]:
    """What is found, and the result code."""
    N = searched(start)
    if np.linalg.matrix_rank(start.user_factors) < min(start.user_factors.shape):
        # Columns that are equal, or zero, would stay so for ever.
        N[:, : start.n_factors] = np.eye(*start.user_factors.shape)
    first_penalty = _FIRST_PENALTY * float(cells.rating[cells.rated > 0].std())
    here, code = Projection(cells, N, options.reg), None
    if first_penalty > options.reg:
        here, code = _descend(cells, N, first_penalty, options, monitor, is_last=False)
    if code is None:
        monitor.begin_again()
        here, code = _descend(cells, here.N, options.reg, options, monitor)
    # A run that was stopped early may still carry the numbers of the first penalty.
    here = Projection(cells, here.N, options.reg)
    if here.phi > before:
        # The start was in a better valley than the one that the penalty led to.
        here = Projection(cells, searched(start), options.reg)
        if code in (0, 1, 2):
            here, code = _descend(cells, here.N, options.reg, options, monitor)
    found = here.parameters()
    return (found if options.reg > 0 else balanced(found)), 1 if code is None else code


def _descend(
    cells: Cells,
    N: FloatArray,
    reg: float,
    options: VarproOptions,
    monitor: Monitor,
    *,
    is_last: bool = True,
) -> tuple[Projection, int | None]:
    """Levenberg-Marquardt steps from N; the code is None if a first penalty is done with."""
    # With a penalty the lengths count, and with fewer users than columns all is spanned.
    is_free = reg == 0 and N.shape[1] <= len(N)
    here = Projection(cells, _orthonormal(N, cells.has_bias) if is_free else N, reg)
    damping = _FIRST_DAMPING
    try:
        while True:
            g = here.gradient()
            n_rmse = float(cells.rated.sum()) * here.rmse
            is_perfect = here.rmse <= _PERFECT * float(np.abs(cells.rating).max())
            norm = 0.0 if is_perfect else float(np.abs(g).max()) / n_rmse
            code = monitor.note(here.N, here.rmse, norm)
            if norm <= _OPTIMALITY_TOLERANCE:
                return here, 0 if is_last else None
            if code == 1 and not is_last:
                return here, None
            if code is not None:
                return here, code
            there, damping = _step(here, g, damping, options.hessian, is_free)
            if there is None:
                return here, 2 if is_last else None
            fall, here = here.phi - there.phi, there
            if not is_last and fall < _FIRST_CONVERGENCE * here.phi:
                return here, None
    except KeyboardInterrupt:
        return here, 6


def _step(
    here: Projection, g: FloatArray, damping: float, hessian: str, is_free: bool
) -> tuple[Projection | None, float]:
    """The next point, None if there is no lower one, and the damping to go on with."""
    H = here.hessian(hessian)
    diagonal = np.diag_indices_from(H)
    unit = float(np.abs(H[diagonal]).mean())
    if is_free:
        # No step along what P (and the column of ones) spans: it would change nothing.
        basis = here.N.copy()
        if here.cells.has_bias:
            basis[:, -1] = len(basis) ** -0.5
        H += unit * np.kron(basis @ basis.T, np.eye(here.N.shape[1]))
    while damping <= _LARGEST_DAMPING:
        damped = H.copy()
        damped[diagonal] += damping * unit
        try:
            factor = linalg.cho_factor(damped, lower=True, overwrite_a=True, check_finite=False)
        except linalg.LinAlgError:  # not positive definite: the step could lead up
            damping = max(10 * damping, 1e-6)
            continue
        N = here.N - linalg.cho_solve(factor, g.ravel(), check_finite=False).reshape(g.shape)
        there = Projection(
            here.cells, _orthonormal(N, here.cells.has_bias) if is_free else N, here.reg
        )
        if there.phi < here.phi:
            return there, max(damping / 10, _SMALLEST_DAMPING)
        damping *= 10
    return None, damping


def _orthonormal(N: FloatArray, has_bias: bool) -> FloatArray:
    """Another N of the same phi: P orthonormal; with biases centred, and b_u apart from it."""
    if not has_bias:
        return np.linalg.qr(N)[0]
    centred = N - N.mean(axis=0)
    P, bu = np.linalg.qr(centred[:, :-1])[0], centred[:, -1]
    return np.column_stack((P, bu - P @ (P.T @ bu)))


def balanced(parameters: Parameters) -> Parameters:
    """Parameters of the same predictions, with orthogonal factors, the largest first.

    P and Q are U sqrt(S) and V sqrt(S) of the singular value decomposition U S V' of their
    product. With biases the factors are centred first: what they say of all users or all
    items alike goes to the biases.

    Examples
    --------
    >>> import numpy as np
    >>> from shallow_cf import Parameters
    >>> before = Parameters.random(15, 15, 5, random_state=0)
    >>> after = balanced(before)
    >>> np.allclose(after.predict_all(), before.predict_all())
    True
    >>> gram = after.user_factors.T @ after.user_factors
    >>> np.allclose(gram, np.diag(np.diag(gram)))
    True
    """
    P, Q = parameters.user_factors, parameters.item_factors
    biases: tuple[FloatArray, ...] = ()
    if parameters.biases is not None:
        bu, bi = parameters.biases
        bi = bi + Q @ P.mean(axis=0)
        P = P - P.mean(axis=0)
        bu = bu + P @ Q.mean(axis=0)
        Q = Q - Q.mean(axis=0)
        biases = (bu, bi)
    (left, R_left), (right, R_right) = np.linalg.qr(P), np.linalg.qr(Q)
    U, S, Vt = np.linalg.svd(R_left @ R_right.T, full_matrices=False)
    new_P, new_Q = np.zeros_like(P), np.zeros_like(Q)
    new_P[:, : len(S)] = left @ U * np.sqrt(S)
    new_Q[:, : len(S)] = right @ Vt.T * np.sqrt(S)
    return Parameters(new_P, new_Q, *biases)
