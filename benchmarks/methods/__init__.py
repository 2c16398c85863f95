"""The methods that `movielens.py` compares: one file each, this package's and its peers'.

A file lists its variants as `METHODS`. The benchmark never imports them itself: `worker.py`
does, in a process of its own, where another Python may hold what the peer needs.
"""

#: Names for `--peers`, each a file of this folder.
PEERS = ("surprise", "cornac", "libmf", "cmfrec", "lenskit", "myfm")
#: The file with this package's own solvers, which are always measured.
OURS = "ours"
