# SPDX-License-Identifier: Apache-2.0
#
# Both binaries on an empty base. Two ways to the same image:
#
#   make image                          the binaries come from this machine; no registry is asked
#   podman build -t herald-lb/herald .  they are built in a container with GO_IMAGE
#
# The default user has no rights at all. The controller needs none; the speaker
# opens raw sockets and is given what it needs by config/speaker.

ARG GO_IMAGE=golang:1.26

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -buildvcs=false -o /bin/ \
    -ldflags "-s -w -X github.com/herald-lb/herald/internal/run.version=${VERSION}" ./controller ./speaker

FROM scratch AS base
ARG VERSION=unknown
LABEL org.opencontainers.image.title="Herald" \
      org.opencontainers.image.description="LoadBalancer Services for bare-metal Kubernetes" \
      org.opencontainers.image.source="https://github.com/herald-lb/herald" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY LICENSE /LICENSE
USER 65532:65532
ENTRYPOINT ["/controller"]

FROM base AS prebuilt
COPY bin/image/ /

FROM base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /bin/controller /bin/speaker /
