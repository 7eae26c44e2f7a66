"""What every test reads: files that the program made, once for all of them."""

import functools
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

PROGRAM = os.environ["WELLSPRING"]
SMALL = (
    "--set data.root=ds --set data.context=3 --set model.dim=32 --set model.heads=2 "
    "--set model.blocks=2 --set model.groups=4 --set optim.warmup=2 --set train.steps=3"
)


def wellspring(folder: pathlib.Path, words: str, *more: str) -> str:
    done = subprocess.run([PROGRAM, *words.split(), *more], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"wellspring {words}\n{done.stderr}")
    return done.stdout


def interrupted(script: str, *words: str, after: float = 0) -> tuple[float, str, str]:
    """Sends Ctrl-C to a script that has written its first line, some seconds later; gives the seconds that it lived on, and
    what it wrote since."""
    command = [sys.executable, "-c", textwrap.dedent(script), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if not process.stdout.readline():
        raise AssertionError(process.communicate(timeout=30)[1])
    time.sleep(after)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=30)
    return time.monotonic() - began, said, errors


@functools.cache
def made() -> pathlib.Path:
    """Simulations in 2D and 3D, a data set, three runs and their results."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wellspring-"))
    wellspring(folder, "simulate shear-flow flat --shape 32x48 --frames 8 --train 3 --valid 1 --test 2 --seed 9")
    wellspring(folder, "simulate decaying-turbulence-3d cubes --shape 16x16x16 --frames 5 --train 1 --valid 1 --test 1")
    wellspring(folder, "ingest flat ds")
    wellspring(folder, "ingest cubes cubes_ds")
    for strategy in ("ckm", "csm", "fixed"):
        patches = "--set model.patches=[8]" if strategy == "fixed" else ""
        wellspring(folder, f"train --out {strategy} {SMALL} --set model.strategy={strategy} {patches}")
        wellspring(folder, f"eval {strategy} ds -r results --rollout 3")
    wellspring(folder, "eval persistence ds -r results --rollout 3 --context 3")
    return folder
