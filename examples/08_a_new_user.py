"""A new user: what to recommend to somebody who came after the training.

The lesson asks what to do about new users. Here one user is kept from the training, tells a
few ratings, and gets an embedding by least squares while all movies keep theirs; the same sum
is on the workbook's sheet `new_user`.
"""

import numpy as np

import shallow_cf as scf

ratings = scf.load_crosstab()
newcomer = 294
frame = ratings.to_frame()
theirs = frame[frame.user_id == newcomer].set_index("item_id")["rating"]
known = scf.Ratings.from_frame(frame[frame.user_id != newcomer])

model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(known)
print(f"Trained on {known}: RMSE {model.rmse(known):.4f} stars")

told, asked = theirs.iloc[::2], theirs.iloc[1::2]
print(f"\nUser {newcomer} tells {len(told)} ratings:", told.to_dict())
for reg in (0, 1):
    folded = model.fold_in_user(told.to_dict(), user_id=newcomer, reg=reg)
    stars = folded.predict(newcomer, asked.index)
    error = np.sqrt(np.mean((stars - asked) ** 2))
    print(f"Embedding with penalty {reg}:", np.round(folded.user_factors_[-1], 2))
    print(f"  RMSE of the {len(asked)} ratings not told: {error:.2f} stars")

print("\nOf the movies not told of, these first:")
print(folded.recommend(newcomer, n=3).round(2).to_string(index=False))
best = folded.recommend(newcomer, n=1).item_id[0]
print(f"\nWhy {best}?\n{folded.explain(newcomer, best, n=3)}")
