"""Sends one trace of three spans, one metric and (unless grpc) nothing else through the OpenTelemetry SDK.

Usage: send.py {http|grpc} ENDPOINT [gzip]; prints the trace id.
"""

import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode


def exporter(protocol, endpoint, gzip):
    if protocol == "grpc":
        from grpc import Compression
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        compression = Compression.Gzip if gzip else Compression.NoCompression
        return OTLPSpanExporter(endpoint=endpoint, insecure=True, compression=compression)
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    compression = Compression.Gzip if gzip else Compression.NoCompression
    return OTLPSpanExporter(endpoint=endpoint + "/v1/traces", compression=compression)


def main():
    protocol, endpoint = sys.argv[1:3]
    gzip = "gzip" in sys.argv[3:]
    provider = TracerProvider(resource=Resource.create({"service.name": f"python-{protocol}"}))
    provider.add_span_processor(BatchSpanProcessor(exporter(protocol, endpoint, gzip)))
    tracer = provider.get_tracer("fusebox-test", "1.0")
    with tracer.start_as_current_span("GET /cart/{id}", kind=SpanKind.SERVER) as root:
        root.set_attribute("http.route", "/cart/{id}")
        root.set_attribute("cart.items", 3)
        with tracer.start_as_current_span("SELECT cart", kind=SpanKind.CLIENT) as query:
            query.set_attribute("db.system.name", "postgresql")
        with tracer.start_as_current_span("POST", kind=SpanKind.CLIENT) as call:
            call.set_attribute("server.address", "payment.internal")
            call.record_exception(ValueError("card refused"))
            call.set_status(Status(StatusCode.ERROR, "card refused"))
    trace_id = format(root.get_span_context().trace_id, "032x")
    provider.shutdown()
    print(trace_id)


main()
