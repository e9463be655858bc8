"""What we make of messages, held against h11, httptools and decoders that are written to be read and not to be fast.

DIFFERENTIAL_CASES is how many changed messages there are, of requests and responses together; another DIFFERENTIAL_SEED
draws others. A failure names seed, share and case, and shows the bytes, which is all it takes to see it again.
"""

import os

CASES = int(os.environ.get("DIFFERENTIAL_CASES", "100000"))
SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1"))
