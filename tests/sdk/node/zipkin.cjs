// Sends a trace of two spans, one of them failed, with Zipkin's own library; prints its id.
// Usage: zipkin.cjs {v1|v2} URL. Ends badly when the spans were refused.
const { Annotation, BatchRecorder, ExplicitContext, InetAddress, Tracer, jsonEncoder } = require("zipkin");
const { HttpLogger } = require("zipkin-transport-http");

const [version, url] = process.argv.slice(2);
const logger = new HttpLogger({
  endpoint: `${url}/api/${version}/spans`,
  jsonEncoder: version === "v1" ? jsonEncoder.JSON_V1 : jsonEncoder.JSON_V2,
  httpInterval: 100,
});
logger.on("success", () => process.exit(0));
logger.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
const tracer = new Tracer({
  ctxImpl: new ExplicitContext(),
  recorder: new BatchRecorder({ logger }),
  localServiceName: `zipkin-js-${version}`,
  traceId128Bit: true,
});

const server = tracer.createRootId();
tracer.letId(server, () => {
  tracer.recordServiceName(`zipkin-js-${version}`);
  tracer.recordRpc("GET /cart/:id");
  tracer.recordAnnotation(new Annotation.ServerRecv());
  tracer.letId(tracer.createChildId(), () => {
    tracer.recordServiceName(`zipkin-js-${version}`);
    tracer.recordRpc("POST");
    tracer.recordAnnotation(new Annotation.ClientSend());
    tracer.recordAnnotation(
      new Annotation.ServerAddr({ serviceName: "payment", host: new InetAddress("127.0.0.1"), port: 9090 }),
    );
    tracer.recordBinary("error", "card refused");
    tracer.recordAnnotation(new Annotation.ClientRecv());
  });
  tracer.recordAnnotation(new Annotation.ServerSend());
});
console.log(server.traceId);
// The logger's own timer does not keep the process running.
setTimeout(() => process.exit(1), 60_000);
