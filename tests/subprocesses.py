"""How tests start a Python of their own."""

import os
from pathlib import Path

import revgn

# It finds the package that is tested, whatever its working directory, also where PYTHONPATH was relative.
SUBPROCESS = {**os.environ, "PYTHONPATH": str(Path(revgn.__file__).resolve().parents[1])}
