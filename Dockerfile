# The service, and with `--target demo` the job that the demo trains; docs/docker.md says how to build them.
# A release pins the base by its digest: --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_PYTHON=/opt/venv/bin/python \
    PIP_BUILD_CONSTRAINT=/src/constraints.txt
WORKDIR /src
RUN python3 -m venv --without-pip /opt/venv
COPY constraints.txt ./
# cpu is 0.2 GB to download, cuda 2.7 GB. TORCH_INDEX_URL replaces the index that is usual for the kind.
ARG TORCH=cpu
ARG TORCH_INDEX_URL=
# Only torch itself is taken from the index of torch builds.
RUN case "$TORCH" in \
      cpu) usual=https://download.pytorch.org/whl/cpu ;; \
      cuda) usual=https://pypi.org/simple ;; \
      *) echo "TORCH must be cpu or cuda, not '$TORCH'" >&2; exit 1 ;; \
    esac \
    && pip install --no-deps --constraint constraints.txt --index-url "${TORCH_INDEX_URL:-$usual}" torch \
    && pip install --constraint constraints.txt torch
# Each of the following goes to a prefix of its own, which becomes a layer of its own.
COPY pyproject.toml service.toml
COPY publisher/pyproject.toml publisher.toml
RUN python3 -c "import tomllib; \
    [print(need) for name in ('service.toml', 'publisher.toml') \
     for need in tomllib.load(open(name, 'rb'))['project']['dependencies'] if not need.startswith('losswatch')]" \
    > dependencies.txt \
    && pip install --constraint constraints.txt --prefix=/opt/dependencies --requirement dependencies.txt
COPY . .
RUN pip install --no-deps --prefix=/opt/losswatch ./publisher .

FROM build AS build-demo
RUN python3 -c "import tomllib; \
    print(*tomllib.load(open('service.toml', 'rb'))['project']['optional-dependencies']['demo'], sep='\n')" > demo.txt \
    && PYTHONPATH="$(echo /opt/dependencies/lib/python3*/site-packages)" \
       pip install --constraint constraints.txt --prefix=/opt/demo --requirement demo.txt

FROM ${PYTHON_IMAGE} AS runtime
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/dependencies /opt/venv
COPY --from=build /opt/losswatch /opt/venv
# Any user may run it, also one without an entry in /etc/passwd; it writes nowhere but to /tmp.
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:0
WORKDIR /tmp
ARG PYTHON_IMAGE
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="losswatch" \
      org.opencontainers.image.description="Watches the losses and predictions of training runs over Kafka" \
      org.opencontainers.image.source="https://example.org/losswatch" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"

FROM runtime AS demo
COPY --from=build-demo /opt/demo /opt/venv
COPY examples/test_time_adaptation.py /opt/losswatch/
ENTRYPOINT ["python", "/opt/losswatch/test_time_adaptation.py"]

FROM runtime AS service
ENV LOSSWATCH_HTTP_HOST=0.0.0.0 LOSSWATCH_HTTP_PORT=9108
EXPOSE 9108
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['LOSSWATCH_HTTP_PORT']}/healthz\", timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["losswatch"]
CMD ["serve"]
