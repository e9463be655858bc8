"""A longer search than the tests make: `make api-fuzz`, or `python -m tests.api_fuzz --seconds 600 --role admin`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from random import SystemRandom

from tests.api_fuzz.run import faults, fuzz, house_with_cdn
from tests.system.house import opened

ROLES = ("none", "viewer", "operator", "admin")


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.api_fuzz", description=__doc__)
    arguments.add_argument("--seconds", type=int, default=120, help="for each role (120)")
    arguments.add_argument("--examples", type=int, default=200, help="for each operation, at most (200)")
    arguments.add_argument("--role", choices=ROLES, action="append", help="may be given again; all by default")
    arguments.add_argument("--seed", type=int, help="what a run said it had, to have it again")
    options = arguments.parse_args()
    seed = options.seed if options.seed is not None else SystemRandom().randrange(2**32)
    status = 0
    for role in options.role or ROLES:
        with (
            tempfile.TemporaryDirectory(prefix="balancer-fuzz-") as folder,
            opened(house_with_cdn(Path(folder))) as house,
        ):
            key = "" if role == "none" else role
            found = fuzz(house, key, examples=options.examples, seed=seed, seconds=options.seconds)
            faulty = faults(house.log)
            if not found.ok or faulty:
                print(found.text, *faulty, sep="\n")
                status = 1
            print(f"{role}: {found.requests} requests, seed {seed}: {'ok' if found.ok else 'see above'}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
