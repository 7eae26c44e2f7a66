"""mypy and pyright find nothing in the package, nor in a program that uses it; and they see its types."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).parents[2]

PROGRAM = """
import pathlib

import wellspring
from wellspring import metrics

dataset: wellspring.Dataset = wellspring.ingest("sims", "ds", on_demand=True)
steps: int = dataset.splits["train"][0].frames
for batch in wellspring.Loader(dataset, batch=2):
    error = metrics.vrmse(batch["input_fields"], batch["input_fields"], dataset.metadata)
answer: wellspring.Answer = wellspring.sql("SELECT 1", results="results")
wellspring.ingest("sims", "small", shard_mib=8, exclude=["old/*"], stats=pathlib.Path("stats.yaml"), dtype="f16")
wellspring.train("run", {"data.root": "ds"}, resume=True, from_=3)
record: wellspring.Record | None = wellspring.evaluate(lambda b: b, dataset, "results", name="a", context=1)
"""


class Types(unittest.TestCase):
    def checked(self, *command):
        here = ["--pythonpath", sys.executable] if command[0] == "pyright" else []
        done = subprocess.run([sys.executable, "-m", *command, *here], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def test_the_package_is_typed(self):
        for command in (("mypy", "--strict", "python/wellspring"), ("pyright", "python/wellspring")):
            code, said = self.checked(*command)
            self.assertEqual(code, 0, said)

    def test_programs_see_its_types(self):
        with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
            file.write(PROGRAM)
            file.flush()
            for checker in ("mypy", "pyright"):
                code, said = self.checked(checker, file.name)
                self.assertEqual(code, 0, said)
            file.write("\nanswer.no_such_method()\nwellspring.ingest('sims', 'ds', no_such_option=True)\n")
            file.flush()
            for checker in ("mypy", "pyright"):
                code, said = self.checked(checker, file.name)
                self.assertEqual(code, 1, said)
                self.assertIn("no_such_method", said)
                self.assertIn("no_such_option", said)


if __name__ == "__main__":
    unittest.main()
