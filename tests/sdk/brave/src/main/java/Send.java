import brave.Span;
import brave.Tracing;
import zipkin2.reporter.Encoding;
import zipkin2.reporter.brave.AsyncZipkinSpanHandler;
import zipkin2.reporter.urlconnection.URLConnectionSender;

/**
 * Sends a trace of two spans, one of them failed, with Brave; prints its id. Arguments: JSON or PROTO3, and the URL.
 */
class Send {
  public static void main(String[] arguments) {
    var encoding = Encoding.valueOf(arguments[0]);
    var sender = URLConnectionSender.newBuilder()
        .endpoint(arguments[1] + "/api/v2/spans")
        .encoding(encoding)
        .build();
    var spans = AsyncZipkinSpanHandler.create(sender);
    var tracing = Tracing.newBuilder()
        .localServiceName("brave-" + arguments[0].toLowerCase())
        .traceId128Bit(true)
        .addSpanHandler(spans)
        .build();
    var tracer = tracing.tracer();
    var server = tracer.newTrace().name("GET /cart/{id}").kind(Span.Kind.SERVER).start();
    var client = tracer.newChild(server.context()).name("POST").kind(Span.Kind.CLIENT).start();
    client.remoteServiceName("payment").remoteIpAndPort("127.0.0.1", 9090);
    client.tag("error", "card refused").finish();
    server.finish();
    spans.flush();
    tracing.close();
    spans.close();
    System.out.println(server.context().traceIdString());
  }
}
