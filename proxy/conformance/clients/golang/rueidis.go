package main

import (
	"context"
	"sync"

	"github.com/redis/rueidis"
)

type rueidisClient struct {
	client rueidis.Client
	end    context.CancelFunc
	ctx    context.Context
	ended  sync.WaitGroup
	resp   string
}

func openRueidis(address, resp string) Client {
	options := rueidis.ClientOption{InitAddress: []string{address}, ForceSingleClient: true, PipelineMultiplex: -1}
	if resp == "2" {
		options.AlwaysRESP2, options.DisableCache = true, true
	}
	client, err := rueidis.NewClient(options)
	if err != nil {
		panic(err)
	}
	ctx, end := context.WithCancel(context.Background())
	return &rueidisClient{client: client, end: end, ctx: ctx, resp: resp}
}

func (r *rueidisClient) command(args []string) rueidis.Completed {
	return r.client.B().Arbitrary(args[0]).Args(args[1:]...).Build()
}

func (r *rueidisClient) Call(args ...string) (any, error) {
	return r.client.Do(r.ctx, r.command(args)).ToAny()
}

func (r *rueidisClient) Pipeline(commands [][]string) []any {
	var all []rueidis.Completed
	for _, command := range commands {
		all = append(all, r.command(command))
	}
	return shownResults(r.client.DoMulti(r.ctx, all...))
}

func (r *rueidisClient) Transaction(commands [][]string) []any {
	framed := append(append([][]string{{"MULTI"}}, commands...), []string{"EXEC"})
	replies := r.Pipeline(framed)
	return replies[len(replies)-1:]
}

func shownResults(results []rueidis.RedisResult) []any {
	var replies []any
	for _, result := range results {
		if reply, err := result.ToAny(); err != nil {
			replies = append(replies, err)
		} else {
			replies = append(replies, reply)
		}
	}
	return replies
}

// Listen receives channels and patterns each in a call of its own, which share a connection. A call ends with its connection.
func (r *rueidisClient) Listen(channels, patterns []string, deliver func(Message)) {
	receive := func(command rueidis.Completed) {
		r.ended.Add(1)
		go func() {
			defer r.ended.Done()
			for r.ctx.Err() == nil {
				_ = r.client.Receive(r.ctx, command, func(message rueidis.PubSubMessage) {
					deliver(Message{message.Pattern, message.Channel, message.Message})
				})
			}
		}()
	}
	if len(channels) > 0 {
		receive(r.client.B().Subscribe().Channel(channels...).Build().Pin())
	}
	if len(patterns) > 0 {
		receive(r.client.B().Psubscribe().Pattern(patterns...).Build().Pin())
	}
}

// ComesBack is false in RESP2, where a call of Receive goes on waiting after its connection was cut.
func (r *rueidisClient) ComesBack() bool { return r.resp == "3" }

func (r *rueidisClient) Close() {
	r.end()
	r.ended.Wait()
	r.client.Close()
}
