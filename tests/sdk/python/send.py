"""Sends one trace of three spans, a counter, a histogram and a log record through the OpenTelemetry SDK.

Usage: send.py {http|grpc} ENDPOINT [gzip]; prints the trace id. Ends badly when an export was refused.
"""

import importlib
import logging
import sys

from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

PROTOCOL, ENDPOINT = sys.argv[1:3]
GZIP = "gzip" in sys.argv[3:]
FAILURES = []


class Watch(logging.Handler):
    """Exporters do not raise: they log what was refused."""

    def emit(self, record):
        FAILURES.append(record.getMessage())


def exporter(signal, name):
    """Returns the exporter of that signal for the protocol asked for."""
    package = f"opentelemetry.exporter.otlp.proto.{PROTOCOL}"
    kind = getattr(importlib.import_module(f"{package}.{signal}_exporter"), name)
    if PROTOCOL == "grpc":
        from grpc import Compression

        return kind(
            endpoint=ENDPOINT,
            insecure=True,
            compression=Compression.Gzip if GZIP else Compression.NoCompression,
        )
    compression = importlib.import_module(package).Compression
    path = {"trace": "traces", "metric": "metrics", "_log": "logs"}[signal]
    return kind(
        endpoint=f"{ENDPOINT}/v1/{path}",
        compression=compression.Gzip if GZIP else compression.NoCompression,
    )


def send_trace(resource):
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter("trace", "OTLPSpanExporter")))
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
    provider.shutdown()
    return format(root.get_span_context().trace_id, "032x")


def send_metrics(resource):
    reader = PeriodicExportingMetricReader(exporter("metric", "OTLPMetricExporter"))
    provider = MeterProvider(metric_readers=[reader], resource=resource)
    meter = provider.get_meter("fusebox-test")
    meter.create_counter("carts").add(3, {"shop": "test"})
    meter.create_histogram("cart.duration", unit="s").record(0.012)
    provider.shutdown()


def send_log(resource):
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter("_log", "OTLPLogExporter")))
    logger = logging.getLogger("cart")
    logger.addHandler(LoggingHandler(logger_provider=provider))
    logger.warning("cart is full")
    provider.shutdown()


def main():
    logging.getLogger("opentelemetry").addHandler(Watch(level=logging.WARNING))
    resource = Resource.create({"service.name": f"python-{PROTOCOL}"})
    trace_id = send_trace(resource)
    send_metrics(resource)
    send_log(resource)
    if FAILURES:
        sys.exit(f"refused: {FAILURES}")
    print(trace_id)


main()
