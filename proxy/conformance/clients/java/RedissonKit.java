import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.redisson.Redisson;
import org.redisson.api.BatchOptions;
import org.redisson.api.BatchOptions.ExecutionMode;
import org.redisson.api.RBatch;
import org.redisson.api.RedissonClient;
import org.redisson.client.codec.ByteArrayCodec;
import org.redisson.config.Config;
import org.redisson.config.Protocol;

final class RedissonKit implements KitClient {
  private static final ByteArrayCodec CODEC = ByteArrayCodec.INSTANCE;

  private final RedissonClient client;

  RedissonKit(String host, int port, int resp) {
    Config config = new Config();
    config.setProtocol(resp == 3 ? Protocol.RESP3 : Protocol.RESP2);
    config.useSingleServer()
        .setAddress("redis://" + host + ":" + port)
        .setClientName("kit")
        .setConnectionMinimumIdleSize(1)
        .setConnectionPoolSize(1)
        .setSubscriptionConnectionMinimumIdleSize(1)
        .setSubscriptionConnectionPoolSize(1);
    client = Redisson.create(config);
  }

  @Override
  public void set(String key, byte[] value) {
    client.getBucket(key, CODEC).set(value);
  }

  @Override
  public byte[] get(String key) {
    return client.<byte[]>getBucket(key, CODEC).get();
  }

  @Override
  public long publish(String channel, byte[] payload) {
    return client.getTopic(channel, CODEC).publish(payload);
  }

  @Override
  public List<Long> publishAll(String channel, List<byte[]> payloads) {
    RBatch batch = client.createBatch();
    payloads.forEach(payload -> batch.getTopic(channel, CODEC).publishAsync(payload));
    return numbers(batch);
  }

  @Override
  public List<Long> addAll(String key, int count) {
    RBatch batch = client.createBatch();
    for (int at = 0; at < count; at++) {
      batch.getAtomicLong(key).addAndGetAsync(at);
    }
    return numbers(batch);
  }

  private static List<Long> numbers(RBatch batch) {
    return batch.execute().getResponses().stream().map(reply -> ((Number) reply).longValue()).toList();
  }

  @Override
  public List<String> transaction(String key, String channel, byte[] payload) {
    RBatch batch = client.createBatch(BatchOptions.defaults().executionMode(ExecutionMode.REDIS_WRITE_ATOMIC));
    batch.getBucket(key, CODEC).setAsync("1".getBytes(StandardCharsets.UTF_8));
    batch.getTopic(channel, CODEC).publishAsync(payload);
    batch.getAtomicLong(key).incrementAndGetAsync();
    return batch.execute().getResponses().stream().map(String::valueOf).toList();
  }

  @Override
  public void listen(List<String> channels, List<String> patterns, Consumer<Message> deliver) {
    for (String name : channels) {
      client.getTopic(name, CODEC).addListener(byte[].class,
          (channel, payload) -> deliver.accept(new Message("", channel.toString(), payload)));
    }
    for (String name : patterns) {
      client.getPatternTopic(name, CODEC).addListener(byte[].class,
          (pattern, channel, payload) -> deliver.accept(new Message(pattern.toString(), channel.toString(), payload)));
    }
  }

  @Override
  public void close() {
    client.shutdown(0, 2, TimeUnit.SECONDS);
  }
}
