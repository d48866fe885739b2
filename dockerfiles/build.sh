#!/usr/bin/env bash
# Build the API image with buildah, without a docker daemon, and prove that it serves: read-only, not as root, on SIGTERM.
#   sudo dockerfiles/build.sh [IMAGE]
# The base is python:3.11-slim where it can be pulled; elsewhere Debian 12 with its Python 3.11, made once by debootstrap
# and given that name in a store of this script's own. What pip is configured to use here, the build uses too.
set -euo pipefail

image=${1:-edgemotion-api}
base=python:3.11-slim
# Most of it is OpenCV with its codecs (150 MB) and the base (130 MB); torch would be 700 MB more.
limit_mb=450
store=${EDGEMOTION_BUILD_STORE:-${XDG_CACHE_HOME:-$HOME/.cache}/edgemotion-build}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    echo "error: $*" >&2
    exit 1
}

[[ $EUID -eq 0 ]] || fail "debootstrap and chroot need root; run it with sudo"
for tool in buildah python3 unshare nsenter; do
    command -v "$tool" >/dev/null || fail "$tool is missing; install it (Debian, Ubuntu: apt-get install buildah python3 util-linux)"
done
mkdir -p "$store"
work=$(mktemp -d "$store/work.XXXXXX")
container='' server=''

build_ah() {
    buildah --root "$store/root" --runroot "$store/run" --storage-driver "${STORAGE_DRIVER:-vfs}" "$@"
}

clean_up() {
    [[ -z $server ]] || kill -KILL "$server" 2>/dev/null || true
    wait 2>/dev/null || true
    [[ -z $container ]] || build_ah rm "$container" >/dev/null 2>&1 || true
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT

make_base() {
    command -v debootstrap >/dev/null || fail "$base cannot be pulled and debootstrap is missing; install debootstrap"
    local root=$work/base
    debootstrap --variant=minbase --include=python3,ca-certificates bookworm "$root" >"$work/debootstrap.log" \
        || { tail -n 5 "$work/debootstrap.log" >&2; fail "debootstrap failed"; }
    # As in the image that this stands for: python and pip in /usr/local, and no leftovers of the installation.
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install -qq --no-compile --target "$root/usr/local/lib/python3.11/dist-packages" pip
    ln -s /usr/bin/python3 "$root/usr/local/bin/python"
    rm -rf "$root"/usr/lib/python3*/EXTERNALLY-MANAGED "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* \
        "$root"/var/log/* "$root"/usr/share/{doc,info,locale,man}/*
    container=$(build_ah from scratch)
    build_ah add --quiet "$container" "$root" / >/dev/null
    build_ah config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin --env LANG=C.UTF-8 \
        --cmd python3 --label "origin=debootstrap bookworm, standing for $base" "$container"
    build_ah commit --quiet --rm --format docker "$container" "$base" >/dev/null
    container=''
    rm -rf --one-file-system "$root"
}

# pip's merged settings as a file for the build, and after it the local folders that they name, one a line.
pip_settings() {
    python3 - "$work/pip.conf" <<'PYTHON'
import ast, pathlib, re, subprocess, sys

listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
values = {}
# Variables come last, because they win over files.
for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):
    key, _, value = line.partition("=")
    name = key.rpartition(".")[2]
    if name in ("index-url", "extra-index-url", "find-links", "trusted-host", "cert"):
        values[name] = ast.literal_eval(value)
lines = [f"{name} = {' '.join(value.split())}" for name, value in values.items()]
pathlib.Path(sys.argv[1]).write_text("\n".join(["[global]", *lines, ""]))
for name, value in values.items():
    for path in map(pathlib.Path, re.findall(r"(?:^|\s)(?:file://)?(/\S+)", value)):
        # A local index points at packages beside itself.
        folder = path.parent if "index" in name and len(path.parts) > 2 else path
        if folder.is_dir():
            print(folder)
PYTHON
}

build_ah inspect --type image "$base" >/dev/null 2>&1 \
    || build_ah pull --quiet "docker://$base" >/dev/null 2>&1 || make_base
origin=$(build_ah inspect --type image --format '{{index .Docker.Config.Labels "origin"}}' "$base")
echo "base: ${origin:-$base as pulled}"

mounts=(--volume "$work/pip.conf:/etc/pip.conf:ro")
pip_settings >"$work/folders"
while read -r folder; do mounts+=(--volume "$folder:$folder:ro"); done <"$work/folders"
for folder in /etc/ssl/certs /usr/share/ca-certificates /usr/local/share/ca-certificates; do
    [[ ! -d $folder ]] || mounts+=(--volume "$folder:$folder:ro")
done

SECONDS=0
# HEALTHCHECK is lost in OCI's own format.
build_ah build --isolation chroot --format docker --pull-never --no-cache --force-rm "${mounts[@]}" \
    --file "$here/dockerfiles/api.Dockerfile" --tag "$image" "$here" >"$work/build.log" 2>&1 \
    || { tail -n 30 "$work/build.log" >&2; fail "the build failed"; }
echo "built $image in $SECONDS s"
# What an earlier run gave this name.
build_ah rmi --prune >/dev/null

container=$(build_ah from --pull-never "$image")
root=$(build_ah mount "$container")
size_mb=$(($(du --summarize --apparent-size --block-size=1 --one-file-system "$root" | cut -f 1) / 1000000))
added_mb=$(($(du --summarize --apparent-size --block-size=1 "$root/opt/edgemotion" | cut -f 1) / 1000000))
packed_mb=$(($(tar --create --one-file-system --directory "$root" . | gzip | wc --bytes) / 1000000))
echo "size: $size_mb MB, of which edgemotion and its packages $added_mb MB; to download $packed_mb MB"
((size_mb <= limit_mb)) || fail "the image has $size_mb MB, above $limit_mb"

build_ah inspect --type image "$image" >"$work/image.json"
# $1: a key of the image's configuration; its value, a text or a list, ends in NUL for each item.
configured() {
    python3 - "$work/image.json" "$1" <<'PYTHON'
import json, sys

value = json.load(open(sys.argv[1]))["Docker"]["config"]
for key in sys.argv[2].split("."):
    value = value[key]
sys.stdout.write("".join(f"{item}\0" for item in ([value] if isinstance(value, str) else value)))
PYTHON
}
mapfile -d '' -t user < <(configured User)
mapfile -d '' -t environment < <(configured Env)
mapfile -d '' -t entrypoint < <(configured Entrypoint)
mapfile -d '' -t health < <(configured Healthcheck.Test)
[[ ${user[0]} =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]] || fail "the image's user is '${user[0]}', not two numbers above 0"
[[ ${health[0]} == CMD ]] || fail "the image has no HEALTHCHECK"

# As docker would run it: process 1 of its own, no network but its own, a read-only root and a writable /tmp.
# shellcheck disable=SC2016
unshare --mount --net --pid --fork --kill-child bash -euc '
    root=$1 user=$2
    shift 2
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -o remount,bind,ro "$root"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/tmp"
    # Brings the loopback interface up where no `ip` is installed.
    python3 -c "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack(\"16sh\", b\"lo\", 0x41))"
    exec setpriv --no-new-privs chroot --userspec="$user" "$root" env -i "$@"
' smoke "$root" "${user[0]}" "${environment[@]}" "${entrypoint[@]}" >"$work/server.log" 2>&1 &
unshared=$!
for _ in $(seq 50); do
    server=$(cat "/proc/$unshared/task/$unshared/children" 2>/dev/null || true)
    server=${server%% *}
    [[ -n $server ]] && break
    sleep 0.1
done
[[ -n $server ]] || fail "the server did not start"

inside() {
    nsenter --target "$server" --mount --net --pid --root --wd=/ --setuid "${user[0]%%:*}" --setgid "${user[0]##*:}" \
        env -i "${environment[@]}" "$@"
}

ready() {
    inside python -c 'import urllib.request; urllib.request.urlopen("http://127.0.0.1:8000/health/ready", timeout=2)'
}
SECONDS=0
until ready >/dev/null 2>&1; do
    kill -0 "$unshared" 2>/dev/null || { cat "$work/server.log" >&2; fail "the server ended before it was ready"; }
    ((SECONDS < 60)) || { cat "$work/server.log" >&2; fail "not ready within 60 s"; }
    sleep 0.2
done
echo "ready after $SECONDS s"

inside "${health[@]:1}" || fail "HEALTHCHECK fails on a server that is ready"
[[ $(inside id -u) != 0 ]] || fail "the image's user is root"
grep -q "^Uid:[[:space:]]*${user[0]%%:*}[[:space:]]" "/proc/$server/status" || fail "the server does not run as ${user[0]}"
inside sh -c ': >/writable' 2>/dev/null && fail "the root file system is writable"

inside python - <<'PYTHON'
import json
import urllib.request

import cv2
import numpy as np

from edgemotion.datasets.canvas import sample_view
from edgemotion.datasets.facs import sample_expression, sample_identity
from edgemotion.datasets.rendering import render

URL = "http://127.0.0.1:8000"
rng = np.random.default_rng(42)
drawn = render(sample_identity(rng), sample_expression("happy", 1.0, rng), sample_view(rng), rng=rng)
face = cv2.imencode(".jpg", drawn)[1].tobytes()
form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f.jpg"\r\n\r\n' + face + b"\r\n--x--\r\n"
classes = json.load(urllib.request.urlopen(f"{URL}/model"))["classes"]
answers = []
for kind, body in (("image/jpeg", face), ("multipart/form-data; boundary=x", form)):
    request = urllib.request.Request(f"{URL}/predict", body, {"Content-Type": kind})
    answers.append(json.load(urllib.request.urlopen(request)))
    assert answers[-1]["label"] in classes, answers
    assert abs(sum(answers[-1]["scores"].values()) - 1) < 1e-4, answers
assert answers[0]["scores"] == answers[1]["scores"], answers
assert b"edgemotion_requests_total" in urllib.request.urlopen(f"{URL}/metrics").read()
print("answer:", json.dumps(answers[0]))
PYTHON
grep -E 'VmHWM' "/proc/$server/status" | tr -s '\t ' ' ' | sed 's/VmHWM:/memory at most:/'

SECONDS=0
kill -TERM "$server"
for _ in $(seq 100); do
    kill -0 "$unshared" 2>/dev/null || break
    sleep 0.1
done
kill -0 "$unshared" 2>/dev/null && fail "the server still runs 10 s after SIGTERM"
status=0
wait "$unshared" || status=$?
server=''
# 143 is 128 + SIGTERM: uvicorn ends by the signal that it was sent, once it has ended in order.
[[ $status == 0 || $status == 143 ]] || { cat "$work/server.log" >&2; fail "the server ended with $status"; }
echo "ended $SECONDS s after SIGTERM with status $status"
