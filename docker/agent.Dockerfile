# A guest: the reference agent in a small Debian, to try the gateway with. From the repository's root:
#     docker build -f docker/agent.Dockerfile -t guest-agent .
ARG BASE=debian:12-slim

FROM ${BASE} AS build
WORKDIR /src
COPY docker/packages.txt docker/install-packages.sh docker/
RUN docker/install-packages.sh build
COPY . .
RUN cmake --preset release -DCMAKE_INSTALL_PREFIX=/usr && cmake --build build --target guest-agent exec-load exec-load-emit exec-load-app
RUN DESTDIR=/out cmake --install build --component agent --strip && DESTDIR=/out cmake --install build --component load --strip

FROM ${BASE}
COPY docker/packages.txt docker/install-packages.sh /tmp/docker/
RUN /tmp/docker/install-packages.sh run && rm -rf /tmp/docker /var/lib/apt/lists/* \
    && useradd --uid 1000 --user-group --create-home --shell /bin/bash user
COPY --from=build /out/ /
USER 1000:1000
WORKDIR /home/user
STOPSIGNAL SIGTERM
EXPOSE 49983
ENTRYPOINT ["/usr/bin/guest-agent"]
CMD ["--listen", "0.0.0.0:49983"]
