# What `dvc repro` needs, without the project: the checkout is mounted, so that its results land in it.
#   docker build -f dockerfiles/train.Dockerfile -t edgemotion-train .
#   docker run --user "$(id -u):$(id -g)" -v "$PWD:/repo" edgemotion-train
# For an NVIDIA GPU: --build-arg TORCH=cuda, and run it with --gpus all; torch's wheels bring CUDA, the host its driver.
ARG BASE=python:3.11-slim
# hadolint ignore=DL3006
FROM ${BASE}
ARG TORCH=cpu
# Each of the graph's stages is a process; who runs them could not keep the bytecode of what they import.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1
# Runs record the commit that made them. Debian drops old versions of a package, so a pinned one would break the build.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY dockerfiles/requirements-train.txt ./
# The locked torch is the one with CUDA, several gigabytes; the one for the CPU has other hashes, so only its version is
# taken from the lock. All other packages are checked against it in both cases.
RUN python -m pip install uv==0.13.8 && python -m venv --without-pip /opt/train \
    && case "$TORCH" in \
        cuda) uv pip install --python /opt/train --require-hashes -r requirements-train.txt ;; \
        cpu) awk '/^[^ ]/ { kept = !/^(torch|torchvision|triton)==|^(nvidia|cuda)-/ } kept' requirements-train.txt >rest.txt \
            && grep -oE '^(torch|torchvision)==[^ ]+' requirements-train.txt >torch.txt \
            && uv pip install --python /opt/train --no-deps --torch-backend=cpu -r torch.txt \
            && uv pip install --python /opt/train --no-deps --require-hashes -r rest.txt ;; \
        *) echo "TORCH is cpu or cuda, not $TORCH" >&2; exit 1 ;; \
    esac \
    && rm -rf /build/*
# A home for the caches of whoever runs it; any user may write there.
RUN mkdir -m 1777 /home/any
ENV PATH=/opt/train/bin:$PATH \
    HOME=/home/any \
    USER=any \
    DVC_NO_ANALYTICS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /repo
USER 10001:10001
STOPSIGNAL SIGINT
ENTRYPOINT ["dvc"]
CMD ["repro"]
