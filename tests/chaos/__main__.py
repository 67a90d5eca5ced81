"""`python -m tests.chaos`: the long form."""

from __future__ import annotations

import argparse
import sys

from tests.chaos.run import chaos


def main() -> int:
    """Returns 1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=100, help="how many (100)")
    parser.add_argument("--seed", type=int, default=1, help="gives the faults and their order (1)")
    parser.add_argument("--workers", type=int, default=3, help="worker processes (3)")
    parser.add_argument("--films", type=int, help="films of 4 segments (two for each fault)")
    parser.add_argument("--lease", type=float, default=30.0, help="seconds (30, the default)")
    chosen = parser.parse_args()
    report = chaos(
        seed=chosen.seed,
        count=chosen.faults,
        films=chosen.films or max(8, chosen.faults * 2),
        workers=chosen.workers,
        lease_seconds=chosen.lease,
    )
    print(f"\n{report.table()}")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
