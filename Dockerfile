# syntax=docker/dockerfile:1

FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
# The caches outlive the build, so the binaries are copied out of the target directory in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin rowcast --example traffic \
    && install -D -t /out target/release/rowcast target/release/examples/traffic

# Passes a port on to another one of the same network namespace; docker-compose.yml says what for.
FROM debian:bookworm-slim AS forward
RUN apt-get update \
    && apt-get install -y --no-install-recommends socat \
    && rm -rf /var/lib/apt/lists/*
USER nobody
ENTRYPOINT ["socat"]

# The traffic of the sample marketplace; for docker-compose.yml.
FROM debian:bookworm-slim AS traffic
COPY --from=build /out/traffic /usr/local/bin/traffic
USER nobody
ENTRYPOINT ["traffic"]

# The service; the last stage, and so what `docker build .` makes. There is no HEALTHCHECK: the image holds nothing that
# speaks HTTP but rowcast itself. Let the orchestrator ask GET /healthz (alive) and GET /readyz (delivering). The admin
# address, with the metrics, is on the container's own loopback; with ROWCAST_ADMIN_LISTEN=0.0.0.0:4001 Prometheus can
# reach it. Publish 4001 to nobody else.
FROM debian:bookworm-slim AS rowcast
# The certificates by which it trusts the servers of keys (`jwks_url`).
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin rowcast
COPY --from=build /out/rowcast /usr/local/bin/rowcast
USER rowcast
EXPOSE 4000 4001
STOPSIGNAL SIGTERM
ENTRYPOINT ["rowcast"]
CMD ["serve"]
