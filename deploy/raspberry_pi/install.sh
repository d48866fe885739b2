#!/usr/bin/env bash
# Install the edgemotion API as a service on a 64-bit Raspberry Pi OS; run it again to update.
#   sudo deploy/raspberry_pi/install.sh [--faces FILE] [--no-start] [WHEEL]
# Without WHEEL this checkout is installed. Packages come in the locked versions, each checked against its hash. Nothing
# else is downloaded; FILE is YuNet's ONNX file, without which /detect answers that it is missing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/../.." && pwd)
target=/opt/edgemotion
settings=/etc/edgemotion.env

fail() {
    echo "error: $*" >&2
    exit 1
}

wheel='' faces='' start=yes
while (($#)); do
    case $1 in
        --faces)
            (($# > 1)) || fail "--faces wants a file"
            faces=$2
            shift
            ;;
        --no-start) start='' ;;
        -*) fail "unknown option $1; there are --faces FILE and --no-start" ;;
        *) wheel=$1 ;;
    esac
    shift
done

[[ -z $wheel || $wheel == *.whl && -f $wheel ]] || fail "$wheel is no wheel; build one with: uv build --wheel"
[[ -z $faces || -f $faces ]] || fail "$faces is missing"
# A 64-bit kernel may run a 32-bit system, for which there are no wheels of ONNX Runtime.
[[ $(uname -m) == aarch64 && $(getconf LONG_BIT) == 64 ]] || fail "this needs a 64-bit system (aarch64), not $(uname -m) with $(getconf LONG_BIT) bits"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed: Raspberry Pi OS bookworm or newer"
python3 -c 'import ensurepip, venv' 2>/dev/null || fail "python3-venv is missing; apt-get install python3-venv"
if ! grep -qsw memory /sys/fs/cgroup/cgroup.controllers; then
    echo "warning: the memory cgroup is off, so nothing holds the service to its 512 MB; append cgroup_enable=memory to the" >&2
    echo "         line in /boot/firmware/cmdline.txt and reboot" >&2
fi
[[ $EUID -eq 0 ]] || fail "it makes a user and a service; run it with sudo"

if ! getent passwd edgemotion >/dev/null; then
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin edgemotion
fi

python3 -m venv "$target"
pip=("$target/bin/python" -m pip --disable-pip-version-check --quiet)
"${pip[@]}" install --require-hashes --requirement "$checkout/dockerfiles/requirements-api.txt"
# Without isolation, which would fetch build tools of no known hash.
[[ -n $wheel ]] || "${pip[@]}" install --require-hashes --requirement "$checkout/dockerfiles/requirements-build.txt"
"${pip[@]}" install --no-deps --no-build-isolation --force-reinstall "${wheel:-$checkout}"
install -m 0644 "$checkout/README.md" "$target/README.md"
"$target/bin/edgemotion" verify

if [[ ! -e $settings ]]; then
    # Three requests at once with one thread each serve the most images a second; for one stream with the least delay
    # it is --threads 3 --workers 1. The limits keep the worst case below MemoryMax of the unit. --host 0.0.0.0 opens the
    # API to the network: set a key first.
    install -m 0600 /dev/stdin "$settings" <<'SETTINGS'
OPTIONS=--host 127.0.0.1 --port 8000 --threads 1 --workers 3 --max-requests 8 --max-pixels 8000000
#EDGEMOTION_API_KEY=
SETTINGS
fi
if [[ -n $faces ]]; then
    install -D -m 0644 "$faces" "$target/share/yunet.onnx"
    grep -q '^EDGEMOTION_FACES=' "$settings" || echo "EDGEMOTION_FACES=$target/share/yunet.onnx" >>"$settings"
fi

install -m 0644 "$here/edgemotion.service" /etc/systemd/system/edgemotion.service
if [[ -n $start ]]; then
    systemctl daemon-reload
    systemctl enable --quiet edgemotion.service
    systemctl restart edgemotion.service
    port=$(sed -nE 's/^OPTIONS=.*--port[ =]([0-9]+).*/\1/p' "$settings")
    # systemd calls a service active before it answers.
    ready="import urllib.request; urllib.request.urlopen('http://127.0.0.1:${port:-8000}/health/ready', timeout=2)"
    SECONDS=0
    until "$target/bin/python" -c "$ready" 2>/dev/null; do
        ((SECONDS < 60)) || fail "the service does not answer on port ${port:-8000}; see journalctl -u edgemotion"
        sleep 1
    done
fi

governor=/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor
if [[ -r $governor && $(<"$governor") != performance ]]; then
    echo "note: the CPU governor is $(<"$governor"); single images are answered sooner, and latencies measure steadier, after"
    echo "      echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
fi
echo "edgemotion is installed in $target; settings are in $settings"
