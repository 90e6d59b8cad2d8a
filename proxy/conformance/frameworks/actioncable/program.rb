# Two Action Cable servers with the Redis adapter that comes with it: what one broadcasts, both receive.
#
# The servers are real, their browsers are not: a subscription here is the callback that Action Cable itself registers
# with its adapter for each stream of a channel (`stream_from`). Redis sees the same as from a whole application.

require_relative "../ledger"
require "active_support"
require "active_support/rails"
require "active_support/core_ext"
require "action_cable"
require "logger"

# A server as Rails makes one, with `config/cable.yml` for the adapter.
def server(service)
  config = ActionCable::Server::Configuration.new
  config.logger = Logger.new($stderr, level: Logger::WARN)
  host, port = Ledger.redis_of(service)
  cable = { adapter: "redis", url: "redis://#{host}:#{port}/1", channel_prefix: "shop" }
  config.cable = cable.with_indifferent_access
  ActionCable::Server::Base.new(config: config)
end

# Subscribes, and waits until Redis has confirmed it.
def listen(name, server, stream)
  confirmed = Queue.new
  server.pubsub.subscribe(stream, ->(message) { Ledger.got(name, stream, yield(message)) }, -> { confirmed << true })
  Timeout.timeout(Ledger::PATIENCE) { confirmed.pop }
end

servers = %w[cable-a cable-b].to_h { |service| [service, server(service)] }
servers.each do |name, cable|
  %w[chat:1 chat:ż].each { |stream| listen(name, cable, stream) { |message| ActiveSupport::JSON.decode(message) } }
  # A stream with `coder: nil` gets what was broadcast as it is.
  listen(name, cable, "raw") { |message| message.b }
end

servers.each do |sender, cable|
  Ledger.payloads.each_with_index do |payload, number|
    part = payload.encoding == Encoding::BINARY ? [payload].pack("m0") : payload
    message = { "from" => sender, "number" => number, "part" => part }
    stream = number.even? ? "chat:1" : "chat:ż"
    cable.broadcast(stream, message)
    cable.pubsub.broadcast("raw", payload)
    servers.each_key do |receiver|
      Ledger.expect(receiver, stream, message)
      Ledger.expect(receiver, "raw", payload.b)
    end
  end
end

# The channel by which a server is told to drop the connections of a user.
servers.each_key do |receiver|
  listen(receiver, servers[receiver], "action_cable/user-7") { |message| ActiveSupport::JSON.decode(message) }
  Ledger.expect(receiver, "action_cable/user-7", { "type" => "disconnect" })
end
servers["cable-a"].broadcast("action_cable/user-7", { type: "disconnect" })
# Action Cable hands messages to a pool of threads: their order is not promised, direct or not.
Ledger.settle(ordered: false)
servers.each_value { |cable| cable.pubsub.shutdown }
