"""The containers, the scripts and the unit of the edge targets keep their promises; nothing is built or installed."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from edgemotion.errors import EdgemotionError
from edgemotion.files import sha256_file, write_json
from edgemotion.runtime import Classifier
from edgemotion.runtime.champion import SHIPPED
from edgemotion.serve.options import Options

ROOT = Path(__file__).parents[1]
DOCKER, DEPLOY = ROOT / "dockerfiles", ROOT / "deploy"
SCRIPTS = [DOCKER / "build.sh", *sorted(DEPLOY.glob("*/*.sh"))]
LOCKS = {"api": "serve", "train": "pipeline"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SHELLCHECK = shutil.which("shellcheck")
# Of the quantized activations of the network below: their range holds all that they may be.
STEP = 6 / 255


def name_of(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-").replace(".", "-")


def locked(kind: str) -> dict[str, list[str]]:
    """Each requirement of a lock file, as written, with its hashes."""
    found: dict[str, list[str]] = {}
    for line in (DOCKER / f"requirements-{kind}.txt").read_text().splitlines():
        if not line.startswith(" "):
            requirement = line.rstrip("\\ ")
            found[requirement] = []
        else:
            found[requirement].append(line.strip(" \\"))
    return found


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def instructions(path: Path) -> list[tuple[str, str]]:
    """Word and rest of each instruction of a Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


@pytest.mark.parametrize("kind", ["api", "train", "build"])
def test_every_locked_package_has_one_version_and_its_hashes(kind: str) -> None:
    packages = locked(kind)
    assert packages
    for requirement, hashes in packages.items():
        assert re.match(r"^[a-z0-9._-]+==[^ ]+( ; .+)?$", requirement), requirement
        assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", found) for found in hashes), requirement


@pytest.mark.parametrize(("kind", "extra"), LOCKS.items())
def test_locks_are_in_step_with_the_project(kind: str, extra: str) -> None:
    packages: dict[str, list[tuple[int, ...]]] = {}
    for requirement in locked(kind):
        name, version = requirement.split(" ;")[0].split("==")
        packages.setdefault(name_of(name), []).append(numbers(version))
    for wanted in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]]:
        assert name_of(wanted) in packages, f"{wanted} is not in requirements-{kind}.txt; compile it again"
        for least in re.findall(r">=([0-9.]+)", wanted):
            assert min(packages[name_of(wanted)]) >= numbers(least), wanted
    others = {name_of(one) for key, extras in LOCKS.items() if key != kind for one in [extras]}
    assert not others & set(packages)
    assert ("torch" in packages) == (kind == "train")


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def test_no_file_names_a_package_index() -> None:
    hosts = re.compile(r"https?://(?!127\.0\.0\.1|localhost)|index-url\b(?!\"| *,)")
    files = [*DOCKER.iterdir(), *(path for path in DEPLOY.rglob("*") if path.suffix in {".sh", ".py", ".service"})]
    for path in files:
        if path.is_file():
            lines = [line for line in path.read_text().splitlines() if hosts.search(line)]
            assert not lines, f"{path}: {lines}"


def test_api_image_runs_without_rights_and_reports_its_health() -> None:
    found = instructions(DOCKER / "api.Dockerfile")
    stages = [rest for word, rest in found if word == "FROM"]
    assert [stage.split()[0] for stage in stages] == ["python:3.11-slim"] * 2
    final = found[max(place for place, (word, _) in enumerate(found) if word == "FROM") :]
    given: dict[str, str] = dict(final)
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", given["USER"])
    assert json.loads(given["ENTRYPOINT"]) == ["edgemotion", "serve", "--host", "0.0.0.0"]
    assert given["STOPSIGNAL"] == "SIGTERM"
    check = json.loads(given["HEALTHCHECK"].partition("CMD")[2])
    assert check[:2] == ["python", "-c"] and "/health/live" in check[2]
    compile(check[2], "HEALTHCHECK", "exec")
    environment = " ".join(rest for word, rest in final if word == "ENV")
    assert "PYTHONDONTWRITEBYTECODE=1" in environment and "ORT_DISABLE_TELEMETRY=1" in environment


@pytest.mark.parametrize("name", ["api.Dockerfile", "train.Dockerfile"])
def test_images_install_hashed_packages_only_and_end_without_root(name: str) -> None:
    found = instructions(DOCKER / name)
    assert [rest for word, rest in found if word == "USER"][-1].split(":")[0] not in {"0", "root"}
    text = "\n".join(rest for word, rest in found if word == "RUN")
    # torch.txt holds the two packages whose CPU wheels are not the locked ones.
    for install in re.findall(r"install ([^&;]*-r [\w./-]+)", text):
        assert "--require-hashes" in install or install.endswith("torch.txt"), install
    for word, rest in found:
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source


@pytest.mark.parametrize("name", ["api.Dockerfile", "train.Dockerfile"])
def test_images_bring_the_bytecode_that_their_user_cannot_write(name: str) -> None:
    text = (DOCKER / name).read_text()
    assert "PYTHONDONTWRITEBYTECODE=1" in text
    assert "UV_COMPILE_BYTECODE=1" in text or "-m compileall" in text


def test_dockerignore_lets_only_named_files_into_a_build() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert allowed == {"LICENSE", "README.md", "pyproject.toml", "src", "dockerfiles/requirements-*.txt"}


def test_compose_services_are_locked_down() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert {"api", "mlflow", "prometheus", "train"} <= set(services)
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    api = services["api"]
    assert api["tmpfs"] == ["/tmp"] and "volumes" not in api
    assert {"cpus", "memory"} <= set(api["deploy"]["resources"]["limits"])
    assert "/health/ready" in api["healthcheck"]["test"][-1]
    assert services["train"]["profiles"] == ["train"]
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DOCKER / source).exists(), source


def test_prometheus_scrapes_the_service_and_port_of_the_api() -> None:
    targets = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"][0][
        "targets"
    ]
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    host, port = targets[0].split(":")
    assert host in services and services[host]["ports"][0].endswith(f":{port}")


def unit() -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for line in (DEPLOY / "raspberry_pi/edgemotion.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            keys.setdefault(key, []).append(value)
    return keys


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("User", "edgemotion"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("CapabilityBoundingSet", ""),
        ("SystemCallFilter", "@system-service"),
        ("MemoryMax", "512M"),
        ("CPUQuota", "300%"),
        ("Restart", "on-failure"),
    ],
)
def test_unit_is_hardened_and_limited(key: str, value: str) -> None:
    assert unit()[key] == [value]


def test_unit_starts_what_the_installer_installs() -> None:
    installer = (DEPLOY / "raspberry_pi/install.sh").read_text()
    target = re.search(r"^target=(.+)$", installer, re.MULTILINE)
    assert target and unit()["ExecStart"] == [f"{target[1]}/bin/edgemotion serve $OPTIONS"]
    settings = re.search(r"^settings=(.+)$", installer, re.MULTILINE)
    assert settings and unit()["EnvironmentFile"] == [f"-{settings[1]}"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_parse_stop_on_errors_and_may_be_run(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)
    assert "set -euo pipefail" in path.read_text()
    assert path.stat().st_mode & 0o111


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_pass_shellcheck(path: Path) -> None:
    found = subprocess.run([str(SHELLCHECK), path], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_installer_refuses_another_machine_and_a_wheel_that_is_none(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = ["bash", str(DEPLOY / "raspberry_pi/install.sh"), *arguments]
        found = subprocess.run(command, capture_output=True, text=True)
        assert found.returncode == 1 and found.stderr.count("\n") == 1, found.stderr
        return found.stderr

    assert "is no wheel" in run(str(tmp_path / "missing.whl"))
    assert "is missing" in run("--faces", str(tmp_path / "missing.onnx"))
    assert "unknown option --fast" in run("--fast")
    if "aarch64" not in subprocess.run(["uname", "-m"], capture_output=True, text=True).stdout:
        assert "64-bit" in run()


def stubs(folder: Path, **scripts: str) -> dict[str, str]:
    """An environment whose PATH finds these commands first."""
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(("found", "warned"), [(0, False), (1, True)])
def test_installer_warns_where_the_memory_limit_is_not_enforced(tmp_path: Path, found: int, warned: bool) -> None:
    # Python's -m, which would make the virtual environment, ends the script; without root it ends before.
    environment = stubs(
        tmp_path / "bin",
        uname="echo aarch64",
        getconf="echo 64",
        getent="exit 0",
        python3="test $1 = -c",
        grep=f'test "$*" = "-qsw memory /sys/fs/cgroup/cgroup.controllers" && exit {found}; exit 2',
    )
    command = ["bash", str(DEPLOY / "raspberry_pi/install.sh")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ("append cgroup_enable=memory" in ended.stderr) == warned


@pytest.mark.parametrize(("python", "complaint"), [("exit 1", "needs 3.11 or newer"), ("", "")])
def test_an_engine_is_built_only_where_its_runner_can_run(tmp_path: Path, python: str, complaint: str) -> None:
    load(DEPLOY / "jetson/prepare.py").prepare(SHIPPED, tmp_path / "prepared")
    engine = tmp_path / "prepared/model.engine"
    trtexec = 'for option; do case $option in --saveEngine=*) echo built >"${option#*=}" ;; esac; done'
    environment = stubs(tmp_path / "bin", trtexec=trtexec, python3=python or f'exec "{sys.executable}" "$@"')
    command = ["bash", str(DEPLOY / "jetson/build_engine.sh"), str(tmp_path / "prepared")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert complaint in ended.stderr and engine.is_file() == (not complaint)
    assert ended.returncode == bool(complaint), ended.stderr


def quantized_variant(folder: Path, offset: int) -> Path:
    """A classifier of 4x4 gray images by mean and inverted mean; its pixels, activations and bias are quantized.

    With `offset` 0 the second QuantizeLinear is also the network's ReLU, as ONNX Runtime writes it.
    """
    tensors = {
        "pixel_scale": np.float32(1 / 64),
        "pixel_zero": np.uint8(128),
        "kernel": np.array([1, -1], np.int8).reshape(2, 1, 1, 1),
        "kernel_scale": np.float32(1),
        "kernel_zero": np.int8(0),
        "bias": np.array([100, -50], np.int32),
        "bias_scale": np.float32(1 / 1000),
        "scale": np.float32(STEP),
        "zero": np.uint8(offset),
        "axes": np.array([2, 3], np.int64),
        "shape": np.array([-1, 4, 4, 1], np.int64),
    }
    nodes = [
        helper.make_node("Reshape", ["images", "shape"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("DequantizeLinear", ["nchw", "pixel_scale", "pixel_zero"], ["normalised"]),
        helper.make_node("DequantizeLinear", ["kernel", "kernel_scale", "kernel_zero"], ["weights"]),
        helper.make_node("DequantizeLinear", ["bias", "bias_scale"], ["biases"]),
        helper.make_node("Conv", ["normalised", "weights", "biases"], ["convolved"]),
        helper.make_node("QuantizeLinear", ["convolved", "scale", "zero"], ["quantized"]),
        helper.make_node("DequantizeLinear", ["quantized", "scale", "zero"], ["active"]),
        helper.make_node("ReduceMean", ["active", "axes"], ["logits"], keepdims=0),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in ("logits", "probabilities")]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 4, 4, 1])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    info: dict[str, Any] = {
        "name": "tiny",
        "classes": ["bright", "dark"],
        "input": {"layout": "NHWC", "dtype": "uint8", "height": 4, "width": 4, "channels": 1},
        "parity": {"max_abs_diff": 0.5},
        "sha256": sha256_file(folder / "model.onnx"),
    }
    write_json(folder / "model_info.json", info)
    return folder


@pytest.mark.parametrize("offset", [0, 100])
def test_prepared_graph_holds_only_what_tensorrt_reads_and_answers_alike(tmp_path: Path, offset: int) -> None:
    source, target = quantized_variant(tmp_path / "source", offset), tmp_path / "target"
    load(DEPLOY / "jetson/prepare.py").prepare(source, target)
    model = onnx.load(target / "model.onnx")
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert {node.op_type for node in model.graph.node if "images" in node.input} == {"Cast"}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert constants[node.input[2]].dtype == np.int8 and not constants[node.input[2]].any()
            assert constants.get(node.input[0], np.int8(0)).dtype != np.int32
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 256, (64, 1, 1, 1)) + rng.integers(-9, 10, (64, 4, 4, 1))).clip(0, 255).astype(np.uint8)
    before, after = (Classifier(folder).run(images)[0] for folder in (source, target))
    # Half a step of the original levels and half of the new ones.
    reach = max(offset, 255 - offset)
    assert float(constants["scale_symmetric"]) == pytest.approx(STEP * reach / 127)
    assert np.abs(before - after).max() <= STEP * (0.5 + 0.5 * reach / 127) + 1e-6
    info = json.loads((target / "model_info.json").read_text())
    assert (info["method"], info["parent"], info["quantized"]) == ("tensorrt", "tiny", True)
    assert "parity" not in info


def test_the_shipped_champion_can_be_prepared(tmp_path: Path) -> None:
    load(DEPLOY / "jetson/prepare.py").prepare(SHIPPED, tmp_path / "target")
    model = onnx.load(tmp_path / "target/model.onnx")
    assert {node.op_type for node in model.graph.node if "images" in node.input} == {"Cast"}
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (64, 6, 6)).astype(np.uint8)
    images = np.stack([cv2.resize(image, (48, 48), interpolation=cv2.INTER_CUBIC) for image in coarse])[..., None]
    before, after = (Classifier(folder).run(images)[1] for folder in (SHIPPED, tmp_path / "target"))
    assert np.abs(before - after).max() < 0.05 < before.std(0).max()


def test_tensorrt_runner_refuses_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = load(DEPLOY / "jetson/trt_runner.py")
    folder = quantized_variant(tmp_path / "variant", 0)
    with pytest.raises(EdgemotionError, match=r"model\.engine is missing; build it"):
        runner.TensorRTClassifier(folder)
    (folder / "model.engine").write_bytes(b"engine")
    write_json(folder / "engine.json", {"model_sha256": "0" * 64})
    with pytest.raises(EdgemotionError, match="built from another model"):
        runner.TensorRTClassifier(folder)
    write_json(folder / "engine.json", {"model_sha256": sha256_file(folder / "model.onnx")})
    # None makes the import fail also where TensorRT is installed.
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EdgemotionError, match="TensorRT's Python package is missing") as caught:
        runner.TensorRTClassifier(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_tensorrt_runner_refuses_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = load(DEPLOY / "jetson/trt_runner.py")

    class NoDevice:
        @staticmethod
        def cudaGetDeviceCount(count: Any) -> int:  # noqa: N802
            return 100

    monkeypatch.setattr(runner.ctypes, "CDLL", lambda name: NoDevice())
    with pytest.raises(EdgemotionError, match="no NVIDIA GPU answers"):
        runner.Cuda()

    def absent(name: str) -> None:
        raise OSError

    monkeypatch.setattr(runner.ctypes, "CDLL", absent)
    with pytest.raises(EdgemotionError, match="libcudart is missing"):
        runner.Cuda()


def test_provider_runner_refuses_rather_than_answer_from_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    runner = load(DEPLOY / "jetson/trt_runner.py")
    folder = quantized_variant(tmp_path / "variant", 0)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(EdgemotionError, match="has no TensorRT provider"):
        runner.ProviderClassifier(folder, tmp_path)


class Library:
    """CUDA's runtime library on the host's memory, so that the runner's copies and addresses are really made."""

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}

    def cudaGetDeviceCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = 1
        return 0

    def cudaStreamCreate(self, stream: Any) -> int:  # noqa: N802
        stream._obj.value = 1
        return 0

    def cudaMalloc(self, pointer: Any, size: Any) -> int:  # noqa: N802
        memory = np.zeros(size.value, np.uint8)
        self.kept[memory.ctypes.data] = memory
        pointer._obj.value = memory.ctypes.data
        return 0

    def cudaFree(self, pointer: Any) -> int:  # noqa: N802
        del self.kept[pointer.value]
        return 0

    def cudaMemcpyAsync(self, target: Any, source: Any, size: Any, kind: Any, stream: Any) -> int:  # noqa: N802
        import ctypes

        ctypes.memmove(target, source, size.value)
        return 0

    def cudaStreamSynchronize(self, stream: Any) -> int:  # noqa: N802
        return 0


def test_tensorrt_runner_batches_and_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is ONNX Runtime in disguise; what is tested is the runner's own work around it."""
    runner = load(DEPLOY / "jetson/trt_runner.py")
    folder = quantized_variant(tmp_path / "variant", 0)
    (folder / "model.engine").write_bytes(b"engine")
    write_json(folder / "engine.json", {"model_sha256": sha256_file(folder / "model.onnx")})
    library, reference = Library(), Classifier(folder)
    batches: list[int] = []

    class Context:
        def __init__(self) -> None:
            self.addresses: dict[str, int] = {}

        def set_tensor_address(self, name: str, address: int) -> None:
            self.addresses[name] = address

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> None:
            self.shape = shape

        def execute_async_v3(self, stream: int) -> bool:
            count = self.shape[0]
            batches.append(count)
            images = library.kept[self.addresses["images"]][: count * 16].reshape(self.shape)
            for name, answer in zip(("logits", "probabilities"), reference.run(images), strict=True):
                library.kept[self.addresses[name]][: answer.nbytes] = answer.reshape(-1).view(np.uint8)
            return True

    class Engine:
        def create_execution_context(self) -> Context:
            return Context()

        def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
            return [(1, 4, 4, 1), (1, 4, 4, 1), (8, 4, 4, 1)]

    class Runtime:
        def __init__(self, logger: Any) -> None: ...

        def deserialize_cuda_engine(self, content: bytes) -> Engine:
            return Engine()

    class Logger:
        WARNING = 1

        def __init__(self, level: int) -> None: ...

    module = ModuleType("tensorrt")
    module.__dict__.update(Runtime=Runtime, Logger=Logger, __version__="0")
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(runner.ctypes, "CDLL", lambda name: library)
    ours = runner.TensorRTClassifier(folder)
    images = np.random.default_rng(0).integers(0, 256, (19, 4, 4, 1), np.uint8)
    for answer, expected in zip(ours.run(images), reference.run(images), strict=True):
        np.testing.assert_array_equal(answer, expected)
    assert batches == [8, 8, 3]
    image = cv2.resize(images[0], (9, 7))
    assert ours.predict(image) == reference.predict(image)
    with pytest.raises(EdgemotionError, match="takes uint8 images"):
        ours.run(images.astype(np.float32))
    ours.close()
    assert not library.kept


def test_the_limits_of_the_deployments_fit_into_their_memory() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["api"]
    unit = (DEPLOY / "raspberry_pi/edgemotion.service").read_text()
    settings = re.search("^OPTIONS=(.*)$", (DEPLOY / "raspberry_pi/install.sh").read_text(), re.MULTILINE)
    assert settings and "MemoryMax=512M" in unit and compose["deploy"]["resources"]["limits"]["memory"] == "512M"
    for words in (compose["command"], settings[1].split()):
        given = dict(zip(words[::2], words[1::2], strict=True))
        workers, requests, pixels = (int(given[f"--{name}"]) for name in ("workers", "max-requests", "max-pixels"))
        # Bodies, one of them twice while its form is read, and images, of which a progressive CMYK JPEG takes the most,
        # 11 bytes a pixel while it is decoded; the process itself takes under 150 MB.
        # tests/serve/test_live.py measures it.
        assert (requests + 1) * Options.max_bytes + workers * pixels * 11 < (512 - 150) * 2**20
