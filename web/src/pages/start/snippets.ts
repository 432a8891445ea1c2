// What to paste into a program, by language. Only the official OpenTelemetry packages and their own settings.

export type Language = 'node' | 'python' | 'java' | 'go' | 'collector' | 'curl';

interface Snippet {
  readonly value: Language;
  readonly label: string;
  readonly text: (endpoint: string, withToken: boolean) => string;
}

const auth = (withToken: boolean) =>
  withToken ? '\nexport OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20$FETTLE_TOKEN"' : '';
const env = (endpoint: string, withToken: boolean) =>
  `export OTEL_SERVICE_NAME=my-service
export OTEL_EXPORTER_OTLP_ENDPOINT=${endpoint}
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf${auth(withToken)}`;

export const SNIPPETS: readonly Snippet[] = [
  {
    value: 'node',
    label: 'Node.js',
    text: (endpoint, withToken) => `npm install @opentelemetry/api @opentelemetry/auto-instrumentations-node

${env(endpoint, withToken)}
node --require @opentelemetry/auto-instrumentations-node/register app.js`,
  },
  {
    value: 'python',
    label: 'Python',
    text: (endpoint, withToken) => `pip install opentelemetry-distro opentelemetry-exporter-otlp
opentelemetry-bootstrap --action=install

${env(endpoint, withToken)}
opentelemetry-instrument python app.py`,
  },
  {
    value: 'java',
    label: 'Java',
    text: (endpoint, withToken) => `${env(endpoint, withToken)}
java -javaagent:opentelemetry-javaagent.jar -jar app.jar`,
  },
  {
    value: 'go',
    label: 'Go',
    text: (endpoint, withToken) => `${env(endpoint, withToken)}

// go get go.opentelemetry.io/otel/sdk go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp
exporter, err := otlptracehttp.New(ctx) // reads the settings above
provider := trace.NewTracerProvider(trace.WithBatcher(exporter))
otel.SetTracerProvider(provider)`,
  },
  {
    value: 'collector',
    label: 'Collector',
    text: (endpoint, withToken) => `exporters:
  otlphttp/fettle:
    endpoint: ${endpoint}${withToken ? '\n    headers:\n      Authorization: Bearer ${env:FETTLE_TOKEN}' : ''}
service:
  pipelines:
    traces: { receivers: [otlp], exporters: [otlphttp/fettle] }
    logs: { receivers: [otlp], exporters: [otlphttp/fettle] }
    metrics: { receivers: [otlp], exporters: [otlphttp/fettle] }`,
  },
  {
    value: 'curl',
    label: 'curl',
    text: (endpoint, withToken) => `now=$(date +%s%N)
curl ${endpoint}/v1/traces -H 'Content-Type: application/json' \\${withToken ? '\n  -H "Authorization: Bearer $FETTLE_TOKEN" \\' : ''}
  -d '{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"hello"}}]},
    "scopeSpans":[{"spans":[{"traceId":"'$(openssl rand -hex 16)'","spanId":"'$(openssl rand -hex 8)'",
    "name":"hello","kind":1,"startTimeUnixNano":"'$now'","endTimeUnixNano":"'$((now + 25000000))'"}]}]}]}'`,
  },
];
