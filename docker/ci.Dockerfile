# Everything that `make test`, `make bench` and `make package` need, for CI. The sources are mounted:
#     docker build -f docker/ci.Dockerfile -t exec-gateway-ci .
#     docker run --rm -v "$PWD:/src" exec-gateway-ci make test
ARG BASE=debian:12-slim

FROM ${BASE}
COPY docker/packages.txt docker/install-packages.sh /opt/exec-gateway/docker/
RUN /opt/exec-gateway/docker/install-packages.sh build run demo test bench package && rm -rf /var/lib/apt/lists/*
COPY docker/install-node.sh /opt/exec-gateway/docker/
RUN useradd --uid 1000 --user-group --create-home --shell /bin/bash ci && git config --system --add safe.directory /src
USER 1000:1000
WORKDIR /src
CMD ["make", "test"]
