import io.lettuce.core.ClientOptions;
import io.lettuce.core.LettuceFutures;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisFuture;
import io.lettuce.core.RedisURI;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.codec.ByteArrayCodec;
import io.lettuce.core.protocol.ProtocolVersion;
import io.lettuce.core.pubsub.RedisPubSubAdapter;
import io.lettuce.core.pubsub.StatefulRedisPubSubConnection;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;

final class LettuceKit implements KitClient {
  private final RedisClient client;
  private final StatefulRedisConnection<byte[], byte[]> connection;

  LettuceKit(String host, int port, int resp) {
    client = RedisClient.create(RedisURI.builder().withHost(host).withPort(port).withClientName("kit").build());
    ProtocolVersion version = resp == 3 ? ProtocolVersion.RESP3 : ProtocolVersion.RESP2;
    client.setOptions(ClientOptions.builder().protocolVersion(version).build());
    connection = client.connect(ByteArrayCodec.INSTANCE);
  }

  @Override
  public void set(String key, byte[] value) {
    connection.sync().set(bytes(key), value);
  }

  @Override
  public byte[] get(String key) {
    return connection.sync().get(bytes(key));
  }

  @Override
  public long publish(String channel, byte[] payload) {
    return connection.sync().publish(bytes(channel), payload);
  }

  @Override
  public List<Long> publishAll(String channel, List<byte[]> payloads) {
    return pipelined(payloads, payload -> connection.async().publish(bytes(channel), payload));
  }

  @Override
  public List<Long> addAll(String key, int count) {
    List<Integer> numbers = new ArrayList<>();
    for (int at = 0; at < count; at++) {
      numbers.add(at);
    }
    return pipelined(numbers, number -> connection.async().incrby(bytes(key), number));
  }

  private <T> List<Long> pipelined(List<T> all, Function<T, RedisFuture<Long>> send) {
    connection.setAutoFlushCommands(false);
    List<RedisFuture<Long>> replies = all.stream().map(send).toList();
    connection.flushCommands();
    connection.setAutoFlushCommands(true);
    LettuceFutures.awaitAll(Duration.ofSeconds(30), replies.toArray(RedisFuture[]::new));
    List<Long> found = new ArrayList<>();
    for (RedisFuture<Long> reply : replies) {
      try {
        found.add(reply.get());
      } catch (InterruptedException | ExecutionException error) {
        throw new IllegalStateException(error);
      }
    }
    return found;
  }

  @Override
  public List<String> transaction(String key, String channel, byte[] payload) {
    connection.sync().multi();
    connection.async().set(bytes(key), bytes("1"));
    connection.async().publish(bytes(channel), payload);
    connection.async().incr(bytes(key));
    return connection.sync().exec().stream().map(String::valueOf).toList();
  }

  @Override
  public void listen(List<String> channels, List<String> patterns, Consumer<Message> deliver) {
    StatefulRedisPubSubConnection<byte[], byte[]> subscription = client.connectPubSub(ByteArrayCodec.INSTANCE);
    subscription.addListener(new RedisPubSubAdapter<>() {
      @Override
      public void message(byte[] channel, byte[] payload) {
        deliver.accept(new Message("", text(channel), payload));
      }

      @Override
      public void message(byte[] pattern, byte[] channel, byte[] payload) {
        deliver.accept(new Message(text(pattern), text(channel), payload));
      }
    });
    if (!channels.isEmpty()) {
      subscription.sync().subscribe(channels.stream().map(LettuceKit::bytes).toArray(byte[][]::new));
    }
    if (!patterns.isEmpty()) {
      subscription.sync().psubscribe(patterns.stream().map(LettuceKit::bytes).toArray(byte[][]::new));
    }
  }

  @Override
  public void close() {
    client.shutdown(0, 2, TimeUnit.SECONDS);
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.UTF_8);
  }
}
