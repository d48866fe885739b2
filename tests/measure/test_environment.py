from importlib.metadata import version

import numpy
import onnxruntime

from edgemotion.measure.environment import describe, read_cpuinfo

X86 = """\
processor\t: 0
vendor_id\t: GenuineIntel
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu vme avx2 avx512f avx512_vnni amx_int8 avx_vnni

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu vme avx2 avx512f avx512_vnni amx_int8 avx_vnni
"""
RASPBERRY_PI_5 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41

Revision\t: c04170
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""


def test_cpu_and_int8_flags_are_read() -> None:
    assert read_cpuinfo(X86) == (
        "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
        ["avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8"],
    )
    assert read_cpuinfo(RASPBERRY_PI_5) == ("Raspberry Pi 5 Model B Rev 1.0", ["asimd", "asimddp"])
    assert read_cpuinfo("") == ("", [])


def test_this_machine_is_described() -> None:
    found = describe(threads=1)
    assert found["cpu"] and found["cores"] >= 1 and found["threads"] == 1
    assert found["versions"]["onnxruntime"] == onnxruntime.__version__
    assert found["versions"]["numpy"] == numpy.__version__
    assert found["versions"]["torch"] == version("torch") and None not in found["versions"].values()
