"""`python -m bench` is `python -m bench.proxy`, the comparison with other proxies."""

import sys

from bench.proxy import main

sys.exit(main())
