"""``python -m shallow_cf`` is ``shallow-cf``."""

from shallow_cf.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
