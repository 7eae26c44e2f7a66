"""The loader in PyTorch, JAX and NumPy: values, order, memory, states, ranks and signals."""

import os
import subprocess
import sys
import tempfile
import textwrap
import unittest

import lightning
import numpy as np
import torch
import wellspring
from files import interrupted, made


def windows(batches):
    return [tuple(map(int, window)) for batch in batches for window in batch["windows"]]


class Loader(unittest.TestCase):
    def setUp(self):
        self.dataset = wellspring.Dataset(made() / "ds")

    def loader(self, **more):
        return wellspring.Loader(self.dataset, **{"context": 3, "batch": 2, "seed": 5, **more})

    def test_batches_have_the_frames_of_their_windows(self):
        for more in ({}, {"normalized": False}, {"channels": "first"}, {"dtype": torch.bfloat16}, {"dtype": "f16"}):
            normalized = more.get("normalized", True)
            for batch in self.loader(**more):
                fields = torch.cat([batch["input_fields"], batch["output_fields"]], dim=1).float()
                if more.get("channels") == "first":
                    fields = fields.movedim(2, -1)
                for field, (trajectory, start) in zip(fields, windows([batch]), strict=True):
                    held = self.dataset.frames("train", trajectory, start, start + 4, normalized=normalized)
                    expected = np.stack(list(held.values()), axis=-1)
                    rough = {"rtol": 1e-2, "atol": 1e-2} if "dtype" in more else {"rtol": 1e-6}
                    np.testing.assert_allclose(field.numpy(), expected, **rough)
        self.assertIs(batch["input_fields"].dtype, torch.float16)

    def test_a_batch_has_the_wells_keys_and_shapes(self):
        batch = next(iter(self.loader()))
        shapes = {key: tuple(value.shape) for key, value in batch.items()}
        self.assertEqual(
            shapes,
            {
                "input_fields": (2, 3, 32, 48, 4),
                "output_fields": (2, 1, 32, 48, 4),
                "constant_scalars": (2, 2),
                "boundary_conditions": (2, 2, 2),
                "space_grid": (2, 32, 48, 2),
                "input_time_grid": (2, 3),
                "output_time_grid": (2, 1),
                "windows": (2, 2),
            },
        )

    def test_fields_are_views_of_one_batch_and_last_as_long_as_they_are_used(self):
        batches = list(self.loader())
        first = batches[0]
        storage = first["input_fields"].untyped_storage().data_ptr()
        self.assertNotEqual(storage, batches[1]["input_fields"].untyped_storage().data_ptr())
        spans = [first[key].data_ptr() for key in ("input_fields", "output_fields")]
        self.assertLess(max(spans) - min(spans), 2 * 4 * 4 * 32 * 48 * 4)
        kept = [(batch["input_fields"], batch["input_fields"].clone()) for batch in batches]
        for _ in self.loader():
            pass
        for held, copy in kept:
            self.assertTrue(torch.equal(held, copy))

    def test_memory_of_dropped_batches_is_used_again(self):
        addresses = set()
        loader = self.loader(batch=1, prefetch=1)
        for _ in range(5):
            for batch in loader:
                addresses.add(batch["input_fields"].data_ptr())
        self.assertLess(len(addresses), 3 * 5)

    def test_every_window_comes_once_and_epochs_differ(self):
        loader = self.loader(batch=4)
        epochs = [windows(loader) for _ in range(2)]
        self.assertEqual(len(loader), -(-3 * 5 // 4))
        for epoch in epochs:
            self.assertEqual(sorted(epoch), [(i, start) for i in range(3) for start in range(5)])
        self.assertNotEqual(*epochs)
        again = self.loader(batch=4)
        again.set_epoch(1)
        self.assertEqual(windows(again), epochs[1])
        self.assertEqual(windows(self.loader(shuffle=False)), sorted(epochs[0]))

    def test_a_state_goes_on_exactly_at_any_number_of_ranks(self):
        whole = windows(self.loader(batch=1))
        loader = self.loader(batch=1)
        seen = []
        for batch in loader:
            seen += windows([batch])
            if len(seen) == 5:
                break
        state = loader.state_dict()
        for world in (1, 2, 3):
            ranks = [self.loader(batch=1, rank=rank, world=world) for rank in range(world)]
            for rank in ranks:
                rank.load_state_dict(state)
            parts = [windows(rank) for rank in ranks]
            rest = [window for together in zip(*parts, strict=True) for window in together]
            self.assertEqual(rest, whole[5 : 5 + len(rest)])
            self.assertGreater(len(rest), len(whole) - 5 - world)
        # And from two ranks to one, in the next epoch.
        pair = [self.loader(batch=2, rank=rank, world=2) for rank in range(2)]
        for rank in pair:
            list(rank)
            next(iter(rank))
        one = self.loader(batch=1)
        one.load_state_dict(pair[0].state_dict())
        expected = self.loader(batch=1)
        expected.set_epoch(1)
        self.assertEqual(windows(one), windows(expected)[4:])

    def test_a_state_of_other_data_is_refused(self):
        state = self.loader().state_dict() | {"dataset": "another"}
        with self.assertRaisesRegex(ValueError, "another data set"):
            self.loader().load_state_dict(state)
        with self.assertRaisesRegex(ValueError, "version 9"):
            self.loader().load_state_dict({"version": 9})

    def test_choices_that_make_no_sense_are_refused(self):
        for more, words in (
            ({"dtype": "f64"}, "choose f32, f16 or bf16"),
            ({"dtype": "bf16", "tensors": "numpy"}, "NumPy has none"),
            ({"dtype": "bf16", "normalized": False}, "own units need f32"),
            ({"tensors": "tf"}, "choose one of torch, numpy, jax"),
            ({"channels": "middle"}, "channels"),
            ({"batch": 100, "drop_last": True}, "smaller batch"),
            ({"split": "dev"}, "no split dev"),
            ({"rank": 3, "world": 2}, "rank 3"),
            ({"rank": 0}, "both rank and world"),
            ({"context": 40}, "40|41"),
        ):
            with self.subTest(more), self.assertRaisesRegex(ValueError, words):
                next(iter(self.loader(**more)))

    def test_numpy_and_jax_get_the_same(self):
        import jax

        torch_batch = next(iter(self.loader()))
        arrays = next(iter(self.loader(tensors="numpy")))
        self.assertIsInstance(arrays["input_fields"], np.ndarray)
        of_jax = next(iter(self.loader(tensors="jax")))
        self.assertIsInstance(of_jax["input_fields"], jax.Array)
        half = next(iter(self.loader(tensors="jax", dtype="bf16")))
        self.assertEqual(half["input_fields"].dtype, jax.numpy.bfloat16)
        for key, value in torch_batch.items():
            np.testing.assert_array_equal(arrays[key], value.numpy())
            np.testing.assert_array_equal(np.asarray(of_jax[key]), value.numpy())
        wide = np.asarray(half["input_fields"].astype(jax.numpy.float32))
        np.testing.assert_allclose(wide, arrays["input_fields"], rtol=1e-2, atol=1e-2)

    def test_it_is_a_data_set_for_pytorchs_own_loader(self):
        expected = windows(self.loader())
        self.assertEqual(windows(torch.utils.data.DataLoader(self.loader(), batch_size=None)), expected)

    def test_a_worker_process_reads_where_it_was_spawned(self):
        def given(start):
            return torch.utils.data.DataLoader(
                self.loader(), batch_size=None, num_workers=1, multiprocessing_context=start, timeout=60
            )

        self.assertEqual(windows(given("spawn")), windows(self.loader()))
        with self.assertRaisesRegex(RuntimeError, "multiprocessing's \"spawn\""):
            windows(given("fork"))

    def test_lightning_trains_with_it_and_goes_on_in_the_middle_of_an_epoch(self):
        class Model(lightning.LightningModule):
            def __init__(self, seen):
                super().__init__()
                self.linear, self.seen = torch.nn.Linear(4, 4), seen

            def training_step(self, batch, _):
                self.seen += windows([batch])
                return ((self.linear(batch["input_fields"][:, -1]) - batch["output_fields"][:, 0]) ** 2).mean()

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.1)

        def fit(steps, seen, folder, path=None):
            trainer = lightning.Trainer(
                max_steps=steps, accelerator="cpu", logger=False, enable_progress_bar=False,
                enable_model_summary=False, enable_checkpointing=False, default_root_dir=folder,
            )
            trainer.fit(Model(seen), self.loader(), ckpt_path=path)
            trainer.save_checkpoint(f"{folder}/at.ckpt")

        with tempfile.TemporaryDirectory() as folder:
            whole, parts = [], []
            fit(12, whole, folder)
            fit(5, parts, folder)
            fit(12, parts, folder, f"{folder}/at.ckpt")
        self.assertEqual(parts, whole)

    def test_ranks_of_torch_distributed_share_an_epoch(self):
        script = textwrap.dedent(
            """
            import os, sys, torch, wellspring
            torch.distributed.init_process_group("gloo")
            model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 4))
            loader = wellspring.Loader(sys.argv[1], context=3, batch=2, seed=5)
            for batch in loader:
                model(batch["input_fields"]).mean().backward()
                for trajectory, start in batch["windows"].tolist():
                    # In one piece: both ranks write to it.
                    os.write(1, f"window {trajectory} {start}\\n".encode())
            torch.distributed.destroy_process_group()
            # PyTorch's threads outlive its process group: one process in six ends by SIGABRT, without a loader too.
            os._exit(0)
            """
        )
        with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
            file.write(script)
            file.flush()
            launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29541"]
            done = subprocess.run(
                [*launch, file.name, str(made() / "ds")], capture_output=True, text=True, timeout=300, check=False
            )
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = (line.split() for line in done.stdout.splitlines())
        seen = [(int(i), int(start)) for word, i, start in (line for line in lines if line[:1] == ["window"])]
        # Fifteen windows make three batches of two for each of two ranks.
        self.assertEqual(len(seen), 12)
        self.assertEqual(sorted(seen), sorted(windows(self.loader(batch=1))[:12]))

    def test_ctrl_c_is_heard_within_a_second(self):
        # A server that takes connections and never answers.
        script = """
            import socket, wellspring
            server = socket.socket()
            server.bind(("127.0.0.1", 0))
            server.listen()
            endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
            print("waiting", flush=True)
            keys = {"aws_endpoint": endpoint, "aws_access_key_id": "a", "aws_secret_access_key": "b"}
            wellspring.Loader("s3://bucket/ds", storage_options=keys)
            """
        seconds, _, errors = interrupted(script, after=1)
        self.assertLess(seconds, 1.5)
        self.assertIn("KeyboardInterrupt", errors)


if __name__ == "__main__":
    unittest.main()
