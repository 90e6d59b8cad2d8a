# frozen_string_literal: true

# Scenarios for Ruby's clients: redis-client, which speaks to the server, and redis-rb, which services use, on top of
# it. Prints a line of result for each: `pass|fail<TAB>name`; what went wrong goes to standard error.
#
# ruby scenarios.rb PROTOCOL, with REDIS_HOST and REDIS_PORT set and both libraries on the load path.

require "digest"
require "redis"
require "redis_client"
require "securerandom"
require "timeout"

PROTOCOL = Integer(ARGV.fetch(0))
HOST, PORT = ENV.values_at("REDIS_HOST", "REDIS_PORT")
SERVER = { host: HOST, port: Integer(PORT), protocol: PROTOCOL, timeout: 20 }.freeze
PATIENCE_S = 60
NAME_LIMIT = 240

EVERY_BYTE = (0..255).to_a.pack("C*").freeze
PAYLOADS = {
  "empty" => "".b,
  "one zero byte" => "\0".b,
  "every byte" => EVERY_BYTE,
  "text" => "grüße, 世界".b,
  "line ends" => "\r\n\r\n$5\r\nhello\r\n".b,
  "an answer of Redis" => "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n".b,
  "64 KiB" => SecureRandom.bytes(64 << 10),
  "1 MiB" => SecureRandom.bytes(1 << 20),
  "5 MiB" => SecureRandom.bytes(5 << 20)
}.freeze
FINISH = "that was all"

Scenario = Struct.new(:name, :play)
SCENARIOS = []

def scenario(name, &play) = SCENARIOS << Scenario.new(name, play)

def expect(truth, what = "the expectation")
  raise "#{what} does not hold" unless truth
end

# A reply as text of printable characters: seen, not expected, so it has to be the same direct and through the proxy.
def printable(value)
  case value
  when String then value.b.gsub(/[^\x20-\x7e]/n) { |byte| format("\\x%02x", byte.ord) }.inspect
  when Array then "[#{value.map { |one| printable(one) }.join(", ")}]"
  # Redis keeps fields in an order that is new with each server.
  when Hash then "{#{value.map { |pair| pair.map { |one| printable(one) }.join(": ") }.sort.join(", ")}}"
  when StandardError then "#{value.class}(#{printable(value.message)})"
  else value.inspect
  end
end

# Not more of a name than a person reads; a digest stands for the rest.
def shortened(text)
  warn text
  text.size <= NAME_LIMIT ? text : "#{text[0, NAME_LIMIT]}... #{Digest::SHA256.hexdigest(text)[0, 16]}"
end

# What a scenario gets to work with: clients that are all closed when it is over.
class Stage
  def initialize = @open = []

  # redis-client, on an empty server if asked for.
  def client(**options)
    keep(RedisClient.config(**SERVER, **options).new_client)
  end

  def empty
    client.tap { |one| one.call("FLUSHALL") }
  end

  # redis-rb.
  def redis(**options) = keep(Redis.new(**SERVER, **options))

  # A subscription with redis-client, confirmed by the server.
  def subscription(command, *names)
    keep(client.pubsub).tap do |pubsub|
      pubsub.call(command, *names)
      names.each { expect(pubsub.next_event(20)&.first == command.downcase, "the answer to #{command}") }
    end
  end

  def close = @open.each(&:close)

  private

  def keep(one)
    @open << one
    one
  end
end

# Asks until the block holds; the scenario's own patience ends a vain wait.
def wait_until
  sleep 0.005 until yield
end

PAYLOADS.each do |kind, payload|
  scenario("a value: #{kind}") do |stage|
    client = stage.empty
    client.call("SET", "key", payload)
    expect(client.call("GET", "key").b == payload)
  end

  { "SUBSCRIBE" => "PUBLISH", "PSUBSCRIBE" => "PUBLISH", "SSUBSCRIBE" => "SPUBLISH" }.each do |subscribe, publish|
    scenario("#{subscribe}, a message: #{kind}") do |stage|
      client = stage.empty
      pubsub = stage.subscription(subscribe, "news")
      expect(client.call(publish, "news", payload) == 1, "one receiver")
      client.call(publish, "news", FINISH)
      expect(pubsub.next_event(20).last.b == payload, "the same bytes")
      expect(pubsub.next_event(20).last == FINISH, "nothing in between")
    end
  end
end

scenario("a value of 64 MiB") do |stage|
  client = stage.empty
  value = SecureRandom.bytes(64 << 20)
  client.call("SET", "key", value)
  expect(client.call("GET", "key").b == value)
end

scenario("replies as the client shows them") do |stage|
  client = stage.empty
  client.call("HSET", "hash", "a", 1, "b", 2)
  client.call("ZADD", "sorted", 1.5, "one", 2.25, "two")
  client.call("XADD", "stream", "1-1", "field", EVERY_BYTE)
  [
    %w[HGETALL hash], %w[ZRANGE sorted 0 -1 WITHSCORES], %w[ZSCORE sorted two], %w[XRANGE stream - +], %w[GET absent],
    %w[LRANGE absent 0 -1], %w[XREAD STREAMS stream 0], %w[COMMAND INFO PUBLISH], %w[CONFIG GET maxmemory-p*]
  ].map { |command| client.call(*command) }
end

%w[string integer double null array set map bignum true false verbatim].each do |type|
  scenario("a reply of the type #{type}") { |stage| stage.empty.call("DEBUG", "PROTOCOL", type) }
end

scenario("errors, word for word") do |stage|
  client = stage.empty
  client.call("SET", "text", "a")
  [
    %w[INCR text], %w[NOSUCHCOMMAND a], %w[GET], %w[PUBLISH channel], %w[SELECT 99], ["EVAL", "this is no Lua", 0],
    ["EVAL", "return redis.error_reply('MYERR of a script')", 0], ["EVALSHA", "0" * 40, 0]
  ].map { |command| client.call(*command) rescue $! }
end

scenario("10,000 commands in a pipeline, errors among them") do |stage|
  client = stage.empty
  client.call("SET", "text", "a")
  replies = client.pipelined(exception: false) do |pipeline|
    10_000.times { |number| number % 100 == 99 ? pipeline.call("INCR", "text") : pipeline.call("INCR", "number") }
  end
  expect(replies.grep(RedisClient::CommandError).size == 100, "100 errors")
  expect(replies.grep(Integer) == (1..9_900).to_a, "the others in order")
end

scenario("a transaction that publishes between other commands") do |stage|
  client = stage.empty
  pubsub = stage.subscription("SUBSCRIBE", "news")
  replies = client.multi do |transaction|
    transaction.call("SET", "key", "value")
    transaction.call("PUBLISH", "news", EVERY_BYTE)
    transaction.call("GET", "key")
    transaction.call("PUBLISH", "nobody", "a")
  end
  expect(pubsub.next_event(20).last.b == EVERY_BYTE, "the same bytes")
  replies
end

scenario("a watched key that changes") do |stage|
  client = stage.empty
  other = stage.client
  replies = client.multi(watch: ["key"]) do |transaction|
    other.call("SET", "key", "changed")
    transaction.call("SET", "key", "mine")
    transaction.call("PUBLISH", "news", "a")
  end
  [replies, client.call("GET", "key")]
end

%w[SUBSCRIBE PSUBSCRIBE SSUBSCRIBE].each do |subscribe|
  publish = subscribe == "SSUBSCRIBE" ? "SPUBLISH" : "PUBLISH"

  scenario("#{subscribe}, 5,000 messages in order") do |stage|
    client = stage.empty
    pubsub = stage.subscription(subscribe, "news")
    client.pipelined { |pipeline| 5_000.times { |number| pipeline.call(publish, "news", number) } }
    expect(Array.new(5_000) { pubsub.next_event(20).last } == (0...5_000).map(&:to_s))
  end
end

scenario("a channel and patterns on one connection: a message each") do |stage|
  client = stage.empty
  pubsub = stage.subscription("SUBSCRIBE", "news.tech")
  pubsub.call("PSUBSCRIBE", "news.*", "n[ae]ws?tech")
  2.times { pubsub.next_event(20) }
  expect(client.call("PUBLISH", "news.tech", EVERY_BYTE) == 3, "three receivers")
  Array.new(3) { pubsub.next_event(20) }.sort
end

scenario("leaving one channel of two") do |stage|
  client = stage.empty
  pubsub = stage.subscription("SUBSCRIBE", "a", "b")
  pubsub.call("UNSUBSCRIBE", "a")
  answer = pubsub.next_event(20)
  [answer, client.call("PUBLISH", "a", "x"), client.call("PUBLISH", "b", "y"), pubsub.next_event(20)]
end

scenario("a subscription without messages") { |stage| stage.subscription("SUBSCRIBE", "news").next_event(0.1) }

scenario("a blocked pop, woken by a push") do |stage|
  client = stage.empty
  popped = Thread.new { stage.client.blocking_call(20, "BLPOP", "list", 0) }
  wait_until { client.call("INFO", "clients").include?("blocked_clients:1") }
  client.call("RPUSH", "list", EVERY_BYTE)
  popped.value
end

scenario("a blocked pop that gets nothing") { |stage| stage.empty.blocking_call(20, "BLPOP", "list", "0.05") }

scenario("a killed client comes back") do |stage|
  client = stage.empty
  victim = stage.client(reconnect_attempts: 2, db: 3)
  victim.call("SET", "key", "in three")
  id = victim.call("CLIENT", "ID")
  client.call("CLIENT", "KILL", "ID", id)
  [victim.call("GET", "key"), victim.call("CLIENT", "ID") == id]
end

scenario("a killed subscriber hears of it") do |stage|
  client = stage.empty
  pubsub = stage.subscription("SUBSCRIBE", "news")
  killed = client.call("CLIENT", "KILL", "TYPE", "pubsub")
  begin
    [killed, pubsub.next_event(20)]
  rescue RedisClient::ConnectionError
    [killed, "the connection is lost"]
  end
end

scenario("users, passwords and what they may not do") do |stage|
  client = stage.empty
  client.call("ACL", "SETUSER", "reader", "on", ">secret", "~public:*", "&public:*", "+@all")
  reader = stage.client(username: "reader", password: "secret")
  seen = [%w[ACL WHOAMI], %w[GET private], %w[PUBLISH public:news a], %w[PUBLISH private a]].map do |command|
    reader.call(*command) rescue $!
  end
  wrong = (stage.client(username: "reader", password: "wrong").call("PING") rescue $!)
  client.call("ACL", "DELUSER", "reader")
  [seen, wrong]
end

# redis-rb speaks RESP2 only.
if PROTOCOL == 2
  scenario("redis-rb: values, pipelines and transactions") do |stage|
    redis = stage.redis
    redis.flushall
    redis.mapped_hmset("hash", { "a" => EVERY_BYTE, "b" => "2" })
    piped = redis.pipelined do |pipeline|
      pipeline.hgetall("hash")
      pipeline.zadd("sorted", [[1.5, "one"], [2, "two"]])
      pipeline.zrange("sorted", 0, -1, with_scores: true)
    end
    changed = redis.multi do |transaction|
      transaction.incr("number")
      transaction.publish("news", EVERY_BYTE)
      transaction.set("other", 1, nx: true)
    end
    [piped, changed, redis.scan_each.to_a.sort, redis.eval("return ARGV[1]", [], [EVERY_BYTE])]
  end

  { subscribe: "news", psubscribe: "n[ae]ws*" }.each do |subscribe, name|
    scenario("redis-rb: #{subscribe}, with messages from another thread") do |stage|
      publisher = stage.redis
      subscriber = stage.redis
      seen = []
      subscriber.public_send(subscribe, name, "other") do |on|
        on.public_send(subscribe) do |channel, count|
          seen << [channel, count]
          Thread.new { [EVERY_BYTE, "", FINISH].each { |payload| publisher.publish("news", payload) } } if count == 2
        end
        on.public_send(subscribe == :subscribe ? :message : :pmessage) do |*message|
          seen << message
          subscriber.public_send("#{subscribe == :subscribe ? "" : "p"}unsubscribe") if message.last == FINISH
        end
      end
      # The connection is an ordinary one again.
      [seen, subscriber.ping]
    end
  end

  scenario("redis-rb: subscribing, with nothing for a while") do |stage|
    stage.redis.subscribe_with_timeout(0.1, "news") { nil }
  rescue Redis::TimeoutError => e
    e
  end
end

$stdout.sync = true
SCENARIOS.each do |scenario|
  stage = Stage.new
  begin
    seen = Timeout.timeout(PATIENCE_S) { scenario.play.call(stage) }
    puts "pass\t#{shortened("#{scenario.name}: #{printable(seen)}")}"
  rescue StandardError => e
    warn "#{scenario.name}: #{e.full_message(highlight: false)}"
    puts "fail\t#{scenario.name}"
  ensure
    stage.close
  end
end
