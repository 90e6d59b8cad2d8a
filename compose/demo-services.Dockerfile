# The plain services of the story: no tracing library, no tracing setting. Build at the root of the repository:
#   docker build -f compose/demo-services.Dockerfile --target api -t redistributed-demo-api:0.1.0 .
# Targets: api, worker, worker-python.

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package demo-api --package demo-worker \
    && install -D --target-directory=/out target/release/demo-api target/release/demo-worker

FROM debian:bookworm-20251229-slim AS api
COPY --from=build /out/demo-api /usr/local/bin/api
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["api"]

FROM debian:bookworm-20251229-slim AS worker
COPY --from=build /out/demo-worker /usr/local/bin/worker
USER 65532:65532
ENTRYPOINT ["worker"]

FROM python:3.13.14-alpine3.24 AS worker-python
WORKDIR /app
COPY demo-services/worker-python/requirements.txt .
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore -r requirements.txt
COPY demo-services/worker-python/worker.py .
USER 65532:65532
ENTRYPOINT ["python", "worker.py"]
