# What a story sends and what arrives, by receiver and stream: `ledger.js` for programs in Ruby, and says more.

require "digest"
require "json"

module Ledger
  # Seconds that anything may take that is waited for.
  PATIENCE = 60

  @entries = {}
  @lock = Mutex.new

  class << self
    # The payloads that every story sends: texts in UTF-8, the others binary.
    def payloads
      Dir[File.join(ENV.fetch("PAYLOADS"), "*")].sort.map do |file|
        file.end_with?(".txt") ? File.read(file, encoding: "UTF-8") : File.binread(file)
      end
    end

    # Where a service finds its Redis.
    def redis_of(service)
      ENV.fetch("REDIS_#{service.upcase.tr("-", "_")}").split(":")
    end

    def expect(receiver, stream, value)
      @lock.synchronize { entry(receiver, stream)[:expected] << digest(value) }
    end

    def got(receiver, stream, value)
      @lock.synchronize { entry(receiver, stream)[:got] << digest(value) }
    end

    # Waits until as much has arrived as was sent. What is missing shows in the comparison.
    def arrived
      deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + PATIENCE
      until complete?
        return warn("not everything has arrived") if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
        sleep 0.01 # between two looks at a condition
      end
    end

    # Prints the comparison, and returns when the stage has seen all that it wants to see of the connections. Streams
    # whose order is not promised are compared sorted.
    def settle(ordered: true)
      arrived
      @lock.synchronize do
        @entries.each do |(receiver, stream), entry|
          entry.each_value(&:sort!) unless ordered
          puts JSON.generate({ receiver:, stream:, **entry })
        end
      end
      puts "settled"
      $stdout.flush
      $stdin.read
    end

    private

    def complete?
      @lock.synchronize { @entries.values.all? { |entry| entry[:got].size >= entry[:expected].size } }
    end

    def entry(receiver, stream)
      @entries[[receiver, stream]] ||= { expected: [], got: [] }
    end

    # A value in a few characters: its type, its length in bytes and a digest.
    def digest(value)
      case value
      when String
        kind = value.encoding == Encoding::BINARY ? "binary" : "text"
        "#{kind}:#{value.bytesize}:#{Digest::SHA256.hexdigest(value)[0, 16]}"
      when Hash then "{#{value.sort.map { |name, part| "#{name}=#{digest(part)}" }.join(" ")}}"
      when Array then "[#{value.map { |part| digest(part) }.join(" ")}]"
      else value.inspect
      end
    end
  end
end
