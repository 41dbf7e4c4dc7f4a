"""Where the tests of the documents find things."""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("SHUNT_BUILD", ROOT / "build/release")).resolve()

sys.path.insert(0, str(pathlib.Path(__file__).parent))
