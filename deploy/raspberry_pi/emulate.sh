#!/usr/bin/env bash
# Compare a model's numbers on 64-bit ARM with those of this x86 machine, without a board: Debian's arm64 Python and the
# locked aarch64 wheels run in qemu. It says nothing about speed.
#   sudo deploy/raspberry_pi/emulate.sh [VARIANT_FOLDER ...]        default: the champion that ships
# PYTHON names an interpreter with edgemotion on this machine (default: .venv/bin/python of the checkout).
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
store=${EDGEMOTION_EMULATE_STORE:-${XDG_CACHE_HOME:-$HOME/.cache}/edgemotion-emulate}
python=${PYTHON:-$checkout/.venv/bin/python}
root=$store/arm64
site=$root/opt/site

fail() {
    echo "error: $*" >&2
    exit 1
}

[[ $EUID -eq 0 ]] || fail "debootstrap and chroot need root; run it with sudo"
for tool in debootstrap dpkg-deb qemu-aarch64-static; do
    command -v "$tool" >/dev/null || fail "$tool is missing; apt-get install debootstrap qemu-user-static"
done
[[ -x $python ]] || fail "$python is missing; run \`uv sync\`, or name a Python that has edgemotion in PYTHON"
(($#)) || set -- "$checkout/src/edgemotion/champion"
mkdir -p "$store"
work=$(mktemp -d "$store/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

if [[ ! -e $root/complete ]]; then
    rm -rf --one-file-system "$root"
    # Only the first stage: Python runs from unpacked packages, and to configure them in qemu would take many minutes.
    debootstrap --arch=arm64 --foreign --variant=minbase --include=python3 bookworm "$root" >"$work/debootstrap.log" \
        || { tail -n 5 "$work/debootstrap.log" >&2; fail "debootstrap failed"; }
    for package in "$root"/var/cache/apt/archives/*.deb; do dpkg-deb --extract "$package" "$root"; done
    install -m 0755 "$(command -v qemu-aarch64-static)" "$root/usr/bin/qemu-aarch64-static"
    awk '/^[^ ]/ { kept = /^(numpy|onnxruntime|opencv-python-headless|flatbuffers|packaging|protobuf)==/ } kept' \
        "$checkout/dockerfiles/requirements-api.txt" >"$work/requirements.txt"
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install -qq --no-compile --no-deps --only-binary=:all: --require-hashes --target "$site" \
        --implementation cp --python-version 311 --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
        --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 --requirement "$work/requirements.txt"
    touch "$root/complete"
fi

rm -rf "$root/opt/src" "$root/opt/run"
mkdir -p "$root/opt/src" "$root/opt/run"
cp -r "$checkout/src/edgemotion" "$root/opt/src/"
number=0
for folder in "$@"; do
    [[ -f $folder/model.onnx ]] || fail "$folder has no model.onnx"
    cp -r "$folder" "$root/opt/run/$((++number)).$(basename "$folder")"
done

cat >"$root/opt/run/answers.py" <<'PYTHON'
import json, pathlib, platform, sys

import numpy as np
import onnxruntime

from edgemotion.runtime import Classifier

here, target = pathlib.Path(__file__).parent, sys.argv[1]
answers = {}
for folder in sorted(path for path in here.iterdir() if path.is_dir()):
    classifier = Classifier(folder)
    variant = classifier.variant
    # Blocks of several sizes, so that edges and flat parts, dark and bright, reach every layer.
    rng = np.random.default_rng(42)
    images = []
    for block in (1, 2, 4, 8) * 8:
        shape = (-(-variant.height // block), -(-variant.width // block), variant.channels)
        small = rng.integers(*sorted(rng.integers(0, 256, 2)), shape, np.uint8, endpoint=True)
        images.append(small.repeat(block, 0).repeat(block, 1)[: variant.height, : variant.width])
    logits, probabilities = classifier.run(np.stack(images))
    answers |= {f"{folder.name}/logits": logits, f"{folder.name}/probabilities": probabilities}
np.savez(target, **answers)
print(json.dumps({"machine": platform.machine(), "python": platform.python_version(), "onnxruntime": onnxruntime.__version__, "numpy": np.__version__}))
PYTHON

export PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
PYTHONPATH=$checkout/src "$python" "$root/opt/run/answers.py" "$root/opt/run/x86.npz"
SECONDS=0
# Neither /proc nor /sys is mounted: with them ONNX Runtime's look at the processor crashes in qemu. Without them it warns
# that it knows no processor, and takes its plain NEON kernels.
PYTHONPATH=/opt/src:/opt/site OPENBLAS_NUM_THREADS=1 chroot "$root" /usr/bin/qemu-aarch64-static /usr/bin/python3.11 \
    /opt/run/answers.py /opt/run/arm64.npz
echo "emulated in $SECONDS s"

"$python" - "$root/opt/run/x86.npz" "$root/opt/run/arm64.npz" <<'PYTHON'
import sys

import numpy as np

first, second = (np.load(path) for path in sys.argv[1:])
different = False
for name in first:
    x86, arm = first[name], second[name]
    largest = float(np.abs(x86 - arm).max())
    same = "the same bytes" if x86.tobytes() == arm.tobytes() else f"at most {largest:.1e} apart"
    print(f"{name}: {x86.shape[0]} images, {same}, top-1 equal on {(x86.argmax(1) == arm.argmax(1)).mean():.0%}")
    # Floats are summed in another order there; more than this is another model.
    different |= largest > 1e-4
sys.exit("error: the numbers differ by more than 1e-4" if different else 0)
PYTHON
