# The pooler in a container: only Python, the package and uvloop.
#
#     docker build -t pgpool-lite .
#     docker run -p 6543:6543 pgpool-lite \
#         serve --to postgresql://app:secret@db.example:5432/app --listen 0.0.0.0:6543
#
# With a pgbouncer.ini: mount it, `serve /etc/pgbouncer/pgbouncer.ini`, and tell the health check
# its listen_port by `-e PGPOOL_LITE_PORT=6432`.

FROM python:3.13-slim AS build
WORKDIR /source
# With a C compiler the hot path is compiled; without, this would build the same program, slower.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml README.md LICENSE hatch_build.py ./
COPY pgpool_lite pgpool_lite
RUN python -m venv /opt/pgpool_lite && /opt/pgpool_lite/bin/pip install --no-cache-dir .

FROM python:3.13-slim
COPY --from=build /opt/pgpool_lite /opt/pgpool_lite
ENV PATH=/opt/pgpool_lite/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PGPOOL_LITE_PORT=6543

# By number, so that an orchestrator can see that it is not root. Nothing is written to disk.
USER 10001:10001
EXPOSE 6543

# `docker stop` lets transactions finish. SIGTERM would wait until every client has left by itself.
STOPSIGNAL SIGINT

# An SSLRequest needs no user and no server: whoever answers it accepts clients.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import os, socket; s = socket.create_connection(('127.0.0.1', int(os.environ['PGPOOL_LITE_PORT'])), 2); s.sendall(bytes((0, 0, 0, 8, 4, 210, 22, 47))); raise SystemExit(s.recv(1) not in (b'N', b'S'))"]

ENTRYPOINT ["pgpool-lite"]
CMD ["--help"]
