"""Calls of NumPy's loops in LLVM's text: lanes go through memory, where the loop finds them.

The text has the loop's name and not its address, so that it is the same in every process. By that name a process knows
a pair of pointers, `InnerLoop`.
"""

from __future__ import annotations

from collections.abc import Iterator

from uniopt.backends.fusion.inner_loops import CALLED, LANES
from uniopt.backends.fusion.kernel import Kernel
from uniopt.backends.fusion.lanes import SIZES, Lanes

_MOST = 3  # arguments and result
_BYTES = 8 * LANES

FRAME = f"""\
  %lanes = alloca [{_MOST} x [{_BYTES} x i8]], align 64
  %places = alloca [{_MOST} x ptr]
"""
"""What a function with calls begins with."""


def called(kernel: Kernel) -> Iterator[tuple[str, str]]:
    """Yield the function and the dtype of each call in a kernel."""
    return ((x.op, x.dtype) for x in kernel.body if x.op in CALLED)


def symbol(op: str, dtype: str) -> str:
    """Return the name by which kernels know NumPy's loop for a function and a dtype."""
    return f"numpy.{op}.{dtype}"


def call(op: str, lanes: Lanes, dtype: str, *args: str) -> str:
    """Return the results of NumPy's loop over the lanes."""
    name, count, strides = f"@{symbol(op, dtype)}", f"@count.{lanes.width}", f"@strides.{SIZES[dtype]}"
    lanes.declarations |= {
        f"{name} = external global [2 x ptr]",
        f"{count} = private constant i64 {lanes.width}",
        f"{strides} = private constant [{_MOST} x i64] [{', '.join([f'i64 {SIZES[dtype]}'] * _MOST)}]",
    }
    buffers = [lanes.let(f"getelementptr i8, ptr %lanes, i64 {_BYTES * i}") for i in range(len(args) + 1)]
    for i, buffer in enumerate(buffers):
        lanes.lines.append(f"store ptr {buffer}, ptr {lanes.let(f'getelementptr ptr, ptr %places, i64 {i}')}")
    for x, buffer in zip(args, buffers[:-1], strict=True):
        lanes.store(dtype, x, buffer)
    loop = lanes.let(f"load ptr, ptr {name}")
    data = lanes.let(f"load ptr, ptr {lanes.let(f'getelementptr ptr, ptr {name}, i64 1')}")
    lanes.lines.append(f"call void {loop}(ptr %places, ptr {count}, ptr {strides}, ptr {data})")
    return lanes.load(dtype, buffers[-1])
