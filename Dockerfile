# docker build -t laconic:cpu .                 without PyTorch: the default
# docker build -t laconic:gpu --target gpu .    with PyTorch for CUDA, and what reads anyone's models
#
# python:3.12.14-slim-bookworm, an index of several platforms, as Docker Hub had it in September 2026. Nothing was pulled
# where this was written (docs/container.md): compare with `docker buildx imagetools inspect python:3.12-slim-bookworm`.
FROM python:3.12.14-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254 AS base

# what builds the wheel and lists the licences; none of it goes further
FROM base AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY docker/requirements-build.txt docker/
RUN python -m pip install --require-hashes --no-deps -r docker/requirements-build.txt && \
    python -m venv --without-pip /opt/laconic

FROM tools AS package
COPY . .
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . && \
    python -m pip --python /opt/laconic install --no-deps --no-index /wheels/*.whl

# what the package needs is a layer of its own: gigabytes of CUDA that a new version of laconic leaves as they are
FROM tools AS env-cpu
COPY docker/requirements-cpu.txt docker/
RUN python -m pip --python /opt/laconic install --require-hashes --no-deps --only-binary :all: \
    -r docker/requirements-cpu.txt

FROM tools AS env-gpu
COPY docker/requirements-gpu.txt docker/
RUN python -m pip --python /opt/laconic install --require-hashes --no-deps --only-binary :all: \
    -r docker/requirements-gpu.txt

FROM env-cpu AS sbom-cpu
COPY --from=package /opt/laconic/lib/python3.12/site-packages /opt/laconic/lib/python3.12/site-packages
RUN cyclonedx-py environment --output-reproducible --gather-license-texts -o /sbom.cdx.json /opt/laconic

FROM env-gpu AS sbom-gpu
COPY --from=package /opt/laconic/lib/python3.12/site-packages /opt/laconic/lib/python3.12/site-packages
RUN cyclonedx-py environment --output-reproducible --gather-license-texts -o /sbom.cdx.json /opt/laconic

# what both images are, their environment aside
FROM base AS runtime
LABEL org.opencontainers.image.title="laconic" \
      org.opencontainers.image.description="Prompt and context compression for RAG" \
      org.opencontainers.image.licenses="Apache-2.0"
# a name for the number: some libraries ask whose process this is
RUN groupadd --gid 10001 laconic && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin laconic && \
    install --directory --owner 10001 --group 10001 --mode 700 /var/lib/laconic
# the base has no bytecode and a read-only root cannot keep any: each start and each health check would compile
RUN python -m compileall -q -x site-packages /usr/local/lib/python3.12
COPY LICENSE NOTICE /usr/share/doc/laconic/
COPY docker/health.py /opt/
ENV PATH=/opt/laconic/bin:$PATH HOME=/tmp XDG_STATE_HOME=/var/lib LACONIC_HOST=0.0.0.0
WORKDIR /etc/laconic
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-IS", "/opt/health.py"]
ENTRYPOINT ["laconic"]
CMD ["serve"]

# the driver comes with the host, CUDA itself with PyTorch's wheels
FROM runtime AS gpu
ENV LACONIC_PROFILE=gpu-fp16 NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=env-gpu /opt/laconic /opt/laconic
COPY --from=package /opt/laconic/bin/laconic /opt/laconic/bin/
COPY --from=package /opt/laconic/lib/python3.12/site-packages /opt/laconic/lib/python3.12/site-packages
COPY --from=sbom-gpu /sbom.cdx.json /usr/share/doc/laconic/

# last, and so the default
FROM runtime AS cpu
COPY --from=env-cpu /opt/laconic /opt/laconic
COPY --from=package /opt/laconic/bin/laconic /opt/laconic/bin/
COPY --from=package /opt/laconic/lib/python3.12/site-packages /opt/laconic/lib/python3.12/site-packages
COPY --from=sbom-cpu /sbom.cdx.json /usr/share/doc/laconic/
