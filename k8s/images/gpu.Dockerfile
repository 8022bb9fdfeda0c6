# plastsearch-gpu:VERSION for GPU workers. CUDA comes once, with torch's wheels, so the base needs none; it is CUDA 13:
# the node's NVIDIA driver must be 580 or newer, else every trial fails and says so. The head uses cpu.Dockerfile.
#   make images
# A newer Python, or a mirror's: `docker buildx imagetools inspect python:3.11-slim-bookworm` prints the digest of
# today; put it here, or --build-arg PYTHON=NAME:TAG@sha256:DIGEST. Both images start from the same one (a test looks).
ARG PYTHON=docker.io/library/python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${PYTHON} AS build
WORKDIR /build
COPY requirements-build.lock ./
RUN python -m venv /tools && /tools/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock
ENV UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON=/opt/plastsearch/bin/python
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/plastsearch \
 && /tools/bin/uv pip install --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY plastsearch ./plastsearch
RUN /tools/bin/hatchling build -t wheel -d /wheel \
 && /tools/bin/uv pip install --no-deps /wheel/*.whl \
 && rm -f /opt/plastsearch/.lock

FROM ${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="plastsearch-gpu" \
      org.opencontainers.image.description="GPU workers of plastsearch; CUDA 13, NVIDIA driver 580 or newer" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.authors="The plastsearch maintainers" \
      org.opencontainers.image.licenses="Apache-2.0"
# The ids are those of Ray's own images, which shared storage may know already. A login shell, which the operator may use
# (ENABLE_LOGIN_SHELL), forgets the image's PATH.
# A C compiler, for train.compile: triton builds the launcher of each kernel where it runs. Debian's own for this release,
# whatever point release that is today.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --gid 100 --create-home --shell /bin/bash ray \
 && python -m pip uninstall --yes --root-user-action=ignore pip setuptools wheel \
 && echo "PATH=/opt/plastsearch/bin:\$PATH" > /etc/profile.d/plastsearch.sh
COPY --from=build /opt/plastsearch /opt/plastsearch
COPY k8s/images/healthy.py /opt/plastsearch/healthy.py
COPY search_spaces /opt/plastsearch/search_spaces
ENV PATH=/opt/plastsearch/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    PLASTSEARCH_REVISION=$REVISION RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000:100
WORKDIR /home/ray
RUN plastsearch --version && ray --version
# For Docker; Kubernetes asks by its own probes. No CMD: KubeRay and the manifests write the commands.
HEALTHCHECK --interval=30s --timeout=5s --start-period=2m CMD ["python", "/opt/plastsearch/healthy.py"]
