# The champion behind HTTP: `edgemotion serve` without torch, as a user without rights, on a read-only file system.
#   docker build -f dockerfiles/api.Dockerfile -t edgemotion-api .
#   docker run --read-only --tmpfs /tmp -p 8000:8000 edgemotion-api
FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY dockerfiles/requirements-build.txt dockerfiles/requirements-api.txt ./
# The build tools lie outside the environment that ships.
RUN python -m venv --without-pip /opt/edgemotion \
    && python -m pip install --require-hashes --target /build/tools -r requirements-build.txt \
    && python -m pip --python /opt/edgemotion/bin/python install --require-hashes --no-compile -r requirements-api.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN PYTHONPATH=/build/tools python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && python -m pip --python /opt/edgemotion/bin/python install --no-deps --no-compile dist/*.whl
# Python's part of ONNX Runtime holds the whole runtime; libonnxruntime is a second copy for programs in C. The rest are
# tools of the training side, tests and stubs. Unchecked, because nothing in an image changes.
WORKDIR /opt/edgemotion/lib/python3.11/site-packages
RUN rm -rf onnxruntime/capi/libonnxruntime.so* onnxruntime/transformers onnxruntime/quantization onnxruntime/tools \
        numpy/f2py numpy/distutils \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && find . -name '*.pyi' -delete \
    && python -m compileall -q --invalidation-mode unchecked-hash .

FROM python:3.11-slim
COPY --from=build /opt/edgemotion /opt/edgemotion
# A service installs nothing. The import checks that nothing needed was removed, and compiles the part of Python's own
# library that the server uses, which the base image ships as text and a read-only container could never keep.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip setuptools wheel \
    && groupadd --gid 10001 edgemotion \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin edgemotion \
    && ORT_DISABLE_TELEMETRY=1 /opt/edgemotion/bin/python -c \
        'import uvicorn, uvicorn.logging, uvicorn.loops.auto, uvicorn.protocols.http.auto, edgemotion.cli, edgemotion.serve.app'
# glibc would keep the memory of decoded images; above this size it gives it back at once.
ENV PATH=/opt/edgemotion/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OPENBLAS_NUM_THREADS=1 \
    MALLOC_MMAP_THRESHOLD_=1000000 \
    ORT_DISABLE_TELEMETRY=1
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
ENTRYPOINT ["edgemotion", "serve", "--host", "0.0.0.0"]
