# plastsearch:VERSION for what needs no GPU: the head, MLflow, decoding, tools, and workers that train on CPUs.
# gpu.Dockerfile has the same Ray, Python and packages, so that one may read what the other pickled.
#   make images
# A newer Python, or a mirror's: `docker buildx imagetools inspect python:3.11-slim-bookworm` prints the digest of
# today; put it here, or --build-arg PYTHON=NAME:TAG@sha256:DIGEST. Both images start from the same one (a test looks).
ARG PYTHON=docker.io/library/python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${PYTHON} AS build
WORKDIR /build
COPY requirements-build.lock ./
RUN python -m venv /tools && /tools/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock
ENV UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON=/opt/plastsearch/bin/python
COPY requirements-server.lock requirements-torch-cpu.lock ./
# torch comes from PyTorch's own index, where it is built without CUDA: 0.8 GB instead of 4.5. torchaudio is the one of
# the package index; its compiled part wants CUDA and is left out, as it allows: what is used of it is Python.
RUN python -m venv --without-pip /opt/plastsearch \
 && /tools/bin/uv pip install --no-deps --require-hashes -r requirements-server.lock \
 && /tools/bin/uv pip install --no-deps --require-hashes --torch-backend cpu -r requirements-torch-cpu.lock \
 && rm -rf /opt/plastsearch/lib/python3.*/site-packages/torchaudio/lib
COPY pyproject.toml README.md LICENSE ./
COPY plastsearch ./plastsearch
RUN /tools/bin/hatchling build -t wheel -d /wheel \
 && /tools/bin/uv pip install --no-deps /wheel/*.whl \
 && rm -f /opt/plastsearch/.lock

FROM ${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="plastsearch" \
      org.opencontainers.image.description="Head, MLflow server, decoding and tools of plastsearch; no CUDA" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.authors="The plastsearch maintainers" \
      org.opencontainers.image.licenses="Apache-2.0"
# The ids are those of Ray's own images, which shared storage may know already. A login shell, which the operator may use
# (ENABLE_LOGIN_SHELL), forgets the image's PATH.
RUN useradd --uid 1000 --gid 100 --create-home --shell /bin/bash ray \
 && python -m pip uninstall --yes --root-user-action=ignore pip setuptools wheel \
 && echo "PATH=/opt/plastsearch/bin:\$PATH" > /etc/profile.d/plastsearch.sh
COPY --from=build /opt/plastsearch /opt/plastsearch
COPY k8s/images/healthy.py /opt/plastsearch/healthy.py
COPY search_spaces /opt/plastsearch/search_spaces
ENV PATH=/opt/plastsearch/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    PLASTSEARCH_REVISION=$REVISION RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true
USER 1000:100
WORKDIR /home/ray
RUN plastsearch --version && ray --version
# For Docker; Kubernetes asks by its own probes. No CMD: KubeRay and the manifests write the commands.
HEALTHCHECK --interval=30s --timeout=5s --start-period=2m CMD ["python", "/opt/plastsearch/healthy.py"]
