// A worker that also publishes: what it reads on `mychannel1` it hands on to `results`, below a span of its own. The article
// has no such program. It is here because the library copies the options of the context that it has read into the new one.
package main

import (
	"context"
	"log"

	"github.com/go-redis/redis"
	"go.opencensus.io/trace"

	"article/census"
)

func main() {
	census.Start("relay")
	client := redis.NewClient(&redis.Options{Addr: "redis:6379"})
	for received := range client.Subscribe("mychannel1").Channel() {
		parent, message, ok := census.Split(received.Payload)
		if !ok {
			log.Fatalf("no context before %q", received.Payload)
		}
		_, span := trace.StartSpanWithRemoteParent(context.Background(), "relay", parent)
		if err := client.Publish("results", census.Join(span, message)).Err(); err != nil {
			log.Fatal(err)
		}
		span.End()
	}
}
