// Package census is what the programs share: spans go to Jaeger, and a message begins with the context of its publish.
package census

import (
	"log"

	"go.opencensus.io/exporter/jaeger"
	"go.opencensus.io/trace"
	"go.opencensus.io/trace/propagation"
)

// contextLength is that of OpenCensus's binary form, in bytes.
const contextLength = 29

// Start samples every span and sends it to Jaeger's own port, as the service `name`.
func Start(name string) *jaeger.Exporter {
	exporter, err := jaeger.NewExporter(jaeger.Options{
		CollectorEndpoint: "http://jaeger:14268/api/traces",
		Process:           jaeger.Process{ServiceName: name},
	})
	if err != nil {
		log.Fatalf("no exporter: %v", err)
	}
	trace.RegisterExporter(exporter)
	trace.ApplyConfig(trace.Config{DefaultSampler: trace.AlwaysSample()})
	return exporter
}

// Join puts the context of `span` in front of `message`.
func Join(span *trace.Span, message string) []byte {
	return append(propagation.Binary(span.SpanContext()), message...)
}

// Split takes apart what Join has made. Like the library of the article it panics on a message that is shorter than a context.
func Split(payload string) (parent trace.SpanContext, message string, ok bool) {
	parent, ok = propagation.FromBinary([]byte(payload)[:contextLength])
	if !ok {
		return parent, payload, false
	}
	return parent, payload[contextLength:], true
}
