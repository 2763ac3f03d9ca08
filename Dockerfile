# One image for every role: the command says which. Built in two stages, so that what only building needs stays behind.
FROM python:3.11.13-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/footfall
COPY requirements-server.lock ./
RUN /opt/footfall/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-server.lock
COPY . .
RUN /opt/footfall/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM python:3.11.13-slim-bookworm
# A number and not a name, so that Kubernetes can see that it is not root.
RUN useradd --uid 10001 --home-dir /data --shell /usr/sbin/nologin footfall && install -d -o 10001 -m 0700 /data
COPY --from=build /opt/footfall /opt/footfall
# In a container only the network outside decides who gets in, so it listens for all; reading then needs a key.
ENV PATH=/opt/footfall/bin:$PATH HOST=0.0.0.0 PORT=3000 DATA_DIR=/data LOG_FORMAT=json PYTHONUNBUFFERED=1
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/api/health/live', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["footfall"]
CMD ["up"]
