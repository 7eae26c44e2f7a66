"""Writes the HDF5 files that the tests read, beside this folder: `python3 tests/data/make`.

They are kept in git, so that the tests need no Python. Needs numpy and h5py.
"""

from pathlib import Path

import odd
import the_well

DATA = Path(__file__).resolve().parent.parent

odd.make(DATA / "odd")
the_well.make(DATA / "the_well")
