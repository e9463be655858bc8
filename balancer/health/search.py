"""The process that searches a page for a pattern: it may be ended, as the balancer itself may not.

It is run as a script by `balancer.health.pages`, with the length of the pattern in a line, the pattern and the page as
its input. Its status is 0 when the pattern is found, and 1 when it is not.
"""

from __future__ import annotations

import os
import re
import resource
import sys

LONGEST = 5
"""Seconds of CPU after which the system ends it, should the balancer be gone by then."""


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST))
    os.nice(19)  # whatever a pattern costs, traffic comes first
    length = int(sys.stdin.buffer.readline())
    pattern = sys.stdin.buffer.read(length).decode("utf-8", "surrogatepass")
    page = sys.stdin.buffer.read().decode("utf-8", "replace")
    return 0 if re.search(pattern, page) else 1


if __name__ == "__main__":
    # At once, since nothing is left to tidy up.
    os._exit(main())
