"""What /proc/cpuinfo of a machine tells, and how int8 must run there."""

from pathlib import Path

import pytest

from edgemotion.cpu import exact_int8, read_cpu, slow_int8

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
EXACT = {"session.x64quantprecision": "1"}


def test_cpu_and_int8_flags_are_read(tmp_path: Path) -> None:
    source = tmp_path / "cpuinfo"
    assert read_cpu(source) == ("", [])
    source.write_text("")
    assert read_cpu(source) == ("", [])
    source.write_text(RASPBERRY_PI_5)
    assert read_cpu(source) == ("Raspberry Pi 5 Model B Rev 1.0", ["asimd", "asimddp"])
    source.write_text(X86)
    assert read_cpu(source) == (
        "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
        ["avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8"],
    )


@pytest.mark.parametrize(
    ("flags", "entries"),
    [
        ("avx2 avx512f avx512_vnni amx_int8", {}),
        ("avx2 avx_vnni", {}),
        ("avx2 avx512f", EXACT),
        ("avx2", EXACT),
        (None, EXACT),
    ],
)
def test_only_a_cpu_with_vnni_keeps_its_fastest_int8(
    flags: str | None, entries: dict[str, str], tmp_path: Path
) -> None:
    source = tmp_path / "cpuinfo"
    if flags:
        source.write_text(f"flags\t\t: fpu {flags}\n")
    assert exact_int8(source) == entries


@pytest.mark.parametrize(
    ("flags", "slow"),
    [
        (["avx2"], True),
        (["avx2", "avx512f"], True),
        (["avx2", "avx512f", "avx512_vnni"], False),
        (["avx2", "avx_vnni"], False),
        (["asimd"], False),
        ([], False),
    ],
)
def test_int8_is_slow_on_x86_without_vnni(flags: list[str], slow: bool) -> None:
    assert slow_int8(flags) is slow
