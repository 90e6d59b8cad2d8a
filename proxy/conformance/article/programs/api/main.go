// The API: each request for a report becomes a message on `mychannel1`. Every request, publish and command has a span.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/gomodule/redigo/redis"
	"go.opencensus.io/plugin/ochttp"
	"go.opencensus.io/trace"

	"article/census"
)

const channel = "mychannel1"

var pool = &redis.Pool{Dial: func() (redis.Conn, error) { return redis.Dial("tcp", "redis:6379") }}

func publish(ctx context.Context, message string) error {
	ctx, span := trace.StartSpan(ctx, "publish")
	defer span.End()
	connection := pool.Get()
	defer connection.Close()
	// The fork of redigo that the article uses makes a span of each command.
	_, command := trace.StartSpan(ctx, "redis.Do")
	defer command.End()
	_, err := connection.Do("PUBLISH", channel, census.Join(span, message))
	return err
}

func reports(answer http.ResponseWriter, request *http.Request) {
	if err := publish(request.Context(), "message"); err != nil {
		http.Error(answer, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintln(answer, "a report will be made")
}

func main() {
	census.Start("api")
	routes := http.NewServeMux()
	routes.HandleFunc("/reports", reports)
	log.Fatal(http.ListenAndServe(":5000", &ochttp.Handler{Handler: routes}))
}
