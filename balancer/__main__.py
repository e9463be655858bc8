"""`python -m balancer`: the same as the command `balancer`."""

import sys

from balancer.cli import main

if __name__ == "__main__":
    sys.exit(main())
