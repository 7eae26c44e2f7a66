"""Commands of the program as functions: simulations, data sets, trainings, experiments and pictures.

Each runs in a process of its own, which Ctrl-C stops; whatever is stopped goes on with the same call. Options are those
of the command line with underscores, ``--on-demand`` as ``on_demand=True`` and ``--from`` as ``from_``; a list gives an
option several times. :mod:`wellspring.options` and ``wellspring help ingest`` explain them.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wellspring._native import Error
from wellspring.dataset import Dataset, place
from wellspring.options import (
    AnimateOptions,
    ExperimentOptions,
    FiguresOptions,
    IngestOptions,
    PathLike,
    PredictOptions,
    SimulateOptions,
    TrainOptions,
    VerifyOptions,
)
from wellspring.progress import Progress

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger("wellspring")

PATIENCE = 0.5
"""Seconds that a stopped command has for its last words."""


def run(command: str, *words: PathLike, **options: Any) -> None:
    """Runs any command of the program: ``run("drop", "ds", split="valid")``.

    Raises:
        ValueError: for what makes no sense, with the program's words.
        wellspring.Error: where the command failed.
    """
    done = _Command([command, *map(place, words), *_typed(options)])
    done.finish()


def simulate(equation: str, out: PathLike, **options: Unpack[SimulateOptions]) -> str:
    """Simulates an equation into a folder of The Well's HDF5: shear-flow, rayleigh-benard or decaying-turbulence-3d."""
    run("simulate", equation, out, **options)
    return place(out)


def ingest(
    source: PathLike,
    root: PathLike,
    *,
    storage_options: Mapping[str, str] | None = None,
    **options: Unpack[IngestOptions],
) -> Dataset:
    """Makes a data set of The Well's HDF5, in a folder or a bucket, and opens it."""
    run("ingest", source, root, **_stored(storage_options), **options)
    return Dataset(root, storage_options=storage_options)


def verify(
    root: PathLike, *, storage_options: Mapping[str, str] | None = None, **options: Unpack[VerifyOptions]
) -> None:
    """Compares every byte of a data set with its manifest."""
    run("verify", root, **_stored(storage_options), **options)


def train(
    out: PathLike,
    config: PathLike | Mapping[str, Any] | None = None,
    *,
    storage_options: Mapping[str, str] | None = None,
    **options: Unpack[TrainOptions],
) -> str:
    """Trains one of wellspring's own models into the folder ``out``.

    ``config`` is a file, or keys and values: ``{"data.root": "ds", "model.strategy": "csm", "train.steps": 2000}``.
    ``wellspring keys`` explains them.
    """
    words: list[PathLike] = []
    if isinstance(config, Mapping):
        options["set"] = [f"{key}={_value(value)}" for key, value in config.items()]
    elif config is not None:
        words.append(config)
    run("train", *words, out=out, **_stored(storage_options), **options)
    return place(out)


def predict(model: PathLike, root: PathLike, to: PathLike, **options: Unpack[PredictOptions]) -> str:
    """Writes rollouts of a trained model as HDF5 in The Well's layout, or for NumPy with ``format="npz"``."""
    run("predict", model, root, to=to, **options)
    return place(to)


def experiment(file: PathLike, **options: Unpack[ExperimentOptions]) -> None:
    """Trains and evaluates all that a file says, once: ``experiment("reproduce-tiny", out="there")``."""
    run("experiment", file, **options)


def figures(results: PathLike, out: PathLike, **options: Unpack[FiguresOptions]) -> str:
    """Draws the figures of a results folder as files."""
    run("figures", results, out, **options)
    return place(out)


def animate(results: PathLike, name: str, out: PathLike, **options: Unpack[AnimateOptions]) -> str:
    """Draws a rollout beside the truth as an animated PNG."""
    run("animate", results, name, out, **options)
    return place(out)


def _stored(storage_options: Mapping[str, str] | None) -> dict[str, list[str]]:
    return {"storage_option": [f"{key}={value}" for key, value in (storage_options or {}).items()]}


def _value(value: Any) -> str:
    """A value of a configuration, as TOML has it, but for bare words."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return json.dumps(list(value))
    return place(value) if isinstance(value, os.PathLike) else str(value)


def _typed(options: Mapping[str, Any]) -> list[str]:
    """Options as they are typed."""
    words = []
    for name, value in options.items():
        flag = "--" + name.rstrip("_").replace("_", "-")
        many: Iterable[Any] = value if isinstance(value, list | tuple) else [value]
        for one in many:
            if one is True:
                words.append(flag)
            elif one is not None and one is not False:
                words.append(f"{flag}={_value(one)}")
    return words


class _Command:
    """A command in a process of its own, whose progress and errors come as lines of JSON."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.progress = Progress()
        self.said: list[str] = []
        self.error: tuple[str, bool] | None = None
        program = [sys.executable, "-m", "wellspring", "--progress-json", *words]
        self.printed = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            program, stdin=subprocess.DEVNULL, stdout=self.printed, stderr=subprocess.PIPE, text=True
        )

    def finish(self) -> None:
        """Shows its progress until it ends, and raises its error."""
        assert self.process.stderr is not None
        try:
            with self.process.stderr as said:
                for line in said:
                    self._heard(line.rstrip("\n"))
            code = self.process.wait()
            self.printed.seek(0)
            sys.stdout.write(self.printed.read())
        except BaseException:
            self._stop()
            raise
        finally:
            self.progress.end()
            self.printed.close()
        if code == 0 and self.error is None:
            return
        message, is_misuse = self.error or ("\n".join(self.said) or f"exit code {code}", code == 2)
        raise (ValueError if is_misuse else Error)(message)

    def _heard(self, line: str) -> None:
        try:
            event = json.loads(line)
            ((key, value),) = event.items()
        except (ValueError, AttributeError):
            # Words of clap, or of a library below.
            self.said.append(line)
            logger.info("%s", line)
            return
        if key == "begin":
            self.progress.begin(value["stage"], value["total"], value["unit"])
        elif key == "done":
            self.progress.reach(value)
        elif key == "status":
            self.progress.status(value)
        elif key == "end":
            self.progress.end()
        elif key == "error":
            self.error = (value["message"], value["is_misuse"])
        else:
            logger.info("%s", value)

    def _stop(self) -> None:
        """Lets the command end as after Ctrl-C, and ends it where it does not."""
        for request in (signal.SIGINT, signal.SIGKILL):
            self.process.send_signal(request)
            try:
                self.process.wait(PATIENCE)
                return
            except subprocess.TimeoutExpired:
                continue
