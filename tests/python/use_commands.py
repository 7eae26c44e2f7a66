"""Commands from Python: progress, errors, Ctrl-C, and the command that the package brings."""

import contextlib
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import wellspring
from files import interrupted, made
from wellspring.progress import Progress


class Commands(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def test_the_way_from_a_simulation_to_a_picture(self):
        sims = wellspring.simulate("shear-flow", self.folder / "sims", shape="16x16", frames=6, train=2, valid=1, test=1)
        dataset = wellspring.ingest(sims, self.folder / "ds", dtype="f16", normalization="rms")
        self.assertEqual((dataset.dtype, dataset.normalization), ("f16", "rms"))
        self.assertEqual(dataset.frames("train", 0)["pressure"].dtype, "float16")
        wellspring.verify(dataset.root)
        config = {
            "data.root": dataset.root, "data.context": 2, "model.strategy": "ckm", "model.patches": [4, 8],
            "model.dim": 16, "model.heads": 2, "model.blocks": 1, "model.groups": 2, "train.steps": 2,
        }
        run = wellspring.train(self.folder / "run", config)
        model = wellspring.Predictor(run)
        self.assertEqual((model.train_steps, model.strategy), (2, "ckm"))
        wellspring.evaluate(model, dataset, self.folder / "results", name="ckm", rollout=2, schedule="4,8")
        out = wellspring.figures(self.folder / "results", self.folder / "figures")
        self.assertTrue(list(pathlib.Path(out).iterdir()))
        animation = wellspring.animate(self.folder / "results", "ckm", self.folder / "rollout.png")
        self.assertGreater(os.path.getsize(animation), 1000)

    def test_errors_are_exceptions_with_the_programs_words(self):
        with self.assertRaisesRegex(wellspring.Error, "holds no HDF5 files"):
            wellspring.ingest(self.folder, self.folder / "ds")
        with self.assertRaisesRegex(ValueError, "unexpected argument '--colour"):
            wellspring.ingest("sims", "ds", colour="red")
        with self.assertRaisesRegex(ValueError, "shear-flow"):
            wellspring.simulate("no-such-flow", self.folder / "sims")
        with self.assertRaisesRegex(ValueError, "unrecognized subcommand"):
            wellspring.run("nonsense")

    def test_what_a_command_prints_is_printed(self):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            wellspring.run("inspect", made() / "ds")
        self.assertIn("shear_flow", printed.getvalue())

    def test_progress_is_a_bar_of_tqdm(self):
        with contextlib.redirect_stderr(io.StringIO()) as drawn:
            progress = Progress(show=True)
            progress.begin("reading", 10, "frames")
            progress.advance(4)
            progress.status("slowly")
            progress.reach(10)
            progress.end()
        self.assertIn("reading", drawn.getvalue())
        self.assertIn("4/10", drawn.getvalue())
        with contextlib.redirect_stderr(io.StringIO()) as drawn:
            wellspring.evaluate(
                lambda batch: batch["input_fields"][:, -1], made() / "ds", self.folder / "results", name="a", context=1,
                progress=True,
            )
        self.assertIn("evaluating a", drawn.getvalue())

    def test_progress_of_the_program_is_lines_of_json(self):
        said = subprocess.run(
            [sys.executable, "-m", "wellspring", "--progress-json", "simulate", "shear-flow", self.folder / "sims",
             "--shape=16x16", "--frames=4", "--train=1", "--valid=1", "--test=1"],
            capture_output=True, text=True, check=True,
        ).stderr.splitlines()
        import json

        keys = [key for line in said for key in json.loads(line)]
        self.assertEqual(keys[0], "begin")
        self.assertIn("end", keys)
        self.assertEqual(keys[-1], "line")

    def test_ctrl_c_stops_a_command_within_a_second(self):
        script = """
            import sys, wellspring
            print("begun", flush=True)
            try:
                wellspring.simulate("shear-flow", sys.argv[1], shape="128x256", frames=200, train=50)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            """
        seconds, said, _ = interrupted(script, str(self.folder / "sims"), after=1.5)
        self.assertLess(seconds, 1.5)
        self.assertIn("interrupted", said)
        self.assertEqual(list(self.folder.glob("sims/data/**/*.hdf5")), [])

    def test_the_package_brings_the_program(self):
        program = pathlib.Path(sys.executable).with_name("wellspring")
        ask = lambda *words: subprocess.run([program, *words], capture_output=True, text=True, check=False)
        self.assertEqual(ask("--version").stdout, f"wellspring {wellspring.__version__}\n")
        self.assertEqual(ask("verify", "/no/such").returncode, 1)
        self.assertEqual(ask("nonsense").returncode, 2)
        self.assertIn("shear_flow", ask("inspect", str(made() / "ds")).stdout)


if __name__ == "__main__":
    unittest.main()
