#!/usr/bin/env bash
# Build a TensorRT engine on the board that will run it, from a folder that prepare.py wrote.
#   deploy/jetson/build_engine.sh FOLDER [MAX_BATCH]          writes FOLDER/model.engine and FOLDER/engine.json
# An engine fits one TensorRT version and one GPU only, so it is never copied between boards.
set -euo pipefail

fail() {
    echo "error: $*" >&2
    exit 1
}

(($# == 1 || $# == 2)) || fail "usage: build_engine.sh FOLDER [MAX_BATCH]"
folder=$1
batch=${2:-8}
[[ $batch =~ ^[1-9][0-9]*$ ]] || fail "MAX_BATCH is a number of images, not $batch"
for name in model.onnx model_info.json; do
    [[ -f $folder/$name ]] || fail "$folder/$name is missing; make the folder with deploy/jetson/prepare.py"
done
# Not for this script, but for the engine's runner.
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || fail "python3 is $(python3 -V 2>&1), and the runner needs 3.11 or newer: JetPack 7"
trtexec=$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)
[[ -x $trtexec ]] || fail "trtexec is missing; on a Jetson it comes with JetPack: apt-get install tensorrt"

# Prints: method, whether the graph is quantized, the shape of one image, the model's SHA-256.
described=$(python3 - "$folder" <<'PYTHON'
import hashlib, json, pathlib, sys

folder = pathlib.Path(sys.argv[1])
info = json.loads((folder / "model_info.json").read_text())
if hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest() != info["sha256"]:
    sys.exit(f"error: {folder}/model.onnx is not the recorded one; copy the folder again")
image = info["input"]
print(info["method"], info.get("quantized"), f"{image['height']}x{image['width']}x{image['channels']}", info["sha256"])
PYTHON
)
read -r method quantized image digest <<<"$described"
[[ $method == tensorrt ]] || fail "$folder is no folder of prepare.py: TensorRT cannot read its graph as it is"

# TensorRT 8, 10 and 11 name precision differently; what trtexec lists decides.
options=$("$trtexec" --help 2>&1 || true)
precision=()
if [[ $quantized == True ]]; then
    # The types of the graph are taken as they are; before TensorRT 9, int8 had to be allowed.
    if [[ $options == *--stronglyTyped* ]]; then
        precision=(--stronglyTyped)
    elif [[ $options == *--int8* ]]; then
        precision=(--int8 --fp16)
    fi
elif [[ $options == *--fp16* ]]; then
    precision=(--fp16)
fi

# Fastest for single images, as a camera gives them, and able to take up to MAX_BATCH.
partial=$folder/.model.engine.part
trap 'rm -f "$partial"' EXIT
"$trtexec" --onnx="$folder/model.onnx" --saveEngine="$partial" "${precision[@]}" --skipInference \
    --minShapes="images:1x$image" --optShapes="images:1x$image" --maxShapes="images:${batch}x$image"
mv "$partial" "$folder/model.engine"
printf '{"model_sha256": "%s", "precision": "%s"}\n' "$digest" "${precision[*]:-as in the graph}" >"$folder/engine.json"
echo "built $folder/model.engine for batches of 1 to $batch"
