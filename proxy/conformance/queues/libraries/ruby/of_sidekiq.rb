# Sidekiq. It keeps no results: each job leaves its own in a list that is named after it.

require "sidekiq"

redis = { url: ENV.fetch("REDIS_URL") }
Sidekiq.configure_client { |config| config.redis = redis }
Sidekiq.configure_server { |config| config.redis = redis }

class Length
  include Sidekiq::Worker

  def perform(text)
    Sidekiq.redis { |connection| connection.rpush("result:#{jid}", text.length) }
  end
end

def send_jobs(texts)
  jobs = texts.map { |text| Length.perform_async(text) }
  Sidekiq.redis { |connection| jobs.map { |job| result_of(connection, job) } }
end

def result_of(connection, job)
  _, length = connection.blpop("result:#{job}", timeout: 60) || raise("no result of #{job}")
  Integer(length)
end

def work
  exec "sidekiq", "--require", __FILE__, "--concurrency", "2"
end
