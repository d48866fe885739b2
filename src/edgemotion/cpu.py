"""The text of /proc/cpuinfo in; the CPU, its instructions for int8 and how ONNX Runtime must use them out."""

from collections.abc import Sequence
from pathlib import Path

SOURCE = Path("/proc/cpuinfo")
# The instructions that decide how fast int8 is: without the dot products it may lose to fp32.
FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx_vnni_int8",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)
VNNI = {"avx512_vnni", "avx_vnni"}


def read_cpu(source: Path = SOURCE) -> tuple[str, list[str]]:
    """The CPU model and its flags among FLAGS; empty where the file is missing or says nothing."""
    lines = [line.partition(":") for line in (source.read_text() if source.is_file() else "").splitlines()]
    pairs = [(key.strip(), value.strip()) for key, _, value in lines]
    # An x86 file names the model first; a Raspberry Pi has a board "Model" at the end and "model name" on 32 bit only.
    cpu = next((value for wanted in ("model name", "Model") for key, value in pairs if key == wanted), "")
    present = {flag for key, value in pairs if key in ("flags", "Features") for flag in value.split()}
    return cpu, [flag for flag in FLAGS if flag in present]


def exact_int8(source: Path = SOURCE) -> dict[str, str]:
    """The entries of an ONNX Runtime session with which this CPU answers int8 as the graph says.

    x86 without VNNI adds int8 products in 16 bits, which overflow, unless it is told to take slower kernels. One with
    VNNI has exact and fast ones, and would take the slower for the same answers. ARM takes no notice. Without a source,
    as outside Linux, the slower ones are the safe choice.
    """
    return {} if VNNI & set(read_cpu(source)[1]) else {"session.x64quantprecision": "1"}


def slow_int8(flags: Sequence[str]) -> bool:
    """Whether a CPU with these of FLAGS is an x86 one on which only weights of 7 bits take the fast kernels."""
    return "avx2" in flags and not VNNI & set(flags)
