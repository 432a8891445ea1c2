#!/usr/bin/env bash
# Starts Fettle and the agency beside it, and prints where to look. Ctrl-C stops everything.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

data=${FETTLE_DATA:-build/demo-data}
http=${FETTLE_HTTP:-127.0.0.1:7070}
mkdir -p "$data"
pids=()
stop() {
  trap - EXIT INT TERM
  kill "${pids[@]}" 2>/dev/null || true
  wait "${pids[@]}" 2>/dev/null || true
}
trap stop EXIT
trap 'stop; exit 0' INT TERM

rm -f "$data/ports.json"
build/release/bin/fettle serve --dev --data "$data" --http "$http" \
  --otlp-http "${FETTLE_OTLP_HTTP:-127.0.0.1:4318}" --otlp-grpc "${FETTLE_OTLP_GRPC:-127.0.0.1:4317}" 2>"$data/fettle.log" &
pids+=($!)
server=$!
for _ in $(seq 150); do
  [ -f "$data/ports.json" ] && curl -fsS "http://$http/health/ready" >/dev/null 2>&1 && break
  kill -0 "$server" 2>/dev/null || { cat "$data/fettle.log" >&2; exit 1; }
  sleep 0.1
done

port() { sed -nE "s/.*\"$1\": *([0-9]+).*/\1/p" "$data/ports.json"; }
export OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:$(port otlp_http)" OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
export OTEL_METRICS_EXPORTER=otlp OTEL_LOGS_EXPORTER=otlp OTEL_TRACES_EXPORTER=otlp OTEL_METRIC_EXPORT_INTERVAL=10000
export OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=demo,service.namespace=agency,service.version=1.0.0"
for program in stand-ins web asset-store platform-connector browser-runner tool-gateway worker; do
  node "examples/agency/$program.cjs" >>"$data/agency.log" 2>&1 &
  pids+=($!)
done
node examples/agency/traffic.cjs >>"$data/agency.log" 2>&1 &
pids+=($!)

echo
echo "  Fettle is up:  http://$http/"
echo "  The agency's six programs are sending traces, metrics and logs to it. Ctrl-C stops both."
echo
wait "$server"
