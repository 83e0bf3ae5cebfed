# The gateway. From the repository's root:
#     docker build -f docker/gateway.Dockerfile -t exec-gateway .
# Runs as uid 10001, needs no shell, no writable file system and no capability:
#     docker run --read-only --cap-drop ALL --security-opt no-new-privileges -v /etc/exec-gateway:/etc/exec-gateway:ro -p 443:443 exec-gateway
ARG BASE=debian:12-slim

FROM ${BASE} AS build
WORKDIR /src
COPY docker/packages.txt docker/install-packages.sh docker/
RUN docker/install-packages.sh build
COPY . .
RUN cmake --preset release -DCMAKE_INSTALL_PREFIX=/usr && cmake --build build --target exec-gateway
RUN DESTDIR=/out cmake --install build --component gateway --strip

FROM ${BASE}
COPY docker/packages.txt docker/install-packages.sh /tmp/docker/
RUN /tmp/docker/install-packages.sh run && rm -rf /tmp/docker /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin exec-gateway
COPY --from=build /out/ /
USER 10001:10001
# SIGTERM drains: open streams live on up to `drain_timeout`; give `docker stop --time` more than that. A second SIGTERM ends at once.
STOPSIGNAL SIGTERM
EXPOSE 443 8080
# Asks the admin listener; needs `admin.address` in the configuration.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/usr/bin/exec-gateway", "status", "-c", "/etc/exec-gateway/gateway.yaml"]
ENTRYPOINT ["/usr/bin/exec-gateway"]
CMD ["serve", "-c", "/etc/exec-gateway/gateway.yaml"]
