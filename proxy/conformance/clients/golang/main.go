// Scenarios for clients in Go: exact bytes of messages and values, patterns, pipelines, and connections that are cut. Prints
// `pass|fail<TAB>name` for each; what went wrong goes to standard error.
//
//	golang go-redis|rueidis 2|3      with REDIS_HOST and REDIS_PORT
package main

import (
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// Patience is how long anything may take that is waited for.
const Patience = 30 * time.Second

// A Message is what a subscriber gets. Pattern is empty for one of a channel.
type Message struct{ Pattern, Channel, Payload string }

// A Client is a library under test, with connections of its own.
type Client interface {
	// Call sends a command and gives the reply as the library shows it.
	Call(args ...string) (any, error)
	// Pipeline sends all commands at once.
	Pipeline(commands [][]string) []any
	// Transaction sends all commands between MULTI and EXEC.
	Transaction(commands [][]string) []any
	// Listen subscribes to channels and patterns until the scenario ends.
	Listen(channels, patterns []string, deliver func(Message))
	// ComesBack tells whether a subscription notices that its connection was cut.
	ComesBack() bool
	Close()
}

// A Scenario fails by panicking. What it returns was seen, not expected: it has to be the same direct and through the proxy.
type Scenario struct {
	name string
	play func(open func() Client) any
}

func main() {
	address := net.JoinHostPort(os.Getenv("REDIS_HOST"), os.Getenv("REDIS_PORT"))
	open, known := map[string]func(address, resp string) Client{"go-redis": openGoRedis, "rueidis": openRueidis}[os.Args[1]]
	if !known {
		panic("no client " + os.Args[1])
	}
	for _, scenario := range scenarios() {
		verdict := play(scenario, func() Client { return open(address, os.Args[2]) })
		fmt.Println(verdict)
	}
}

func play(scenario Scenario, open func() Client) (verdict string) {
	var opened []Client
	defer func() {
		for _, client := range opened {
			client.Close()
		}
		if problem := recover(); problem != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", scenario.name, problem)
			verdict = "fail\t" + scenario.name
		}
	}()
	seen := scenario.play(func() Client {
		opened = append(opened, open())
		return opened[len(opened)-1]
	})
	if seen == nil {
		return "pass\t" + scenario.name
	}
	return "pass\t" + scenario.name + ": " + shown(seen)
}

// shown is one line of printable text; a digest stands for what is longer than a person reads.
func shown(seen any) string {
	text := fmt.Sprintf("%q", fmt.Sprint(seen))
	if len(text) > 200 {
		text = fmt.Sprintf("%s... %x", text[:200], sha256.Sum256([]byte(text)))
	}
	return strings.ReplaceAll(text, "\t", " ")
}

func must(reply any, err error) any {
	if err != nil {
		panic(err)
	}
	return reply
}

func expect(what string, found, expected any) {
	if fmt.Sprint(found) != fmt.Sprint(expected) {
		panic(fmt.Sprintf("%s: found %s, expected %s", what, shown(found), shown(expected)))
	}
}

// until asks every few milliseconds until the condition holds.
func until(what string, condition func() bool) {
	for deadline := time.Now().Add(Patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			panic("waited in vain: " + what)
		}
	}
}
