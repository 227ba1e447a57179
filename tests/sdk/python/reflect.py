"""Learns by gRPC's reflection what a server takes, checks and watches its health, and sends a span by what it learnt.

Usage: reflect.py HOST:PORT; prints the trace id. Ends badly when something is not as described.
"""

import os
import sys
import time
from base64 import b64encode

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

CHANNEL = grpc.insecure_channel(sys.argv[1])
SERVER = ProtoReflectionDescriptorDatabase(CHANNEL)
POOL = DescriptorPool(SERVER)
TRACES = "opentelemetry.proto.collector.trace.v1.TraceService"


def call(service, name, fields):
    """Calls a method as it is described; returns its answer, or an iterator over its answers."""
    method = POOL.FindServiceByName(service).FindMethodByName(name)
    request = ParseDict(fields, GetMessageClass(method.input_type)())
    kind = CHANNEL.unary_stream if method.server_streaming else CHANNEL.unary_unary
    answer = GetMessageClass(method.output_type)
    to_call = kind(
        f"/{service}/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )
    return to_call(request, timeout=20)


def health(answer):
    """Returns the word of a status."""
    return answer.DESCRIPTOR.fields_by_name["status"].enum_type.values_by_number[answer.status].name


def check_health():
    for service in ["", TRACES]:
        assert health(call("grpc.health.v1.Health", "Check", {"service": service})) == "SERVING"
    for service, expected in [(TRACES, "SERVING"), ("shop.Cart", "SERVICE_UNKNOWN")]:
        watching = call("grpc.health.v1.Health", "Watch", {"service": service})
        assert health(next(watching)) == expected
        watching.cancel()


def send_span():
    trace = os.urandom(16)
    now = time.time_ns()
    span = {
        "traceId": b64encode(trace).decode(),
        "spanId": b64encode(os.urandom(8)).decode(),
        "name": "GET /cart",
        "kind": "SPAN_KIND_SERVER",
        "startTimeUnixNano": str(now - 1_000_000),
        "endTimeUnixNano": str(now),
        "attributes": [{"key": "cart.empty", "value": {"boolValue": False}}],
        "status": {"code": "STATUS_CODE_ERROR", "message": "card refused"},
    }
    name = {"key": "service.name", "value": {"stringValue": "described"}}
    spans = {"resource": {"attributes": [name]}, "scopeSpans": [{"spans": [span]}]}
    answer = call(TRACES, "Export", {"resourceSpans": [spans]})
    assert not answer.HasField("partial_success"), answer
    return trace.hex()


def report_span():
    """Reports to Zipkin's service a span that fits into its trace."""
    endpoint = {"serviceName": "reported", "port": 9000}
    ids = {"traceId": b64encode(os.urandom(16)).decode(), "id": b64encode(os.urandom(8)).decode()}
    span = {**ids, "kind": "CLIENT", "name": "get", "timestamp": str(time.time_ns() // 1000), "duration": "20",
            "localEndpoint": endpoint, "tags": {"http.path": "/cart"}}
    call("zipkin.proto3.SpanService", "Report", {"spans": [span]})


def main():
    services = set(SERVER.get_services())
    missing = {TRACES, "zipkin.proto3.SpanService", "grpc.health.v1.Health"} - services
    assert not missing, missing
    for service in services:
        assert POOL.FindServiceByName(service).methods, service
    assert POOL.FindMessageTypeByName("zipkin.proto3.Span").fields_by_name["tags"].message_type.GetOptions().map_entry
    check_health()
    report_span()
    print(send_span())


main()
