# Headway's images, one target each: operator, trainer-base, trainer, cli.
#
# BASE is what they stand on: any Debian-like image with Python 3.11 or later as python3. BUILD_BASE
# has the same Python at the same place, with its venv module: uv comes by it, and stays in it.
# LOCK is the checksum of the lock file, for build engines that do not look into what is mounted.
# `make images` calls this with docker, podman or buildah.
ARG BASE=docker.io/library/python:3.13-slim-bookworm
ARG BUILD_BASE=${BASE}
ARG UV_VERSION=0.13.9
ARG UV="env UV_PROJECT_ENVIRONMENT=/opt/headway UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy \
UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never SSL_CERT_FILE=/run/secrets/ca /opt/uv/bin/uv"

# --- what builds: uv, and the lock file with the metadata of our packages --------------------------
FROM ${BUILD_BASE} AS build
ARG UV_VERSION
RUN --mount=type=secret,id=ca,required=true \
    python3 -m venv /opt/uv && \
    /opt/uv/bin/python -m pip install --quiet --no-cache-dir --cert /run/secrets/ca uv==${UV_VERSION}
WORKDIR /src
COPY pyproject.toml uv.lock ./
COPY crds/pyproject.toml crds/
COPY operator/pyproject.toml operator/
COPY trainer_image/pyproject.toml trainer_image/
COPY cli/pyproject.toml cli/
COPY cluster/pyproject.toml cluster/

# --- what others wrote, exactly as locked: changes with the lock file only -------------------------
FROM ${BASE} AS runtime
RUN echo 'headway:x:65532:65532::/tmp:/usr/sbin/nologin' >> /etc/passwd && \
    echo 'headway:x:65532:' >> /etc/group
ENV PATH=/opt/headway/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

FROM runtime AS operator-locked
ARG UV
ARG UV_VERSION
ARG LOCK
RUN --mount=type=secret,id=ca,required=true --mount=type=cache,target=/var/cache/uv \
    --mount=type=bind,from=build,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,from=build,source=/src,target=/src \
    cd /src && ${UV} sync --frozen --no-dev --no-install-workspace --package headway-operator

FROM runtime AS cli-locked
ARG UV
ARG UV_VERSION
ARG LOCK
RUN --mount=type=secret,id=ca,required=true --mount=type=cache,target=/var/cache/uv \
    --mount=type=bind,from=build,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,from=build,source=/src,target=/src \
    cd /src && ${UV} sync --frozen --no-dev --no-install-workspace --package headway-cli

FROM runtime AS trainer-base-locked
ARG UV
ARG UV_VERSION
ARG LOCK
RUN --mount=type=secret,id=ca,required=true --mount=type=cache,target=/var/cache/uv \
    --mount=type=bind,from=build,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,from=build,source=/src,target=/src \
    cd /src && ${UV} sync --frozen --no-dev --no-install-workspace --package headway --extra services

FROM trainer-base-locked AS trainer-locked
ARG UV
ARG UV_VERSION
ARG LOCK
RUN --mount=type=secret,id=ca,required=true --mount=type=cache,target=/var/cache/uv \
    --mount=type=bind,from=build,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,from=build,source=/src,target=/src \
    cd /src && ${UV} sync --frozen --no-dev --no-install-workspace --package headway --extra training

# --- what we wrote: a thin layer over it -----------------------------------------------------------
FROM build AS ours
ARG UV
COPY LICENSE ./
COPY crds crds
COPY operator operator
COPY trainer_image trainer_image
COPY cluster cluster
COPY cli cli
ARG INSTALL="${UV} pip install --python /opt/headway/bin/python --no-deps --prefix"
RUN --mount=type=secret,id=ca,required=true --mount=type=cache,target=/var/cache/uv \
    ${UV} venv --quiet /opt/headway && \
    ${INSTALL} /ours/operator ./crds ./operator && \
    ${INSTALL} /ours/trainer ./crds ./trainer_image && \
    ${INSTALL} /ours/cli ./crds ./trainer_image ./cluster ./cli

# --- the images ------------------------------------------------------------------------------------
FROM operator-locked AS operator
COPY --from=ours /ours/operator /opt/headway
USER 65532:65532
ENTRYPOINT ["python", "-m", "headway_operator"]

FROM cli-locked AS cli
COPY --from=ours /ours/cli /opt/headway
USER 65532:65532
ENTRYPOINT ["headway"]

FROM trainer-base-locked AS trainer-base
COPY --from=ours /ours/trainer /opt/headway
USER 65532:65532
CMD ["python", "-m", "headway_trainer"]

FROM trainer-locked AS trainer
COPY --from=ours /ours/trainer /opt/headway
USER 65532:65532
CMD ["python", "-m", "headway_trainer"]
