"""Arrays of NumPy as tensors of PyTorch and JAX, and back."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIBRARIES = ("torch", "numpy", "jax")
"""What batches may be made of."""

DTYPES = {
    "f32": "f32",
    "float32": "f32",
    "f16": "f16",
    "float16": "f16",
    "half": "f16",
    "bf16": "bf16",
    "bfloat16": "bf16",
}
"""Number types of batches, by the names that PyTorch, NumPy and Rust give them."""


def dtype_name(dtype: Any) -> str:
    """f32, f16 or bf16 for a name, or for a dtype of PyTorch, NumPy or JAX."""
    name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", str(dtype))
    known = DTYPES.get(name.removeprefix("torch."))
    if known is None:
        raise ValueError(f"dtype {dtype!r}: choose f32, f16 or bf16")
    return known


def converter(library: str, dtype: str) -> Callable[[NDArray[Any]], Any]:
    """What makes tensors of arrays. PyTorch's share the array's memory."""
    if library == "numpy":
        if dtype == "bf16":
            raise ValueError('dtype "bf16": NumPy has none; take f32 or f16, or tensors="torch"')
        return _numpy
    if library not in LIBRARIES:
        raise ValueError(f"tensors={library!r}: choose one of {', '.join(LIBRARIES)}")
    return _torch if library == "torch" else _jax


def _numpy(array: NDArray[Any]) -> Any:
    return array


def _torch(array: NDArray[Any]) -> Any:
    torch = sys.modules.get("torch") or importlib.import_module("torch")
    tensor = torch.from_dlpack(array)
    # Half the bytes of a float, which NumPy has no type for.
    return tensor.view(torch.bfloat16) if array.dtype == np.uint16 else tensor


def _jax(array: NDArray[Any]) -> Any:
    jax = sys.modules.get("jax") or importlib.import_module("jax")
    # JAX takes rows of memory in their order only, so views are copied once.
    tensor = jax.numpy.from_dlpack(np.ascontiguousarray(array))
    return tensor.view(jax.numpy.bfloat16) if array.dtype == np.uint16 else tensor


def to_numpy(values: Any) -> NDArray[np.float32]:
    """An array or tensor of any library as NumPy's, in f32; shares memory where it can."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(values, torch.Tensor):
        values = values.detach().to(device="cpu", dtype=torch.float32).numpy()
    return np.asarray(values, dtype=np.float32)


def like(array: NDArray[Any], example: Any) -> Any:
    """An array as what an example is: a tensor of PyTorch on its device, an array of JAX, or as it is."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(example, torch.Tensor):
        return torch.from_numpy(array).to(device=example.device)
    if type(example).__module__.partition(".")[0] in ("jax", "jaxlib"):
        return _jax(array)
    return array
