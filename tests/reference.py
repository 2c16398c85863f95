"""Slow, readable twins of the package's mathematics, in plain Python loops.

Nothing here uses NumPy's arithmetic or a line of shallow_cf's. Each function is the
formula of `shallow_cf.objective` (its number stands beside the line) written as one
would say it: "for every rating, for every factor". Read these first; the package must
agree with them, only faster.

Parameters are plain lists here: ``Plain(P, Q, bu, bi)``, with ``bu = bi = None`` for a
model without biases. A gradient has the same form, because it has one number for each
parameter. Ratings are a list of triplets ``(u, i, r)``: blank cells simply do not occur.
"""

import math
from typing import NamedTuple

import numpy as np

from shallow_cf import Parameters, Ratings


class Plain(NamedTuple):
    """Parameters, or a gradient, as lists."""

    P: list  # P[u][k]
    Q: list  # Q[i][k]
    bu: list | None = None  # bu[u]
    bi: list | None = None  # bi[i]


def predict(theta, u, i):
    """The dot product of two rows, plus two biases if there are biases."""
    r_hat = 0.0
    for k in range(len(theta.P[u])):
        r_hat += theta.P[u][k] * theta.Q[i][k]  # (1)
    if theta.bu is not None:
        r_hat += theta.bu[u] + theta.bi[i]  # (1)
    return r_hat


def rmse(triplets, theta):
    sse = 0.0
    for u, i, r in triplets:
        e = predict(theta, u, i) - r  # (2)
        sse += e * e
    return math.sqrt(sse / len(triplets))  # (3b)


def half_sse(triplets, theta, reg=0.0):
    total = 0.0
    for u, i, r in triplets:
        e = predict(theta, u, i) - r  # (2)
        total += e * e / 2
    for number in pack(theta):
        total += reg * number * number / 2
    return total  # (3a)


def half_sse_gradient(triplets, theta, reg=0.0):
    """Every rating adds its part to the rows of its user and of its item."""
    G = scaled(theta, reg)  # the penalty's part: reg times the parameter itself
    for u, i, r in triplets:
        e = predict(theta, u, i) - r  # (2)
        add_rating(G, theta, u, i, e)
    return G


def rmse_gradient(triplets, theta):
    n, value = len(triplets), rmse(triplets, theta)
    return scaled(half_sse_gradient(triplets, theta), 1 / (n * value))  # (5)


def sgd_epoch(triplets, theta, eta, batch_size, reg=0.0, row_limit=None):
    """Once through the ratings in the order given, `batch_size` of them a step.

    Within a batch every rating sees the parameters as they were when the batch began;
    all the changes are added up and made at its end. Each batch brings its share of the
    penalty: with 3 of 12 ratings in it, everything is pulled towards zero by reg/4.
    With `row_limit` 2, a user or an item with 3 ratings in the batch makes 2/3 of its step.
    """
    for first in range(0, len(triplets), batch_size):
        batch = triplets[first : first + batch_size]
        G = scaled(theta, reg * len(batch) / len(triplets))  # (16a)
        for u, i, r in batch:
            e = predict(theta, u, i) - r  # (2)
            add_rating(G, theta, u, i, e)
        if row_limit is not None:
            limit_rows(G, batch, row_limit)
        theta = step_against(theta, eta, G)
    return theta


def limit_rows(G, batch, row_limit):
    for row in range(len(G.P)):
        limit_row(G.P, G.bu, row, sum(u == row for u, _, _ in batch), row_limit)
    for row in range(len(G.Q)):
        limit_row(G.Q, G.bi, row, sum(i == row for _, i, _ in batch), row_limit)


def limit_row(rows, bias, row, count, row_limit):
    if count > row_limit:
        rows[row] = [row_limit / count * g for g in rows[row]]  # (16c)
        if bias is not None:
            bias[row] *= row_limit / count  # (16c)


def add_rating(G, theta, u, i, e):
    for k in range(len(theta.P[u])):
        G.P[u][k] += e * theta.Q[i][k]  # (4a)
        G.Q[i][k] += e * theta.P[u][k]  # (4b)
    if theta.bu is not None:
        G.bu[u] += e  # (4c)
        G.bi[i] += e  # (4d)


# Alternating least squares, of `shallow_cf.solvers.als` and `.normal_equations`.


def als_sweep(triplets, theta, reg, weighted=False):
    """Everybody's best numbers given the items', then every item's given those."""
    theta = best_rows(triplets, theta, reg, weighted)
    turned = best_rows([(i, u, r) for u, i, r in triplets], swapped(theta), reg, weighted)
    return swapped(turned)


def best_rows(triplets, theta, reg, weighted):
    """Each user's numbers by least squares with a penalty, the items' fixed."""
    P, bu = [], []
    for user in range(len(theta.P)):
        A, c, _, n = user_equations(triplets, theta, user)
        penalty = reg * max(n, 1) if weighted else reg  # (21c), (21b)
        for j in range(len(c)):
            A[j][j] += penalty
        x = solved(A, c)  # (21a)
        P.append(x[: len(theta.P[user])])
        bu.append(x[-1])
    return Plain(P, theta.Q, None if theta.bu is None else bu, theta.bi)


def user_equations(triplets, theta, user):
    """A, c and s of one user, and how many ratings there are."""
    d = len(theta.P[user]) + (theta.bu is not None)
    A, c, s, n = [[0.0] * d for _ in range(d)], [0.0] * d, 0.0, 0
    for u, i, r in triplets:
        if u != user:
            continue
        a, t = list(theta.Q[i]), r
        if theta.bi is not None:
            a, t = [*a, 1.0], r - theta.bi[i]  # (20a)
        for j in range(d):
            for k in range(d):
                A[j][k] += a[j] * a[k]  # (20b)
            c[j] += a[j] * t  # (20c)
        s += t * t  # (20d)
        n += 1
    return A, c, s, n


def solved(A, c):
    """x with A x = c, by Gauss' elimination, the largest pivot first."""
    rows = [[*row, right] for row, right in zip(A, c, strict=True)]
    for j in range(len(rows)):
        best = max(range(j, len(rows)), key=lambda k: abs(rows[k][j]))
        rows[j], rows[best] = rows[best], rows[j]
        for k in range(len(rows)):
            if k != j:
                factor = rows[k][j] / rows[j][j]
                rows[k] = [x - factor * y for x, y in zip(rows[k], rows[j], strict=True)]
    return [row[-1] / row[j] for j, row in enumerate(rows)]


def swapped(theta):
    """Users for items and items for users."""
    return Plain(theta.Q, theta.P, theta.bi, theta.bu)


# The neural net of `shallow_cf.net`. Its parameters are a Net of lists.


class Net(NamedTuple):
    """Parameters of a net, or a gradient, as lists."""

    P: list  # P[u][k]
    Q: list  # Q[i][k]
    W1: list  # W1[k][j], the users' k first
    b1: list  # b1[j]
    W2: list  # W2[j][0]
    b2: list  # b2[0]


def net_forward(net, u, i, rating_range=None):
    """Input, the numbers before and after the ReLU, and the prediction."""
    x = list(net.P[u]) + list(net.Q[i])  # (19a)
    z = []
    for j in range(len(net.b1)):
        z.append(net.b1[j] + sum(x[k] * net.W1[k][j] for k in range(len(x))))  # (19b)
    h = [max(number, 0.0) for number in z]  # (19c)
    s = net.b2[0] + sum(h[j] * net.W2[j][0] for j in range(len(h)))  # (19d)
    if rating_range is None:
        return x, z, h, s  # (19e)
    low, high = rating_range
    return x, z, h, low + (high - low) / (1 + math.exp(-s))  # (19e), (1s)


def net_gradient(triplets, net, rating_range=None):
    """Gradient of half the squared errors: every rating adds its part to each number."""
    G = scaled(net, 0.0)
    for u, i, r in triplets:
        x, z, h, r_hat = net_forward(net, u, i, rating_range)
        slope = 1.0
        if rating_range is not None:
            low, high = rating_range
            slope = (r_hat - low) * (high - r_hat) / (high - low)  # (2s)
        g_s = (r_hat - r) * slope  # (19f)
        G.b2[0] += g_s  # (19g)
        for j in range(len(h)):
            G.W2[j][0] += h[j] * g_s  # (19g)
            g_h = g_s * net.W2[j][0]  # (19h)
            g_z = g_h if z[j] > 0 else 0.0  # (19i)
            G.b1[j] += g_z  # (19j)
            for k in range(len(x)):
                G.W1[k][j] += x[k] * g_z  # (19j)
                part_of_g_x = g_z * net.W1[k][j]  # (19k)
                if k < len(net.P[u]):
                    G.P[u][k] += part_of_g_x  # (19l)
                else:
                    G.Q[i][k - len(net.P[u])] += part_of_g_x  # (19l)
    return G


def epoch_by_rule(triplets, theta, memories, rule, eta, batch_size, reg=0.0, *, mean=False):
    """`sgd_epoch` with any update rule: one number, its gradient and its memory at a time.

    With `mean` a batch descends its mean squared error instead of half the sum of squares.
    Returns the new parameters and the new memories, a memory for every number.
    """
    for first in range(0, len(triplets), batch_size):
        batch = triplets[first : first + batch_size]
        G = scaled(theta, 0.0)
        for u, i, r in batch:
            e = predict(theta, u, i) - r  # (2)
            add_rating(G, theta, u, i, e)
        numbers = []
        for j, (x, g) in enumerate(zip(pack(theta), pack(G), strict=True)):
            scale, share = 1.0, len(batch) / len(triplets)  # (16a)
            if mean:
                scale, share = 2 / len(batch), 1.0  # (16b)
            g = scale * g + share * reg * x
            x, memories[j] = rule(x, g, memories[j], eta)
            numbers.append(x)
        theta = unpack(numbers, theta)
    return theta, memories


def momentum_rule(beta):
    def step(x, g, v, eta):
        v = beta * (v or 0.0) + g  # (14b)
        return x - eta * v, v

    return step


def adamw_rule(beta, beta2, epsilon, weight_decay):
    def step(x, g, memory, eta):
        m, s, t = memory or (0.0, 0.0, 0)
        m = beta * m + (1 - beta) * g  # (14f)
        s = beta2 * s + (1 - beta2) * g * g
        t += 1
        mean, mean_square = m / (1 - beta**t), s / (1 - beta2**t)
        x = x - eta * weight_decay * x - eta * mean / (math.sqrt(mean_square) + epsilon)  # (14g)
        return x, (m, s, t)

    return step


# Small tools for lists.


def scaled(theta, factor):
    """A new Plain or Net with every number multiplied by `factor`."""

    def times(block):
        if block is None:
            return None
        return [times(x) if isinstance(x, list) else factor * x for x in block]

    return type(theta)(*(times(block) for block in theta))


def step_against(theta, eta, G):
    """theta - eta G."""

    def minus(block, slope):
        if block is None:
            return None
        return [
            minus(x, g) if isinstance(x, list) else x - eta * g
            for x, g in zip(block, slope, strict=True)
        ]

    return Plain(*(minus(block, slope) for block, slope in zip(theta, G, strict=True)))


def pack(theta):
    """All numbers in one list: P row by row, Q row by row, bu, bi."""
    numbers = [x for row in theta.P for x in row] + [x for row in theta.Q for x in row]
    return numbers if theta.bu is None else numbers + list(theta.bu) + list(theta.bi)


def unpack(numbers, like):
    """A Plain of the shapes of `like` with these numbers: the way back from `pack`."""
    left = iter(numbers)

    def fill(block):
        if block is None:
            return None
        return [fill(x) if isinstance(x, list) else next(left) for x in block]

    return Plain(*(fill(block) for block in like))


# Variational Bayes: the numbers (22a) to (22j) of `shallow_cf.solvers.vb`, from their definition.


class Gaussian(NamedTuple):
    """What is known of one user (or item): its factors, and behind them the bias, if any."""

    mean: list  # m[j]
    covariance: list  # S[j][h]


class Prior(NamedTuple):
    """What a side's rows are taken for: normal about W'f with the precision Lambda."""

    W: list  # W[feature][j]
    precision: list  # Lambda[j][h]


def score_terms(user, item, n_factors):
    """Two Gaussians of equal length such that the score is their dot product.

    With biases the users' is (p, b_u, 1) and the items' (q, 1, b_i): a 1 is a number that is
    known for certain.
    """
    if len(user.mean) == n_factors:
        return user, item
    return with_one(user, n_factors + 1), with_one(item, n_factors)


def with_one(row, place):
    """The same with a certain 1 at a place."""
    mean = [*row.mean[:place], 1.0, *row.mean[place:]]
    old = [j for j in range(len(mean)) if j != place]
    covariance = [[0.0] * len(mean) for _ in mean]
    for a, j in enumerate(old):
        for b, h in enumerate(old):
            covariance[j][h] = row.covariance[a][b]
    return Gaussian(mean, covariance)


def score_mean(user, item, n_factors):
    """E[s]: users and items are independent, so products of means do."""
    x, y = score_terms(user, item, n_factors)
    return sum(a * b for a, b in zip(x.mean, y.mean, strict=True))


def score_second_moment(user, item, n_factors):
    """E[s^2] = sum over j, h of E[x_j x_l] E[y_j y_l]."""
    x, y = score_terms(user, item, n_factors)
    return sum(
        second_moment(x, j, h) * second_moment(y, j, h)
        for j in range(len(x.mean))
        for h in range(len(x.mean))
    )


def second_moment(row, j, h):
    return row.mean[j] * row.mean[h] + row.covariance[j][h]


def score_variance(user, item, n_factors):
    mean = score_mean(user, item, n_factors)
    return score_second_moment(user, item, n_factors) - mean * mean  # (22j)


def expected_squared_error(triplets, users, items, n_factors):
    """E of (22f), a rating at a time; ratings less their mean."""
    total = 0.0
    for u, i, r in triplets:
        mean = score_mean(users[u], items[i], n_factors)
        total += r * r - 2 * r * mean + score_second_moment(users[u], items[i], n_factors)
    return total


def row_given_others(rated, prior, features, tau, n_factors):
    """One row's (22d) and (22e): `rated` are its pairs (other row, stars less their mean).

    -2 log of its density is a square in x: tau E[(r - s)^2] summed over its ratings, where only
    the other side is random, and (x - W'f)' Lambda (x - W'f). What stands before x x' is the
    precision, and the rest follows.
    """
    d = len(prior.precision)
    precision = [list(row) for row in prior.precision]
    expected = prior_mean(prior, features)
    linear = [sum(prior.precision[j][h] * expected[h] for h in range(d)) for j in range(d)]
    for other, r in rated:
        y = other if d == n_factors else with_one(other, n_factors)  # (q, 1, b)
        for j in range(d):
            for h in range(d):
                precision[j][h] += tau * second_moment(y, j, h)
            linear[j] += tau * r * y.mean[j]
            if d > n_factors:  # the other's bias is subtracted from the rating
                linear[j] -= tau * second_moment(y, j, d)
    covariance = inverse(precision)  # (22d)
    mean = [sum(covariance[j][h] * linear[h] for h in range(d)) for j in range(d)]  # (22e)
    return Gaussian(mean, covariance)


def prior_mean(prior, features):
    """W'f."""
    d = len(prior.precision)
    return [sum(f * w[j] for f, w in zip(features, prior.W, strict=True)) for j in range(d)]


def lower_bound(triplets, users, items, priors, features, tau, n_factors, epsilon, V, m):
    """(22c) as it is defined, with all its constants but those of the priors' densities.

    `users` and `items` are lists of Gaussians, `priors` and `features` pairs, of the users and of
    the items. A row without ratings is as its prior: nothing is to be said of it.
    """
    bound = 0.0
    error = expected_squared_error(triplets, users, items, n_factors)
    bound += len(triplets) / 2 * math.log(tau / (2 * math.pi)) - tau / 2 * error
    bound += math.log(tau) / 2 - tau / 2 * epsilon  # the noise's prior
    for side, rows in enumerate((users, items)):
        rated = {triplet[side] for triplet in triplets}
        prior = priors[side]
        d = len(prior.precision)
        for n, row in enumerate(rows):
            if n in rated:
                bound += expected_log_prior(row, prior, features[side][n]) + entropy(row)
        for weights in prior.W[1:]:  # those of the patterns: N(0, Lambda^-1)
            bound += log_det(prior.precision) / 2
            bound -= quadratic(weights, prior.precision) / 2
        bound += m * log_det(prior.precision) / 2  # the precision's own prior, worth m rows
        bound -= m * sum(prior.precision[j][j] * V for j in range(d)) / 2
    return bound


def expected_log_prior(row, prior, features):
    """E[log N(x; W'f, Lambda^-1)] with x normal."""
    d = len(row.mean)
    deviation = [m - e for m, e in zip(row.mean, prior_mean(prior, features), strict=True)]
    trace = sum(prior.precision[j][h] * row.covariance[h][j] for j in range(d) for h in range(d))
    return (
        log_det(prior.precision) - d * math.log(2 * math.pi)
        - quadratic(deviation, prior.precision) - trace
    ) / 2  # fmt: skip


def entropy(row):
    d = len(row.mean)
    return (log_det(row.covariance) + d * (1 + math.log(2 * math.pi))) / 2


def quadratic(x, A):
    return sum(x[j] * A[j][h] * x[h] for j in range(len(x)) for h in range(len(x)))


def inverse(A):
    """By elimination in [A, I]; A is positive definite."""
    d = len(A)
    rows = [[*A[j], *(1.0 if j == h else 0.0 for h in range(d))] for j in range(d)]
    for j in range(d):
        rows[j] = [number / rows[j][j] for number in rows[j]]
        for h in range(d):
            if h != j:
                factor = rows[h][j]
                rows[h] = [a - factor * b for a, b in zip(rows[h], rows[j], strict=True)]
    return [row[d:] for row in rows]


def log_det(A):
    """Sum of the logarithms of the pivots; A is positive definite."""
    rows, total = [list(row) for row in A], 0.0
    for j in range(len(rows)):
        total += math.log(rows[j][j])
        for h in range(j + 1, len(rows)):
            factor = rows[h][j] / rows[j][j]
            rows[h] = [a - factor * b for a, b in zip(rows[h], rows[j], strict=True)]
    return total


# From the package's objects to lists, and problems to try things on.


def triplets(ratings):
    """``[(u, i, r), ...]`` in the order in which `ratings` holds them."""
    columns = ratings.user_idx.tolist(), ratings.item_idx.tolist(), ratings.rating.tolist()
    return list(zip(*columns, strict=True))


def plain(parameters):
    """The numbers of a `Parameters` as a Plain."""
    return Plain(*(block.tolist() for block in parameters.blocks()))


def problem(n_users, n_items, n_factors, *, bias=False, rated=1.0, random_state=0):
    """A random crosstab, about `rated` of whose cells are filled, and random parameters.

    Every user and every item has at least one rating.
    """
    rng = np.random.default_rng(random_state)
    filled = rng.uniform(size=(n_users, n_items)) < rated
    filled[np.arange(n_users), np.arange(n_users) % n_items] = True
    filled[np.arange(n_items) % n_users, np.arange(n_items)] = True
    u, i = np.nonzero(filled)
    stars = rng.integers(1, 11, len(u)) / 2  # half a star to five stars
    ratings = Ratings(np.arange(n_users), np.arange(n_items), u, i, stars)
    return ratings, Parameters.random(n_users, n_items, n_factors, bias=bias, random_state=rng)


def planted(n_users, n_items, n_factors, *, rated=1.0, random_state=0):
    """Ratings that a model with `n_factors` fits perfectly, and the whole true table.

    The true embeddings are uniform(0.5, 1.5), so that all ratings are well above zero.
    """
    rng = np.random.default_rng(random_state)
    P = rng.uniform(0.5, 1.5, (n_users, n_factors))
    Q = rng.uniform(0.5, 1.5, (n_items, n_factors))
    table = P @ Q.T
    u, i = np.nonzero(rng.uniform(size=table.shape) < rated)
    return Ratings(np.arange(n_users), np.arange(n_items), u, i, table[u, i]), table
