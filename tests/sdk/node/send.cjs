// Sends one trace of three spans through the OpenTelemetry SDK.
// Usage: send.cjs {json|proto|grpc} ENDPOINT; prints the trace id.
const { SpanKind, SpanStatusCode, context, trace } = require("@opentelemetry/api");
const { NodeTracerProvider, BatchSpanProcessor } = require("@opentelemetry/sdk-trace-node");
const { resourceFromAttributes } = require("@opentelemetry/resources");

const [protocol, endpoint] = process.argv.slice(2);

function exporter() {
  if (protocol === "grpc") {
    const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-grpc");
    return new OTLPTraceExporter({ url: endpoint });
  }
  const kind = protocol === "json" ? "http" : "proto";
  const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${kind}`);
  return new OTLPTraceExporter({ url: `${endpoint}/v1/traces` });
}

async function main() {
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ "service.name": `node-${protocol}` }),
    spanProcessors: [new BatchSpanProcessor(exporter())],
  });
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
  console.log(root.spanContext().traceId);
}

main();
