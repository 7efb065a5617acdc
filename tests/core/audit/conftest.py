"""The makers of sets lie beside the tests; their fixtures serve this folder."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from audit_sets import review  # noqa: E402, F401  # after the path is set
