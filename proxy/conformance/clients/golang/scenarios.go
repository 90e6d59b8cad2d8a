package main

import (
	"fmt"
	"math/rand"
	"sort"
	"strings"
	"sync"
)

// payloads are bytes of every kind, and what looks like the protocol or like a context of a trace.
func payloads() map[string]string {
	every := make([]byte, 256)
	for at := range every {
		every[at] = byte(at)
	}
	large := make([]byte, 1<<20)
	rand.New(rand.NewSource(1)).Read(large)
	return map[string]string{
		"empty":              "",
		"one zero byte":      "\x00",
		"every byte":         string(every),
		"JSON":               `{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","a":[1,2]}`,
		"line ends":          "\r\n\r\n$5\r\nhello\r\n",
		"an answer of Redis": "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
		"a push of Redis":    ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
		"1 MiB":              string(large),
		"1 MiB of line ends": string(crlf(1 << 20)),
	}
}

func crlf(length int) []byte {
	text := make([]byte, length)
	for at := range text {
		text[at] = "\r\n"[at%2]
	}
	return text
}

// An inbox keeps what a subscriber gets.
type inbox struct {
	lock     sync.Mutex
	messages []Message
}

func (in *inbox) deliver(message Message) {
	in.lock.Lock()
	defer in.lock.Unlock()
	in.messages = append(in.messages, message)
}

// take waits for so many messages, and gives all that there are.
func (in *inbox) take(count int) []Message {
	until(fmt.Sprintf("%d messages", count), func() bool { return len(in.all()) >= count })
	return in.all()
}

func (in *inbox) all() []Message {
	in.lock.Lock()
	defer in.lock.Unlock()
	return append([]Message(nil), in.messages...)
}

// listen subscribes a client, and returns when Redis counts the subscription.
func listen(open func() Client, asks Client, channels, patterns []string) *inbox {
	in := new(inbox)
	open().Listen(channels, patterns, in.deliver)
	subscribed(asks, channels, patterns)
	return in
}

func subscribed(asks Client, channels, patterns []string) {
	until("the subscription", func() bool {
		for _, channel := range channels {
			if number(asks, "PUBSUB", "NUMSUB", channel) == 0 {
				return false
			}
		}
		return number(asks, "PUBSUB", "NUMPAT") >= int64(len(patterns))
	})
}

// number is a reply that is a number, or the last part of which is one: what RESP3 has as a map, RESP2 has as an array.
func number(client Client, args ...string) int64 {
	switch reply := must(client.Call(args...)).(type) {
	case int64:
		return reply
	case []any:
		return reply[len(reply)-1].(int64)
	case map[any]any:
		for _, value := range reply {
			return value.(int64)
		}
	case map[string]any:
		for _, value := range reply {
			return value.(int64)
		}
	}
	panic(fmt.Sprintf("%v is answered with no number", args))
}

func scenarios() []Scenario {
	all := []Scenario{
		{"the protocol", protocol},
		{"2,000 messages in order, in one pipeline", inOrder},
		{"a channel and patterns on one connection: a message each", channelAndPatterns},
		{"30 subscribers", manySubscribers},
		{"1,000 commands in one pipeline", pipeline},
		{"a transaction with a message in it", transaction},
		{"errors as the client shows them", failures},
		{"a killed subscriber comes back", killedSubscriber},
		{"a killed client comes back", killedClient},
	}
	names := make([]string, 0)
	for name := range payloads() {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		payload := payloads()[name]
		all = append(all,
			Scenario{"subscribe, a message: " + name, func(open func() Client) any { return oneMessage(open, payload, "") }},
			Scenario{"psubscribe, a message: " + name, func(open func() Client) any { return oneMessage(open, payload, "ne[vw]s*") }},
			Scenario{"a value: " + name, func(open func() Client) any { return value(open, payload) }},
		)
	}
	return all
}

func protocol(open func() Client) any {
	var seen []string
	info := fmt.Sprint(must(open().Call("CLIENT", "INFO")))
	for _, field := range []string{"resp=", "db=", "sub=", "user="} {
		for _, word := range strings.Fields(info) {
			if strings.HasPrefix(word, field) {
				seen = append(seen, word)
			}
		}
	}
	return seen
}

func oneMessage(open func() Client, payload, pattern string) any {
	client := open()
	channels, patterns := []string{"news"}, []string(nil)
	if pattern != "" {
		channels, patterns = nil, []string{pattern}
	}
	in := listen(open, client, channels, patterns)
	expect("receivers", must(client.Call("PUBLISH", "news", payload)), 1)
	must(client.Call("PUBLISH", "news", "that was all"))
	got := in.take(2)
	expect("messages", len(got), 2)
	if got[0] != (Message{pattern, "news", payload}) {
		panic("another message: " + shown(got[0]))
	}
	return nil
}

func value(open func() Client, payload string) any {
	client := open()
	expect("SET", must(client.Call("SET", "key", payload)), "OK")
	if got := must(client.Call("GET", "key")); got != payload {
		panic("another value: " + shown(got))
	}
	return must(client.Call("STRLEN", "key"))
}

func inOrder(open func() Client) any {
	client := open()
	in := listen(open, client, []string{"news"}, nil)
	var commands [][]string
	for at := range 2_000 {
		commands = append(commands, []string{"PUBLISH", "news", fmt.Sprint("message ", at)})
	}
	for _, receivers := range client.Pipeline(commands) {
		expect("receivers", receivers, 1)
	}
	for at, message := range in.take(2_000) {
		expect("message", message.Payload, fmt.Sprint("message ", at))
	}
	return nil
}

func channelAndPatterns(open func() Client) any {
	client := open()
	in := listen(open, client, []string{"news.tech"}, []string{"news.*", "n[ae]ws?tech"})
	expect("receivers", must(client.Call("PUBLISH", "news.tech", "a\x00b")), 3)
	var seen []string
	for _, message := range in.take(3) {
		expect("payload", message.Payload, "a\x00b")
		seen = append(seen, message.Pattern+" "+message.Channel)
	}
	sort.Strings(seen)
	return seen
}

func manySubscribers(open func() Client) any {
	client := open()
	var all []*inbox
	for at := range 30 {
		// By the second channel the scenario knows that this one has subscribed to both.
		all = append(all, listen(open, client, []string{"everybody", fmt.Sprint("only ", at)}, nil))
	}
	expect("receivers", must(client.Call("PUBLISH", "everybody", "to all")), 30)
	for _, in := range all {
		expect("message", in.take(1)[0].Payload, "to all")
	}
	return nil
}

func pipeline(open func() Client) any {
	client := open()
	must(client.Call("FLUSHALL"))
	commands := [][]string{
		{"HSET", "hash", "field", "\x00\xff"}, {"HGETALL", "hash"}, {"LPUSH", "list", "a", "b"}, {"LRANGE", "list", "0", "-1"},
		{"GET", "nothing"}, {"ZADD", "set", "1.5", "m"}, {"ZSCORE", "set", "m"},
	}
	for at := range 1_000 {
		commands = append(commands, []string{"INCRBY", "counter", fmt.Sprint(at)})
	}
	return client.Pipeline(commands)
}

func transaction(open func() Client) any {
	client := open()
	must(client.Call("FLUSHALL"))
	in := listen(open, client, []string{"news"}, nil)
	replies := client.Transaction([][]string{{"SET", "key", "1"}, {"PUBLISH", "news", "from within"}, {"INCR", "key"}})
	expect("message", in.take(1)[0].Payload, "from within")
	return replies
}

func failures(open func() Client) any {
	client := open()
	must(client.Call("SET", "key", "text"))
	_, wrongType := client.Call("LPUSH", "key", "a")
	_, unknown := client.Call("NOSUCHCOMMAND", "a")
	return []any{wrongType, unknown, client.Pipeline([][]string{{"INCR", "key"}, {"GET", "key"}})}
}

func killedSubscriber(open func() Client) any {
	client := open()
	if !client.ComesBack() {
		return "this client does not notice"
	}
	in, patterns := listen(open, client, []string{"a"}, nil), listen(open, client, nil, []string{"b*"})
	must(client.Call("PUBLISH", "a", "before"))
	in.take(1)
	expect("killed", must(client.Call("CLIENT", "KILL", "TYPE", "pubsub")), 2)
	subscribed(client, []string{"a"}, []string{"b*"})
	must(client.Call("PUBLISH", "a", "after"))
	must(client.Call("PUBLISH", "bb", "\x00"))
	return append(in.take(2), patterns.take(1)...)
}

func killedClient(open func() Client) any {
	client, victim := open(), open()
	must(victim.Call("SET", "key", "kept"))
	id := must(victim.Call("CLIENT", "ID"))
	expect("killed", must(client.Call("CLIENT", "KILL", "ID", fmt.Sprint(id))), 1)
	until("another connection", func() bool {
		now, err := victim.Call("CLIENT", "ID")
		return err == nil && fmt.Sprint(now) != fmt.Sprint(id)
	})
	return must(victim.Call("GET", "key"))
}
