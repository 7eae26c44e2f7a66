"""The whole way through a bucket, for each kind of store that there is an emulator of."""

import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time
import unittest

import boto3
from azure.storage.blob import BlobServiceClient

PROGRAM = os.environ["WELLSPRING"]
SMALL = (
    "--set data.context=3 --set model.dim=32 --set model.heads=2 --set model.blocks=2 --set model.groups=4 "
    "--set optim.warmup=2 --set train.steps=3"
)
# Azurite's own, public and the same everywhere: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(*command):
    """A server, once it listens on the last of its arguments."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(command[-1]))) == 0:
                return server
        time.sleep(0.1)
    server.kill()
    raise AssertionError(f"{command[0]} does not listen")


class Bucket:
    """What all kinds of store are asked; `objects` is done in each kind's own way."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="wellspring-cloud-"))
        cls.port = free_port()
        cls.start()
        cls.addClassCleanup(cls.server.wait)
        cls.addClassCleanup(cls.server.kill)
        cls.do("simulate shear-flow sims --shape 32x48 --frames 8 --train 3 --valid 1 --test 1 --seed 9")
        cls.do("simulate shear-flow more --shape 32x48 --frames 8 --train 1 --valid 1 --test 1 --seed 10")
        cls.do("ingest sims ds")

    @classmethod
    def begin(cls, words):
        environment = os.environ | cls.settings()
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([PROGRAM, *words.split()], cwd=cls.folder, env=environment, text=True, **pipes)

    @classmethod
    def do(cls, words):
        process = cls.begin(words)
        out, err = process.communicate(timeout=120)
        if process.returncode != 0:
            raise AssertionError(f"wellspring {words}\n{err}")
        return out

    def bytes_below(self, prefix):
        return {name.removeprefix(prefix): body for name, body in self.objects(prefix) if name.endswith(".arrow")}

    def test_shards_have_the_bytes_of_those_on_a_disk(self):
        self.do(f"ingest sims {self.url}/same")
        local = self.folder / "ds"
        expected = {f"/{path.relative_to(local)}": path.read_bytes() for path in local.rglob("*.arrow")}
        self.assertGreater(len(expected), 2)
        self.assertEqual(self.bytes_below("same"), expected)
        self.do(f"verify {self.url}/same")

    def test_simulations_lie_in_a_bucket_too(self):
        for path in (self.folder / "sims").rglob("*.hdf5"):
            self.upload(f"sims/{path.relative_to(self.folder / 'sims')}", path.read_bytes())
        self.do(f"ingest {self.url}/sims {self.url}/there")
        self.do(f"ingest sims {self.url}/here")
        self.assertEqual(self.bytes_below("there"), self.bytes_below("here"))
        # Promised, partly made by a training, and then by an ingest.
        self.do(f"ingest {self.url}/sims {self.url}/promised --on-demand")
        self.assertEqual(self.bytes_below("promised"), {})
        self.do(f"train --out runs/promised-{self.port} {SMALL} --set data.root={self.url}/promised --set data.lanes=2")
        made = [name.split(".")[0] for name in self.bytes_below("promised")]
        # What it learns from, and what it is validated by.
        self.assertEqual(made, ["/train/00000", "/valid/00000"])
        self.do(f"ingest {self.url}/sims {self.url}/promised")
        self.assertEqual(self.bytes_below("promised"), self.bytes_below("here"))

    def test_runs_and_results_lie_in_a_bucket(self):
        self.do(f"ingest sims {self.url}/ds")
        self.do(f"plan {SMALL} --set data.root={self.url}/ds --set data.lanes=2")
        self.do(f"train --out {self.url}/runs/ckm {SMALL} --set data.root={self.url}/ds --set data.lanes=2")
        self.do(f"eval {self.url}/runs/ckm {self.url}/ds -r {self.url}/results --rollout 3")
        self.do(f"eval persistence {self.url}/ds -r {self.url}/results --rollout 3 --context 3")
        self.do("eval persistence ds -r results --rollout 3 --context 3")
        question = "SELECT lead, field, vrmse FROM by_lead WHERE name = 'persistence' ORDER BY lead, field"
        answers = []
        for results in (f"{self.url}/results", "results"):
            arguments = [PROGRAM, "sql", "-r", results, "--format", "json", question]
            done = subprocess.run(
                arguments, cwd=self.folder, env=os.environ | self.settings(), capture_output=True, text=True, check=True
            )
            answers.append(json.loads(done.stdout))
        self.assertEqual(len(answers[0]), 12)
        self.assertEqual(answers[0], answers[1])
        self.do(f"report {self.url}/results report.html")
        self.assertIn("</html>", (self.folder / "report.html").read_text())

    def test_a_large_checkpoint_has_the_bytes_of_one_on_a_disk(self):
        # An optimizer of 200 MB, which goes in parts.
        large = f"{SMALL} --set model.dim=512 --set model.heads=8 --set model.blocks=6 --set train.steps=1"
        self.do(f"train --out runs/large-{self.port} {large} --set data.root=ds")
        self.do(f"train --out {self.url}/runs/large {large} --set data.root=ds")
        checkpoint = self.folder / f"runs/large-{self.port}/checkpoints/00000001"
        expected = {path.name: path.read_bytes() for path in checkpoint.glob("*.safetensors")}
        self.assertGreater(len(expected["optimizer.safetensors"]), 130 << 20)
        folder = "runs/large/checkpoints/00000001"
        found = dict(self.objects(folder))
        for name, held in expected.items():
            self.assertTrue(found[f"{folder}/{name}"] == held, name)

    def test_trajectories_are_added_and_a_split_is_dropped(self):
        root = f"{self.url}/grows"
        self.do(f"ingest sims {root}")
        self.do(f"ingest more {root} --append")
        self.do(f"drop {root} valid")
        self.do(f"verify {root}")
        stored = self.do(f"inspect {root}")
        self.assertRegex(stored, r"train +4 trajectories")
        self.assertNotIn("valid", stored)

    def test_of_two_writers_one_wins(self):
        root = f"{self.url}/contested"
        both = [self.begin(f"ingest {source} {root}") for source in ("sims", "more")]
        told = [process.communicate(timeout=120)[1] for process in both]
        codes = sorted(process.returncode for process in both)
        self.assertEqual(codes, [0, 1], told)
        [error] = [err for err, process in zip(told, both) if process.returncode != 0]
        self.assertIn("contested", error)
        self.do(f"verify {root}")

    def test_what_is_not_there_is_named(self):
        process = self.begin(f"ingest {self.url}/nowhere other")
        _, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 1)
        self.assertIn(f"{self.url}/nowhere", err)


class S3(Bucket, unittest.TestCase):
    url = "s3://bucket"

    @classmethod
    def settings(cls):
        return {
            "AWS_ENDPOINT": f"http://127.0.0.1:{cls.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }

    @classmethod
    def start(cls):
        cls.server = start(os.environ["MOTO"], "-H", "127.0.0.1", "-p", str(cls.port))
        cls.client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{cls.port}",
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        cls.client.create_bucket(Bucket="bucket")

    def upload(self, name, body):
        self.client.put_object(Bucket="bucket", Key=name, Body=body)

    def objects(self, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=f"{prefix}/")
        for found in (found for page in pages for found in page.get("Contents", [])):
            yield found["Key"], self.client.get_object(Bucket="bucket", Key=found["Key"])["Body"].read()


class Azure(Bucket, unittest.TestCase):
    url = "az://container"

    @classmethod
    def settings(cls):
        return {
            "AZURE_STORAGE_USE_EMULATOR": "true",
            "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{cls.port}",
        }

    @classmethod
    def start(cls):
        options = ["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--location", str(cls.folder / "azurite")]
        cls.server = start(os.environ["AZURITE"], *options, "--blobHost", "127.0.0.1", "--blobPort", str(cls.port))
        account = BlobServiceClient(f"http://127.0.0.1:{cls.port}/{ACCOUNT}", credential=KEY)
        cls.container = account.create_container("container")

    def upload(self, name, body):
        self.container.upload_blob(name, body)

    def objects(self, prefix):
        for found in self.container.list_blobs(f"{prefix}/"):
            yield found.name, self.container.download_blob(found.name).readall()


if __name__ == "__main__":
    unittest.main()
