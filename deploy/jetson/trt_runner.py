"""A folder of build_engine.sh and images in, the answers of edgemotion.runtime.Classifier out, computed by TensorRT.

    python deploy/jetson/trt_runner.py FOLDER        compare with ONNX Runtime on the CPU and time single images

Both classes refuse to open where TensorRT or a GPU is missing; none of them answers from the CPU instead.
"""

import ctypes
import ctypes.util
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgemotion.errors import EdgemotionError
from edgemotion.files import read_json
from edgemotion.runtime.classifier import Classifier, check_images
from edgemotion.runtime.variant import Variant, load_variant

ENGINE, RECORD = "model.engine", "engine.json"
OUTPUTS = ("logits", "probabilities")
TO_DEVICE, TO_HOST = 1, 2
PROVIDER = "TensorrtExecutionProvider"


class Cuda:
    """The few calls of CUDA's runtime library that inference needs, so that no further package is installed."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("cudart")
        try:
            self.cudart = ctypes.CDLL(name or "libcudart.so")
        except OSError:
            raise EdgemotionError("CUDA's runtime library libcudart is missing; on a Jetson install JetPack") from None
        count = ctypes.c_int()
        code = self.cudart.cudaGetDeviceCount(ctypes.byref(count))
        if code or not count.value:
            raise EdgemotionError(f"no NVIDIA GPU answers (cudaGetDeviceCount: error {code}, {count.value} found)")
        self.stream = ctypes.c_void_p()
        self.call("cudaStreamCreate", ctypes.byref(self.stream))

    def call(self, name: str, *arguments: Any) -> None:
        if code := getattr(self.cudart, name)(*arguments):
            raise EdgemotionError(f"CUDA's {name} failed with error {code}")

    def allocate(self, size: int) -> ctypes.c_void_p:
        pointer = ctypes.c_void_p()
        self.call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(size))
        return pointer

    def free(self, pointer: ctypes.c_void_p) -> None:
        self.call("cudaFree", pointer)

    def copy(self, target: Any, source: Any, size: int, kind: int) -> None:
        self.call("cudaMemcpyAsync", target, source, ctypes.c_size_t(size), ctypes.c_int(kind), self.stream)

    def wait(self) -> None:
        self.call("cudaStreamSynchronize", self.stream)


class TensorRTClassifier(Classifier):
    """A prepared variant whose engine was built on this board; run and predict are those of Classifier."""

    def __init__(self, folder: Path | str) -> None:
        self.variant = load_variant(folder)
        check_record(self.variant)
        try:
            import tensorrt
        except ImportError:
            raise EdgemotionError(
                "TensorRT's Python package is missing; on a Jetson it comes with JetPack (python3-libnvinfer), and a "
                "virtual environment sees it when made with --system-site-packages"
            ) from None
        self.cuda = Cuda()
        runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.WARNING))
        self.engine = runtime.deserialize_cuda_engine((self.variant.folder / ENGINE).read_bytes())
        if self.engine is None:
            raise EdgemotionError(
                f"{self.variant.folder / ENGINE} does not load in TensorRT {tensorrt.__version__}; "
                "build it on this board"
            )
        self.context = self.engine.create_execution_context()
        self.largest = int(self.engine.get_tensor_profile_shape("images", 0)[2][0])
        pixels = self.variant.height * self.variant.width * self.variant.channels
        self.buffers = {"images": self.cuda.allocate(self.largest * pixels)}
        for name in OUTPUTS:
            self.buffers[name] = self.cuda.allocate(self.largest * len(self.variant.classes) * 4)
        for name, pointer in self.buffers.items():
            self.context.set_tensor_address(name, pointer.value)

    def run(self, images: np.ndarray, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """Classify uint8 [N,H,W,C] of the variant's size: logits and probabilities, both float32 [N,classes]."""
        check_images(self.variant, images)
        answers = {name: np.empty((len(images), len(self.variant.classes)), np.float32) for name in OUTPUTS}
        step = min(batch_size, self.largest)
        for start in range(0, len(images), step):
            batch = np.ascontiguousarray(images[start : start + step])
            self.cuda.copy(self.buffers["images"], ctypes.c_void_p(batch.ctypes.data), batch.nbytes, TO_DEVICE)
            self.context.set_input_shape("images", batch.shape)
            if not self.context.execute_async_v3(self.cuda.stream.value):
                raise EdgemotionError(f"TensorRT did not run {self.variant.folder / ENGINE}; its log says why")
            for name, answer in answers.items():
                part = answer[start : start + step]
                self.cuda.copy(ctypes.c_void_p(part.ctypes.data), self.buffers[name], part.nbytes, TO_HOST)
            self.cuda.wait()
        return answers["logits"], answers["probabilities"]

    def close(self) -> None:
        """Give the GPU's memory back."""
        while self.buffers:
            self.cuda.free(self.buffers.popitem()[1])


class ProviderClassifier(Classifier):
    """A prepared variant in ONNX Runtime's TensorRT provider, which builds and keeps its own engine in `cache`."""

    def __init__(self, folder: Path | str, cache: Path | str) -> None:
        import onnxruntime

        self.variant = load_variant(folder)
        # Without the provider ONNX Runtime would warn and answer from the CPU.
        if PROVIDER not in onnxruntime.get_available_providers():
            raise EdgemotionError(
                f"this ONNX Runtime {onnxruntime.__version__} has no TensorRT provider; "
                "install NVIDIA's onnxruntime-gpu for this JetPack in place of onnxruntime"
            )
        options = {
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(cache),
            "trt_fp16_enable": not self.variant.info.get("quantized"),
            "trt_int8_enable": bool(self.variant.info.get("quantized")),
        }
        providers = [(PROVIDER, options), "CUDAExecutionProvider"]
        self.session = onnxruntime.InferenceSession(str(self.variant.model_path), providers=providers)
        if self.session.get_providers()[0] != PROVIDER:
            raise EdgemotionError(f"ONNX Runtime could not start {PROVIDER}: {self.session.get_providers()} are left")


def check_record(variant: Variant) -> None:
    """Raise EdgemotionError for a folder without an engine, or whose engine was built from another model."""
    for name in (ENGINE, RECORD):
        if not (variant.folder / name).is_file():
            raise EdgemotionError(
                f"{variant.folder / name} is missing; build it on this board with deploy/jetson/build_engine.sh"
            )
    if read_json(variant.folder / RECORD).get("model_sha256") != variant.info["sha256"]:
        raise EdgemotionError(f"{variant.folder / ENGINE} was built from another model; run build_engine.sh again")


def main(folder: str) -> None:
    try:
        ours, reference = TensorRTClassifier(folder), Classifier(folder)
        variant = ours.variant
        shape = (256, variant.height, variant.width, variant.channels)
        images = np.random.default_rng(42).integers(0, 256, shape, np.uint8)
        answers, expected = ours.run(images)[1], reference.run(images)[1]
        same = (answers.argmax(1) == expected.argmax(1)).mean()
        print(f"against ONNX Runtime: at most {np.abs(answers - expected).max():.4f} apart, {same:.1%} named alike")
        times = []
        for image in images:
            started = time.perf_counter()
            ours.run(image[None])
            times.append((time.perf_counter() - started) * 1000)
        # The first ones find the GPU's clock low.
        p50, p95 = np.percentile(times[56:], [50, 95])
        print(f"one image, copies included: p50 {p50:.3f} ms, p95 {p95:.3f} ms")
        ours.close()
    except EdgemotionError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: trt_runner.py FOLDER")
    main(sys.argv[1])
