# breakwater and breakwater-worker, run by a user without rights. DuckDB inside of
# them is C++ that was built for glibc, so neither stage is Alpine or empty.
#   docker build -t breakwater:0.1.0 .
# The laboratory is not in the image. Untested here: no image was built.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ENV CGO_ENABLED=1
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    mkdir /out && for c in breakwater=./starter breakwater-worker=./worker; do \
      go build -trimpath -buildvcs=false -ldflags "-s -w" -o "/out/${c%%=*}" "${c#*=}" || exit 1; \
    done

FROM debian:bookworm-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/ /usr/local/bin/
# Estates and, where they differ from those built in, runbooks are mounted here.
ENV BREAKWATER_ESTATES=/etc/breakwater/estates
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/breakwater-worker"]
