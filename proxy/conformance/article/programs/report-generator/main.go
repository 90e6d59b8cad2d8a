// The worker: each message on `mychannel1` becomes a span below the context that the message begins with.
package main

import (
	"context"
	"fmt"

	"github.com/go-redis/redis"
	"go.opencensus.io/trace"

	"article/census"
)

const channel = "mychannel1"

func generate(payload string) {
	parent, message, ok := census.Split(payload)
	var span *trace.Span
	if ok {
		_, span = trace.StartSpanWithRemoteParent(context.Background(), "generateReport", parent)
	} else {
		_, span = trace.StartSpan(context.Background(), "generateReport")
	}
	defer span.End()
	fmt.Printf("Message received:%s\n", message)
}

func main() {
	census.Start("report-generator")
	client := redis.NewClient(&redis.Options{Addr: "redis:6379"})
	for message := range client.Subscribe(channel).Channel() {
		generate(message.Payload)
	}
}
