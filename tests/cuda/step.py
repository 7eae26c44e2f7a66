"""Times the model of model.py: python step.py [--modes eager,blocks,compile] [--precision bf16,f32] [--budget SECONDS].

Cases are those of `wellspring bench step --device cuda`. A training step takes frames from pinned memory, and does
normalization, forward, loss, backward and fused AdamW; a prediction leaves its frame in the host's memory. Each prints
one line of JSON. `--prepare N` times nothing: N processes at a time compile the cases, so that compiling, which takes
most of the time, is done when a second call with the same TORCHINDUCTOR_CACHE_DIR times them.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import torch

import model as models

SIZES = {"7.6M": (192, 3), "25M": (384, 6), "100M": (768, 12)}
CONTEXT = 6
WARM_UP = 3

# The most telling first, since time may run out: size, axes, patch, batch.
CASES = [
    ("7.6M", 2, 4, 1),
    ("7.6M", 2, 16, 1),
    ("100M", 2, 4, 1),
    ("7.6M", 3, 4, 1),
    ("7.6M", 2, 8, 1),
    ("25M", 2, 4, 1),
    ("100M", 2, 16, 1),
    ("25M", 2, 16, 1),
    ("7.6M", 3, 8, 1),
    ("100M", 2, 4, 2),
    ("25M", 2, 8, 1),
    ("100M", 2, 8, 1),
    ("25M", 3, 4, 1),
    ("25M", 3, 8, 1),
    ("100M", 2, 8, 2),
    ("100M", 2, 16, 2),
    ("100M", 3, 8, 1),
    ("100M", 3, 4, 1),
]


def named(size, axes, patch, batch):
    return f"{axes}d-{size}-p{patch}-b{batch}"


class Run:
    """A model on a device in one mode, at one patch size."""

    def __init__(self, case, mode, precision, device, blocks):
        size, axes, patch, batch = case
        dim, heads = SIZES[size]
        fields, space = ((4, (128, 256)), (6, (64, 64, 64)))[axes - 2]
        torch.manual_seed(0)
        self.device, self.precision = torch.device(device), precision
        self.patch = (patch,) * axes
        self.tokens = int(torch.tensor([cells // patch for cells in space]).prod())
        self.model = models.Model(axes, fields, dim, heads, blocks).to(self.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
        self.frames = torch.rand(CONTEXT + 1, batch, fields, *space) * 2 - 1
        if self.device.type == "cuda":
            self.frames = self.frames.pin_memory()
        self.loss, self.predict = models.loss, models.predict
        if mode == "blocks":
            for block in self.model.blocks:
                block.compile(dynamic=False)
        elif mode != "eager":
            how = {"compile": "default", "graphs": "reduce-overhead"}[mode]
            self.loss = torch.compile(models.loss, dynamic=False, mode=how)
            self.predict = torch.compile(models.predict, dynamic=False, mode=how)

    def numbers(self):
        if self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def step(self):
        frames = self.frames.to(self.device, non_blocking=True)
        with self.numbers():
            loss = self.loss(self.model, frames, self.patch)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def forward(self):
        context = self.frames[:-1].to(self.device, non_blocking=True)
        with self.numbers():
            return self.predict(self.model, context, self.patch).cpu()

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def milliseconds(self, work, rounds, each):
        """Median over rounds of the time of one of `each` calls in a row."""
        for _ in range(WARM_UP):
            work()
        times = []
        for _ in range(rounds):
            self.wait()
            began = time.perf_counter()
            for _ in range(each):
                work()
            self.wait()
            times.append((time.perf_counter() - began) * 1e3 / each)
        return statistics.median(times)

    def peak(self):
        if self.device.type != "cuda":
            return {}
        return {
            "peak_mib": torch.cuda.max_memory_allocated() / 2**20,
            "reserved_mib": torch.cuda.max_memory_reserved() / 2**20,
        }


def forget(device):
    torch.compiler.reset()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def measure(case, mode, precision, args):
    size, axes, patch, batch = case
    line = {"side": f"pytorch-{mode}", "case": f"{axes}d-{size}", "patch": patch, "batch": batch, "precision": precision}
    began = time.perf_counter()
    try:
        forget(args.device)
        run = Run(case, mode, precision, args.device, args.blocks)
        line |= {"tokens": run.tokens, "parameters": sum(p.numel() for p in run.model.parameters())}
        run.step()
        run.forward()
        run.wait()
        line["first_s"] = time.perf_counter() - began
        if not args.only_compile:
            line["step_ms"] = run.milliseconds(run.step, args.rounds, args.each)
            line |= run.peak()
            line["forward_ms"] = run.milliseconds(run.forward, args.rounds, args.each)
    except Exception as error:  # out of memory, or no compiler here: the other cases still count
        line["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    print(json.dumps(line), flush=True)
    return time.perf_counter() - began


def prepare(jobs, args):
    """One process for each case, since compiling is the work of one thread for most of its time."""

    def compile_one(job):
        case, precision, mode = job
        left = args.budget - (time.perf_counter() - args.began)
        if left <= 0:
            return
        command = [sys.executable, __file__, "--only-compile", "--exact", named(*case), "--precision", precision]
        command += ["--modes", mode, "--device", args.device, "--blocks", str(args.blocks)]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, check=False, timeout=left)

    with ThreadPoolExecutor(args.prepare) as pool:
        list(pool.map(compile_one, jobs))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--modes", default="eager,blocks", help="of eager, blocks (each compiled, so that one compilation serves all), compile (the whole), graphs (with CUDA graphs)")
    parser.add_argument("--precision", default="bf16", help="of bf16, f32, tf32")
    parser.add_argument("--case", default="", help="only cases whose name holds one of these, as 2d-7.6M-p4-b1")
    parser.add_argument("--exact", default="", help="only the cases of these names")
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--each", type=int, default=5, help="steps in a round")
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds; no case begins that would not fit")
    parser.add_argument("--prepare", type=int, default=0, metavar="PROCESSES")
    parser.add_argument("--only-compile", action="store_true")
    args = parser.parse_args()
    args.began = time.perf_counter()
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(max(1, (os.cpu_count() or 1) // max(1, args.prepare))))

    chosen = [case for case in CASES if any(part in named(*case) for part in args.case.split(","))]
    if args.exact:
        chosen = [case for case in CASES if named(*case) in args.exact.split(",")]
    modes, precisions = args.modes.split(","), args.precision.split(",")
    jobs = [(case, precision, mode) for mode in modes for precision in precisions for case in chosen]
    if args.prepare:
        prepare(jobs, args)
        return
    longest = {}
    for case, precision, mode in jobs:
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision != "f32"
        if time.perf_counter() - args.began + longest.get(mode, 0) > args.budget:
            print(json.dumps({"side": f"pytorch-{mode}", "case": named(*case), "precision": precision, "error": "no time left"}))
            continue
        longest[mode] = max(longest.get(mode, 0), measure(case, mode, precision, args))


if __name__ == "__main__":
    main()
