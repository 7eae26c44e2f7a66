"""The package in every other CPython of this machine from 3.10 on, with NumPy alone."""

import glob
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

OLDEST = 10

WAY = """
import sys
import numpy as np
import wellspring
from wellspring import metrics

wellspring.simulate("shear-flow", "sims", shape="16x16", frames=6, train=2, valid=1, test=1)
dataset = wellspring.ingest("sims", "ds", shard_mib=1)
frames = dataset.frames("train", 0, 1, 3)["pressure"]
assert frames.shape == (2, 16, 16) and frames.dtype == np.float32 and not frames.flags.writeable

loader = wellspring.Loader(dataset, batch=2, context=2, tensors="numpy", seed=3)
batches = [batch["input_fields"].copy() for batch in loader]
assert len(batches) == len(loader) == 4 and batches[0].shape == (2, 2, 16, 16, 4)
passed = wellspring.Loader(dataset, batch=2, context=2, tensors="numpy", seed=3)
first = next(iter(passed))
again = wellspring.Loader(dataset, batch=2, context=2, tensors="numpy", seed=3)
again.load_state_dict(passed.state_dict())
assert np.array_equal(next(iter(again))["input_fields"], batches[1])

last = batches[0][:, -1:]
assert not metrics.vrmse(last, last, dataset.metadata).any()
wellspring.evaluate(lambda batch: batch["input_fields"][:, -1], dataset, "results", name="still", context=2, tensors="numpy")
(row,) = wellspring.sql("SELECT name, vrmse FROM leaderboard", results="results").to_dicts()
assert row["name"] == "still" and 0 < row["vrmse"] < 1, row
try:
    wellspring.Dataset("nowhere")
except wellspring.Error as error:
    assert "nowhere" in str(error)
else:
    raise AssertionError("nowhere is no data set")
print(*sys.version_info[:2], sep=".")
"""


def others():
    """Interpreters of other versions than this one, by their version: those on the path and those of pyenv."""
    for minor in range(OLDEST, 30):
        version = f"3.{minor}"
        versions = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv")) + "/versions"
        found = [shutil.which(f"python{version}"), *glob.glob(f"{versions}/{version}.*/bin/python3")]
        found = [path for path in found if path and runs(path)]
        if found and minor != sys.version_info.minor:
            yield version, found[-1]


def runs(path):
    """Whether it is an interpreter with what a virtual environment needs, and no stand-in for one."""
    asked = subprocess.run([path, "-c", "import ensurepip, venv"], capture_output=True, check=False)
    return asked.returncode == 0


def environment(version, interpreter):
    """A virtual environment with NumPy, made once."""
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    folder = pathlib.Path(cache) / "wellspring" / f"cpython-{version}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run([interpreter, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "numpy"], check=True)
        (folder / "complete").touch()
    return python


class Versions(unittest.TestCase):
    def test_the_package_is_for_every_version(self):
        found = list(others())
        if not found:
            self.skipTest("no other CPython here")
        for version, interpreter in found:
            with self.subTest(version), tempfile.TemporaryDirectory() as folder:
                python = environment(version, interpreter)
                install = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--force-reinstall"]
                subprocess.run([python, "-m", "pip", *install, os.environ["WHEEL"]], check=True)
                done = subprocess.run([python, "-c", WAY], cwd=folder, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(done.stdout.splitlines()[-1], version)


if __name__ == "__main__":
    unittest.main()
