"""Times the kernels of attention over space against PyTorch's flash attention, and checks their errors.

    python tests/cuda/attention.py attention_space.cubin attention_space_backward.cubin

Needs a CUDA device and PyTorch. The arguments are what `nvcc -O3 -std=c++17 -arch=sm_90 -cubin` (or `-ptx`)
makes of the sources in train/src/ops. Prints a line for each case; ends with 1 if an error is too large.
"""

import ctypes
import json
import math
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

# (items, tokens, heads, width, numbers)
CASES = [
    (6, 128, 3, 64, "bf16"),
    (6, 512, 3, 64, "bf16"),
    (6, 2048, 3, 64, "bf16"),
    (6, 4096, 3, 64, "bf16"),
    (6, 128, 12, 64, "bf16"),
    (6, 512, 12, 64, "bf16"),
    (6, 2048, 12, 64, "bf16"),
    (12, 4096, 12, 64, "bf16"),
    (6, 2048, 6, 32, "bf16"),
    (6, 2048, 6, 128, "bf16"),
    (3, 515, 4, 48, "bf16"),
    (6, 512, 3, 64, "f32"),
    (6, 2048, 6, 64, "f32"),
    (6, 2048, 6, 32, "f32"),
    (6, 2048, 6, 128, "f32"),
    (2, 515, 3, 40, "f32"),
]
DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32}
TOLERANCES = {"bf16": 2e-2, "f32": 2e-5}


class Kernels:
    """Kernels from files, through the driver."""

    def __init__(self, paths):
        torch.cuda.init()
        torch.zeros(1, device="cuda")
        self.driver = ctypes.CDLL("libcuda.so.1")
        self.modules = [self.load(path) for path in paths]

    def load(self, path):
        module = ctypes.c_void_p()
        with open(path, "rb") as file:
            self.ask("cuModuleLoadData", ctypes.byref(module), file.read() + b"\0")
        return module

    def find(self, name):
        function = ctypes.c_void_p()
        for module in self.modules:
            found = self.driver.cuModuleGetFunction(ctypes.byref(function), module, name.encode())
            if found == 0:
                return function
        raise RuntimeError(f"no file has the kernel {name}")

    def ask(self, function, *args):
        found = getattr(self.driver, function)(*args)
        if found != 0:
            raise RuntimeError(f"{function}: error {found}")

    def kernel(self, name, grid, threads, shared, *args):
        """A call that launches the kernel on PyTorch's stream; tensors give their addresses."""
        function = self.find(name)
        self.ask("cuFuncSetAttribute", function, 8, shared)  # the most dynamic shared memory
        values = [value(arg) for arg in args]
        places = (ctypes.c_void_p * len(values))(*[ctypes.addressof(v) for v in values])
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)

        def launch(_kept=(values, args)):
            self.ask("cuLaunchKernel", function, *grid, threads, 1, 1, shared, stream, places, None)

        return launch


def value(arg):
    if isinstance(arg, torch.Tensor):
        return ctypes.c_void_p(arg.data_ptr())
    return ctypes.c_int(arg) if isinstance(arg, int) else ctypes.c_float(arg)


def sizes(width, numbers):
    """As in attention_space/kernels.rs: padded width; rows, threads and bytes of the three kernels."""
    padded = next(d for d in (32, 64, 128) if width <= d)
    number = DTYPES[numbers].itemsize
    kept, short, row = number == 2, padded * number <= 256, padded * number + 16
    tiles = 2 if kept and padded <= 64 else 1

    def block(warps, roles, step, sums):
        rows = 16 * tiles * warps
        own, steps = roles * rows * row, 2 * step * (2 * row + sums)
        return rows, 32 * warps, max(own, steps) if kept else own + steps

    warps = 4 if short else 2
    step = 8 * tiles * warps
    forward = block(4, 1, 64 if kept else 2048 // padded, 0)
    return padded, forward, block(warps, 2, step, 0), block(warps, 2, step, 8)


def passes(kernels, qkv, dy, heads):
    """Calls of the forward and the backward pass, and what they write."""
    items, tokens, features = qkv.shape
    width = features // 3 // heads
    numbers = "bf16" if qkv.dtype == torch.bfloat16 else "f32"
    padded, forward, queries, keys = sizes(width, numbers)
    rounded = -(-tokens // 64) * 64
    y, dqkv = torch.full_like(dy, math.nan), torch.full_like(qkv, math.nan)
    logs = torch.empty(items, heads, rounded, device="cuda")
    sums = torch.empty(items, heads, 2 * rounded, device="cuda")
    scale = 1 / math.sqrt(width)

    def kernel(kind, size, *args):
        rows, threads, shared = size
        grid = (-(-tokens // rows), heads, items)
        name = f"attention_space_{kind}{padded}_{numbers}"
        return kernels.kernel(name, grid, threads, shared, *args, tokens, width, scale)

    calls = [
        kernel("", forward, qkv, y, logs),
        kernels.kernel(
            f"attention_space_sums_{numbers}",
            (rounded // 32, heads, items), 256, 0, y, dy, logs, sums, tokens, width,
        ),
        kernel("queries_", queries, qkv, dy, sums, dqkv),
        kernel("keys_", keys, qkv, dy, sums, dqkv),
    ]
    return calls, y, dqkv


def reference(qkv, dy, heads, item, head):
    """One head of one item in f64."""
    items, tokens, features = qkv.shape
    split = qkv[item].double().view(tokens, 3, heads, -1)[:, :, head].clone().requires_grad_()
    q, k, v = split.unbind(1)
    y = torch.softmax(q @ k.T / math.sqrt(q.shape[1]), 1) @ v
    y.backward(dy[item].double().view(tokens, heads, -1)[:, head])
    return y.detach(), split.grad


def far(found, expected):
    """The largest error, relative to the largest number; NaN where there is one."""
    return ((found.double() - expected).abs().max() / expected.abs().max()).item()


def milliseconds(call):
    for _ in range(3):
        call()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    times = []
    for _ in range(3):
        start.record()
        for _ in range(10):
            call()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 10)
    return min(times)


def torch_times(qkv, dy, heads):
    """Forward and backward of PyTorch's attention from queries, keys and values that are apart."""
    items, tokens, features = qkv.shape
    split = qkv.view(items, tokens, 3, heads, -1)
    q, k, v = (x.contiguous().transpose(1, 2).detach().requires_grad_() for x in split.unbind(2))
    slope = dy.view(items, tokens, heads, -1).transpose(1, 2)
    flash = qkv.dtype == torch.bfloat16
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION if flash else SDPBackend.EFFICIENT_ATTENTION):
        with torch.no_grad():
            forward = milliseconds(lambda: F.scaled_dot_product_attention(q, k, v))
        y = F.scaled_dot_product_attention(q, k, v)
        grad = lambda: torch.autograd.grad(y, (q, k, v), slope, retain_graph=True)
        return forward, milliseconds(grad)


def measure(kernels, items, tokens, heads, width, numbers):
    torch.manual_seed(1)
    qkv = torch.randn(items, tokens, 3 * heads * width, device="cuda").to(DTYPES[numbers])
    dy = torch.randn(items, tokens, heads * width, device="cuda").to(DTYPES[numbers])
    calls, y, dqkv = passes(kernels, qkv, dy, heads)
    for call in calls:
        call()
    torch.cuda.synchronize()
    first = dqkv.clone()
    errors = []
    for item, head in [(0, 0), (items - 1, heads - 1)]:
        expected, slopes = reference(qkv, dy, heads, item, head)
        errors.append(far(y[item].view(tokens, heads, -1)[:, head], expected))
        found = dqkv[item].view(tokens, 3, heads, -1)[:, :, head]
        errors += [far(found[:, role], slopes[:, role]) for role in range(3)]
    times = [milliseconds(call) for call in calls]
    try:
        theirs = torch_times(qkv, dy, heads)
    except RuntimeError as error:
        print(f"  PyTorch: {error}")
        theirs = (math.nan, math.nan)
    flops = 4 * items * heads * tokens**2 * width
    return {
        "case": [items, tokens, heads, width, numbers],
        "error": max(errors, key=lambda x: math.inf if math.isnan(x) else x),
        "same_bits": torch.equal(first.view(torch.uint8), dqkv.view(torch.uint8)),
        "forward_ms": times[0],
        "sums_queries_keys_ms": times[1:],
        "backward_ms": sum(times[1:]),
        "torch_forward_ms": theirs[0],
        "torch_backward_ms": theirs[1],
        "forward_tflops": flops / times[0] / 1e9,
        "backward_tflops": 2.5 * flops / sum(times[1:]) / 1e9,
    }


def main(paths):
    kernels = Kernels(paths)
    torch.backends.cuda.matmul.allow_tf32 = False
    print(torch.cuda.get_device_name(), torch.__version__)
    good = True
    for case in CASES:
        try:
            found = measure(kernels, *case)
        except RuntimeError as error:
            print(case, error)
            good = False
            continue
        fine = found["same_bits"] and found["error"] <= TOLERANCES[case[4]]
        good &= fine
        parts = " + ".join(f"{t:.3f}" for t in found["sums_queries_keys_ms"])
        print(
            f"{case}: {'' if fine else 'WRONG '}error {found['error']:.1e}; "
            f"forward {found['forward_ms']:.3f} ms ({found['forward_tflops']:.0f} TFLOP/s), "
            f"PyTorch {found['torch_forward_ms']:.3f}; "
            f"backward {found['backward_ms']:.3f} = {parts} ms ({found['backward_tflops']:.0f}), "
            f"PyTorch {found['torch_backward_ms']:.3f}",
            flush=True,
        )
        print(json.dumps(found), file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
