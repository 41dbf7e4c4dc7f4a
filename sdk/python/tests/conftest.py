"""The SDK under test: the one that was built, where there is one (SHUNT_BUILD), else the sources without the extension."""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = HERE.parent
BUILT = pathlib.Path(os.environ.get("SHUNT_BUILD", SOURCES.parent.parent / "build/release")) / "python"


def sdk_folder() -> pathlib.Path:
    return BUILT if (BUILT / "shunt/_shunt.abi3.so").exists() else SOURCES


sys.path.insert(0, str(sdk_folder()))
sys.path.insert(0, str(HERE))
