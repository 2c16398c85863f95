"""Which penalty serves to fold in new users, measured on MovieLens 100K.

Run: python benchmarks/fold_in.py ml-100k/u.data

A tenth of the users is kept from training. Each of them is folded in from half of their
ratings, drawn at random, and the other half is predicted. A line of the table is a model:
its RMSE, stars, for each penalty. The models are trained here, in two ways: least squares
in turns (each user's numbers as a fold-in, then each item's), and AdamW on a score that a
sigmoid squashes, as the lessons' notebooks do. Takes two to three minutes.
"""

import argparse
from itertools import pairwise

import numpy as np

import shallow_cf as scf
from shallow_cf import objective
from shallow_cf.fold_in import best_numbers, turned, with_user

REGS = (0, 0.1, 1, 2, 3, 5, 7, 10, 20)


def main():
    """Train every model and print its line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ratings", help="u.data of MovieLens 100K")
    ratings = scf.read_ratings(parser.parse_args().ratings)
    train, given, asked = split(ratings)
    print(f"{len(train[0])} ratings to train on, {len(given[0])} given, {len(asked[0])} asked")
    print(f"{'model':<44}" + "".join(f"{reg:>7g}" for reg in REGS))
    for n_factors, reg, bias in [
        (5, 5, True), (10, 3, True), (20, 10, True), (5, 5, False), (10, 10, False),
    ]:  # fmt: skip
        theta = in_turns(ratings, train, n_factors, reg, bias)
        kind = "biases, mean" if bias else "dot products"
        show(f"in turns, {n_factors} factors, {kind}, reg {reg}", theta, given, asked)
    for n_factors, decay in [(5, 0.1), (50, 0.1), (50, 0.2)]:
        theta = adamw(ratings, train, n_factors, decay)
        show(f"AdamW, {n_factors} factors, sigmoid, decay {decay:g}", theta, given, asked)


def split(ratings, share=0.1, seed=0):
    """Triplets to train on, and those given and asked of the users kept from training."""
    rng = np.random.default_rng(seed)
    kept = rng.permutation(ratings.n_users)[: int(share * ratings.n_users)]
    is_given = rng.permutation(ratings.n_ratings) % 2 == 0
    is_kept = np.isin(ratings.user_idx, kept)
    triplets = ratings.user_idx, ratings.item_idx, ratings.rating
    masks = ~is_kept, is_kept & is_given, is_kept & ~is_given
    return [tuple(column[mask] for column in triplets) for mask in masks]


def show(name, theta, given, asked):
    """A line of the table."""
    errors = [rmse_folded_in(theta, given, asked, reg) for reg in REGS]
    print(f"{name:<44}" + "".join(f"{error:>7.3f}" for error in errors), flush=True)


def rmse_folded_in(theta, given, asked, reg):
    """RMSE of the ratings asked for, stars, after folding in each of their users."""
    errors = []
    for user in np.unique(asked[0]):
        own, rest = given[0] == user, asked[0] == user
        x = best_numbers(theta, given[1][own], given[2][own], reg)
        r_hat = with_user(theta, x).predict(theta.n_users, asked[1][rest])
        errors.append(r_hat - asked[2][rest])
    e = np.concatenate(errors)
    return np.sqrt(e @ e / len(e))


def in_turns(ratings, train, n_factors, reg, bias, n_sweeps=15):
    """Alternating least squares: everybody is folded in again, users and items by turns."""
    u, i, r = train
    rng = np.random.default_rng(1)
    sizes = [(n, n_factors) for n in (ratings.n_users, ratings.n_items)]
    # Near numbers that predict the middle; with a mean near 0.
    blocks = [rng.normal(0 if bias else np.sqrt(3 / n_factors), 0.1, size) for size in sizes]
    if bias:
        blocks += [np.zeros(n) for n, _ in sizes]
    theta = scf.Parameters(*blocks, global_mean=r.mean() if bias else 0.0)
    for _ in range(n_sweeps):
        for who, what in ((u, i), (i, u)):
            order = np.argsort(who, kind="stable")
            ends = np.searchsorted(who[order], np.arange(theta.n_users + 1))
            found = np.array([
                best_numbers(theta, what[order[a:b]], r[order[a:b]], reg)
                for a, b in pairwise(ends)
            ])  # fmt: skip
            blocks = [found[:, :n_factors], *theta.blocks()[1:]]
            if bias:
                blocks[2] = found[:, n_factors]
            theta = turned(theta.with_blocks(blocks))
    return theta


def adamw(ratings, train, n_factors, decay, n_epochs=5, top=5e-3, batch_size=64):
    """AdamW on the mean squared error, its learning rate rising and falling once."""
    u, i, r = train
    rng = np.random.default_rng(1)
    theta = scf.Parameters.random(
        ratings.n_users, ratings.n_items, n_factors,
        bias=True, init="normal", scale=0.01, random_state=rng,
    )  # fmt: skip
    theta = scf.Parameters(*theta.blocks(), rating_range=(0, 5.5))
    x = theta.pack()
    m, v, step, n_steps = 0 * x, 0 * x, 0, n_epochs * -(-len(r) // batch_size)
    for _ in range(n_epochs):
        order = rng.permutation(len(r))
        for batch in np.split(order, range(batch_size, len(order), batch_size)):
            here = theta.unpack(x)
            _, e = objective.batch_residuals(here, u[batch], i[batch], r[batch])
            g = objective.weighted_sums(here, u[batch], i[batch], 2 / len(batch) * e).pack()
            step += 1
            done = step / n_steps
            up = (1 - np.cos(np.pi * done / 0.25)) / 2
            rate = top * (up if done < 0.25 else (1 + np.cos(np.pi * (done - 0.25) / 0.75)) / 2)
            m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
            x *= 1 - rate * decay
            x -= rate * m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.99**step)) + 1e-5)
    return theta.unpack(x)


if __name__ == "__main__":
    main()
