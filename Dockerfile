# syntax=docker/dockerfile:1
# tests/test_dockerfile.py carries out the first stage outside Docker and checks the second against it.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# What the balancer depends on changes seldom, so it is a layer of its own. The environment gets no pip.
COPY requirements/build.lock requirements/run.lock requirements/
RUN pip install --require-hashes -r requirements/build.lock
RUN python -m venv --without-pip /opt/balancer \
    && pip --python /opt/balancer/bin/python install --require-hashes -r requirements/run.lock
# What the dashboard is drawn with, pinned by its hashes; npm comes as a wheel, and stays behind.
COPY requirements/node.lock requirements/
COPY deploy/dashboard.py deploy/
COPY api/dashboard/package.json api/dashboard/package-lock.json api/dashboard/
RUN python -m deploy.dashboard
COPY pyproject.toml README.md LICENSE balancer.yaml /src/
COPY api/ api/
COPY balancer/ balancer/
COPY config/ config/
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /src/dist . \
    && pip --python /opt/balancer/bin/python install --no-deps /src/dist/*.whl
RUN mkdir /src/state

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="balancer" \
      org.opencontainers.image.description="A reverse-proxy load balancer with health checks, an admin API and metrics" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.vendor="The Balancer authors"
# Bytecode was compiled when the packages were installed; the root file system may be read-only.
ENV PATH=/opt/balancer/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    BALANCER_CONFIG=/etc/balancer/balancer.yaml
COPY --from=build /opt/balancer /opt/balancer
COPY balancer.yaml /etc/balancer/balancer.yaml
# The one place it writes to: what the admin API changed. Mount a volume to keep it.
COPY --from=build --chown=10001:10001 /src/state /var/lib/balancer
WORKDIR /var/lib/balancer
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["balancer", "healthcheck"]
ENTRYPOINT ["balancer"]
CMD ["run"]
