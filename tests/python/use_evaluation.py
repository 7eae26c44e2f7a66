"""Evaluations of Python's models: the same tables as for the program's own."""

import shutil
import sys
import tempfile
import threading
import time
import traceback
import unittest

import numpy as np
import torch
import wellspring
from files import interrupted, made
from read_predictions import predicted
from the_well.benchmark import models
from the_well.benchmark.metrics import RMSE

ERRORS = (
    "SELECT trajectory, start, lead, field, metric, band, value FROM metrics WHERE run IN "
    "(SELECT run FROM runs WHERE name = '{}' AND schedule = '{}') ORDER BY trajectory, start, lead, field, metric, band"
)


def errors(results, name, schedule):
    return wellspring.sql(ERRORS.format(name, schedule), results=results).to_pandas().fillna(-1)


class Evaluation(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.results = f"{self.folder}/results"
        self.dataset = wellspring.Dataset(made() / "ds")

    def evaluate(self, step, **more):
        more = {"name": "mine", "context": 3, "rollout": 3, **more}
        return wellspring.evaluate(step, self.dataset, self.results, **more)

    def assert_same(self, mine, other):
        self.assertGreater(len(other), 0)
        keys = ["trajectory", "start", "lead", "field", "metric", "band"]
        self.assertTrue((mine[keys].astype(str) == other[keys].astype(str)).all().all())
        np.testing.assert_allclose(mine["value"], other["value"], rtol=1e-6, atol=1e-9)

    def test_a_function_has_the_tables_of_the_program(self):
        row = self.evaluate(lambda batch: batch["input_fields"][:, -1])
        self.assertEqual((row.name, row.strategy, row.rollout), ("mine", "function", 3))
        self.assert_same(errors(self.results, "mine", "-"), errors(made() / "results", "persistence", "-"))

    def test_layouts_units_and_libraries_do_not_matter(self):
        last = {"last": lambda batch: batch["input_fields"][:, -1:], "first": lambda batch: batch["input_fields"][:, -1]}
        expected = errors(made() / "results", "persistence", "-")
        for channels in ("last", "first"):
            for tensors in ("torch", "numpy", "jax"):
                for normalized in (True, False):
                    self.evaluate(
                        last[channels], existing="replace", channels=channels, tensors=tensors, normalized=normalized
                    )
                    mine = errors(self.results, "mine", "-")
                    np.testing.assert_allclose(mine["value"], expected["value"], rtol=1e-3, atol=1e-6)

    def test_the_programs_own_models_do_as_well_from_python(self):
        model = wellspring.Predictor(made() / "csm")
        self.assertEqual((model.strategy, model.context, model.patches), ("csm", 3, [(4, 4), (8, 8), (16, 16)]))
        for schedule in (4, "8"):
            self.evaluate(model, schedule=schedule)
            self.assert_same(errors(self.results, "mine", schedule), errors(made() / "results", "csm", schedule))
        batch = next(iter(wellspring.Loader(self.dataset, "test", context=3, batch=2)))
        next_frame = model(batch, patch=8)
        self.assertEqual(next_frame.shape, (2, 32, 48, 4))
        torch.testing.assert_close(model(batch["input_fields"], patch=(8, 8)), next_frame)
        with self.assertRaisesRegex(wellspring.Error, "5"):
            model(batch, patch=5)
        with self.assertRaisesRegex(wellspring.Error, "no/such"):
            wellspring.Predictor("/no/such")

    def test_a_model_that_sees_inputs_takes_whole_batches(self):
        folder = predicted()
        dataset = wellspring.Dataset(folder / "ds")
        config = {
            "data.root": str(folder / "ds"), "data.context": 3, "model.dim": 32, "model.heads": 2, "model.blocks": 2,
            "model.groups": 4, "train.steps": 3, "model.inputs": ["constants", "scalars", "boundaries", "dt"],
        }
        run = wellspring.train(f"{self.folder}/run", config)
        model = wellspring.Predictor(run).on(dataset)
        for name, step in {"own": model, "called": lambda batch, patch: model(batch, patch)}.items():
            wellspring.evaluate(step, dataset, self.results, name=name, context=3, rollout=3, schedule=8)
        own, called = (errors(self.results, name, "8")["value"] for name in ("own", "called"))
        np.testing.assert_allclose(called, own, rtol=1e-3, atol=1e-6)

        batch = next(iter(wellspring.Loader(dataset, "test", context=3, batch=2)))
        self.assertEqual(model(batch).shape, (2, 32, 48, 4))
        for refused in (lambda: model(batch["input_fields"]), lambda: wellspring.Predictor(run)(batch)):
            with self.assertRaisesRegex(ValueError, "whole batches"):
                refused()
        with self.assertRaisesRegex(ValueError, "constant_scalars"):
            model(batch | {"constant_scalars": batch["constant_scalars"][:, :1]})
        without = {key: value for key, value in batch.items() if key != "input_scalars" and key != "output_scalars"}
        with self.assertRaisesRegex(wellspring.Error, "forcing"):
            model(without)

    def test_a_schedule_gives_patch_sizes(self):
        given = []

        def step(batch, patch):
            given.append(patch)
            return batch["input_fields"][:, -1]

        row = self.evaluate(step, schedule=[4, 8, 16])
        self.assertEqual(given[:3], [(4, 4), (8, 8), (16, 16)])
        self.assertAlmostEqual(row.tokens, (8 * 12 + 4 * 6 + 2 * 3) / 3)

    def test_the_wells_models_have_the_errors_that_the_wells_metrics_give(self):
        torch.manual_seed(1)
        size = {"dim_in": 12, "dim_out": 4, "n_spatial_dims": 2, "spatial_resolution": (32, 48)}
        makers = {
            "unet": lambda: models.UNetClassic(**size, init_features=4),
            "cnextunet": lambda: models.UNetConvNext(**size, init_features=4, stages=2, blocks_per_stage=1),
            "fno": lambda: models.FNO(**size, modes1=4, modes2=4, hidden_channels=8),
        }
        for name, make in makers.items():
            with self.subTest(name):
                model = make().eval()

                def step(batch, model=model):
                    stacked = batch["input_fields"].movedim(-1, 2).flatten(1, 2)
                    return model(stacked).movedim(1, -1)

                row = self.evaluate(step, name=name, rollout=1, strategy=name)
                self.assertEqual(row.strategy, name)
                found = errors(self.results, name, "-").query("metric == 'rmse'")
                windows = {(row.trajectory, row.start): {} for row in found.itertuples()}
                self.assertGreater(len(windows), 4)
                for row in found.itertuples():
                    windows[row.trajectory, row.start][row.field] = row.value
                for (trajectory, start), mine in windows.items():
                    theirs = self.rmse(step, trajectory, start)
                    for channel, value in zip(self.dataset.channels, theirs, strict=True):
                        self.assertAlmostEqual(mine[channel], float(value), delta=1e-3 * mine[channel])

    @torch.no_grad()
    def rmse(self, step, trajectory, start):
        """The Well's error of one step, in the fields' own units."""
        frames = self.dataset.frames("test", trajectory, start, start + 4)
        fields = torch.tensor(np.stack(list(frames.values()), axis=-1))[None]
        held = [self.dataset.statistics[channel] for channel in self.dataset.channels]
        shift, scale = (torch.tensor([one[key] for one in held]) for key in ("mean", "std"))
        predicted = step({"input_fields": fields[:, :3]})
        return RMSE.eval(predicted * scale + shift, fields[:, 3] * scale + shift, self.dataset.metadata)[0]

    def test_a_module_is_described_by_what_it_learned(self):
        class Last(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.scale = torch.nn.Parameter(torch.ones(4))

            def forward(self, batch):
                assert not torch.is_grad_enabled()
                return batch["input_fields"][:, -1] * self.scale

        module = Last()
        row = self.evaluate(module)
        self.assertEqual((row.strategy, row.parameters), ("last", 4))
        # An equal model renews its evaluation, another one of the same name does not take its place.
        self.evaluate(module)
        with torch.no_grad():
            module.scale *= 2
        with self.assertRaisesRegex(wellspring.Error, "mine"):
            self.evaluate(module)
        self.assertIsNone(self.evaluate(Last(), existing="skip"))

    def test_an_exception_comes_back_as_it_is_and_leaves_nothing(self):
        class Mine(Exception):
            pass

        def step(batch):
            raise Mine("of my own")

        try:
            self.evaluate(step)
            self.fail("it raises")
        except Mine as error:
            self.assertEqual(str(error), "of my own")
            self.assertIn("step", [frame.name for frame in traceback.extract_tb(error.__traceback__)])
        with self.assertRaisesRegex(wellspring.Error, "no results|results"):
            wellspring.sql("SELECT * FROM runs", results=self.results)
        with self.assertRaisesRegex(ValueError, r"shape \(2, 7\): expected \(2, 32, 48, 4\)"):
            self.evaluate(lambda batch: np.zeros((2, 7)))
        with self.assertRaisesRegex(ValueError, "context"):
            self.evaluate(lambda batch: batch, context=None)
        with self.assertRaisesRegex(ValueError, "schedule|patch"):
            self.evaluate(lambda batch: batch, schedule="none")

    def test_it_runs_in_the_thread_that_asked(self):
        threads = set()

        def step(batch):
            threads.add(threading.get_ident())
            return batch["input_fields"][:, -1]

        self.evaluate(step)
        self.assertEqual(threads, {threading.get_ident()})

    def test_ctrl_c_ends_it_within_a_second(self):
        script = """
            import sys, time, wellspring
            def step(batch):
                print("stepping", flush=True)
                time.sleep(0.2)
                return batch["input_fields"][:, -1]
            try:
                wellspring.evaluate(step, sys.argv[1], sys.argv[2], name="slow", context=1, rollout=7, batch=1)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            """
        seconds, said, _ = interrupted(script, str(made() / "ds"), self.results)
        self.assertLess(seconds, 1.5)
        self.assertIn("interrupted", said)


if __name__ == "__main__":
    unittest.main()
