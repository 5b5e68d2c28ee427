"""What a runtime's exception means: out of memory, or one readable line."""

from __future__ import annotations

import re

# Texts of onnxruntime, CUDA, cuDNN, cuBLAS, DirectML, torch and the C++ library, which share no type of exception.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|failed to allocate|bad.?alloc|memoryallocation"
    r"|alloc(ation)?_failed|smaller than requested bytes|8007000e",
    re.IGNORECASE,
)
_LONGEST = 300


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine ran out of memory."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def one_line(error: BaseException) -> str:
    """The message in one line, ending with a period, without onnxruntime's error numbers and the name of the file."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"^Load model from .*? failed: ?", "", text)
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 3] + "..."
    return text if text.endswith((".", "!")) else text + "."
