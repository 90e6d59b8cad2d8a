package main

import (
	"context"
	"strconv"

	"github.com/redis/go-redis/v9"
)

type goRedis struct {
	client *redis.Client
	end    context.CancelFunc
	ctx    context.Context
}

func openGoRedis(address, resp string) Client {
	version, err := strconv.Atoi(resp)
	if err != nil {
		panic(err)
	}
	ctx, end := context.WithCancel(context.Background())
	// One connection, so that a killed one is that of the next command.
	return &goRedis{redis.NewClient(&redis.Options{Addr: address, Protocol: version, PoolSize: 1}), end, ctx}
}

func (g *goRedis) Call(args ...string) (any, error) {
	return g.client.Do(g.ctx, untyped(args)...).Result()
}

func (g *goRedis) Pipeline(commands [][]string) []any { return g.sent(g.client.Pipeline(), commands) }

func (g *goRedis) Transaction(commands [][]string) []any {
	return g.sent(g.client.TxPipeline(), commands)
}

func (g *goRedis) sent(pipe redis.Pipeliner, commands [][]string) []any {
	var sent []*redis.Cmd
	for _, command := range commands {
		sent = append(sent, pipe.Do(g.ctx, untyped(command)...))
	}
	// Its error is that of the first command that failed, and each has its own.
	_, _ = pipe.Exec(g.ctx)
	var replies []any
	for _, command := range sent {
		if reply, err := command.Result(); err != nil {
			replies = append(replies, err)
		} else {
			replies = append(replies, reply)
		}
	}
	return replies
}

func (g *goRedis) Listen(channels, patterns []string, deliver func(Message)) {
	subscription := g.client.Subscribe(g.ctx, channels...)
	if err := subscription.PSubscribe(g.ctx, patterns...); len(patterns) > 0 && err != nil {
		panic(err)
	}
	messages := subscription.Channel(redis.WithChannelSize(10_000))
	go func() {
		for message := range messages {
			deliver(Message{message.Pattern, message.Channel, message.Payload})
		}
	}()
	context.AfterFunc(g.ctx, func() { _ = subscription.Close() })
}

func (g *goRedis) ComesBack() bool { return true }

func (g *goRedis) Close() {
	g.end()
	_ = g.client.Close()
}

func untyped(args []string) []any {
	var all []any
	for _, arg := range args {
		all = append(all, arg)
	}
	return all
}
