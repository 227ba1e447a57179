// Sends a trace of two spans, one of them failed, with Zipkin's own library; prints its id.
// Usage: zipkin-go {json|protobuf} URL. Ends badly when the spans were refused.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/openzipkin/zipkin-go"
	"github.com/openzipkin/zipkin-go/model"
	"github.com/openzipkin/zipkin-go/proto/zipkin_proto3"
	"github.com/openzipkin/zipkin-go/reporter"
	zipkinhttp "github.com/openzipkin/zipkin-go/reporter/http"
)

// answers remembers whether a request was refused.
type answers struct{ refused string }

func (a *answers) Do(request *http.Request) (*http.Response, error) {
	response, err := http.DefaultClient.Do(request)
	if err == nil && response.StatusCode != http.StatusAccepted {
		a.refused = response.Status
	}
	if err != nil {
		a.refused = err.Error()
	}
	return response, err
}

func main() {
	format, url := os.Args[1], os.Args[2]
	var serializer reporter.SpanSerializer = reporter.JSONSerializer{}
	if format == "protobuf" {
		serializer = zipkin_proto3.SpanSerializer{}
	}
	sent := &answers{}
	spans := zipkinhttp.NewReporter(url+"/api/v2/spans", zipkinhttp.Serializer(serializer), zipkinhttp.Client(sent))
	service := "zipkin-go-" + format
	endpoint, _ := zipkin.NewEndpoint(service, "127.0.0.1:8080")
	tracer, err := zipkin.NewTracer(spans, zipkin.WithLocalEndpoint(endpoint), zipkin.WithTraceID128Bit(true))
	if err != nil {
		log.Fatal(err)
	}
	server := tracer.StartSpan("GET /cart/{id}", zipkin.Kind(model.Server))
	client := tracer.StartSpan("POST", zipkin.Kind(model.Client), zipkin.Parent(server.Context()))
	payment, _ := zipkin.NewEndpoint("payment", "127.0.0.1:9090")
	client.SetRemoteEndpoint(payment)
	zipkin.TagError.Set(client, "card refused")
	client.Finish()
	server.Finish()
	spans.Close()
	if sent.refused != "" {
		log.Fatal(sent.refused)
	}
	fmt.Println(server.Context().TraceID)
}
