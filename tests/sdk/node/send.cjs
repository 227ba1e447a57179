// Sends one trace of three spans, a counter, a histogram and a log record through the OpenTelemetry SDK.
// Usage: send.cjs {json|proto|grpc} ENDPOINT; prints the trace id. Ends badly when an export was refused.
const { DiagLogLevel, SpanKind, SpanStatusCode, context, diag, trace } = require("@opentelemetry/api");
const { NodeTracerProvider, BatchSpanProcessor } = require("@opentelemetry/sdk-trace-node");
const { MeterProvider, PeriodicExportingMetricReader } = require("@opentelemetry/sdk-metrics");
const { LoggerProvider, BatchLogRecordProcessor } = require("@opentelemetry/sdk-logs");
const { resourceFromAttributes } = require("@opentelemetry/resources");

const [protocol, endpoint] = process.argv.slice(2);
const failures = [];
// Exporters do not throw: they tell the diagnostics what was refused.
const note = (...words) => failures.push(words.join(" "));
diag.setLogger({ error: note, warn: note, info() {}, debug() {}, verbose() {} }, DiagLogLevel.WARN);

// Returns the exporter of that signal for the protocol asked for.
function exporter(signal, path, name) {
  const kind = { json: "http", proto: "proto", grpc: "grpc" }[protocol];
  const Exporter = require(`@opentelemetry/exporter-${signal}-otlp-${kind}`)[name];
  return new Exporter({ url: protocol === "grpc" ? endpoint : `${endpoint}/v1/${path}` });
}

async function sendTrace(resource) {
  const processor = new BatchSpanProcessor(exporter("trace", "traces", "OTLPTraceExporter"));
  const provider = new NodeTracerProvider({ resource, spanProcessors: [processor] });
  const tracer = provider.getTracer("fusebox-test", "1.0");
  const root = tracer.startSpan("GET /cart/:id", { kind: SpanKind.SERVER });
  const inside = trace.setSpan(context.active(), root);
  const query = tracer.startSpan("SELECT cart", { kind: SpanKind.CLIENT }, inside);
  query.setAttribute("db.system.name", "postgresql");
  query.end();
  const call = tracer.startSpan("POST", { kind: SpanKind.CLIENT }, inside);
  call.recordException(new Error("card refused"));
  call.setStatus({ code: SpanStatusCode.ERROR, message: "card refused" });
  call.end();
  root.setAttributes({ "http.route": "/cart/:id", "cart.items": 3, "cart.total": 12.5, "cart.gift": true });
  root.end();
  await provider.shutdown();
  return root.spanContext().traceId;
}

async function sendMetrics(resource) {
  const reader = new PeriodicExportingMetricReader({ exporter: exporter("metrics", "metrics", "OTLPMetricExporter") });
  const provider = new MeterProvider({ resource, readers: [reader] });
  const meter = provider.getMeter("fusebox-test");
  meter.createCounter("carts").add(3, { shop: "test" });
  meter.createHistogram("cart.duration", { unit: "s" }).record(0.012);
  await provider.shutdown();
}

async function sendLog(resource) {
  const processor = new BatchLogRecordProcessor({ exporter: exporter("logs", "logs", "OTLPLogExporter") });
  const provider = new LoggerProvider({ resource, processors: [processor] });
  provider.getLogger("fusebox-test").emit({ body: "cart is full", severityNumber: 13 });
  await provider.shutdown();
}

async function main() {
  const resource = resourceFromAttributes({ "service.name": `node-${protocol}` });
  const traceId = await sendTrace(resource);
  await sendMetrics(resource);
  await sendLog(resource);
  if (failures.length > 0) throw new Error(`refused: ${failures}`);
  console.log(traceId);
}

main();
