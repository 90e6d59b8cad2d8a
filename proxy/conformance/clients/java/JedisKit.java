import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import redis.clients.jedis.BinaryJedisPubSub;
import redis.clients.jedis.ConnectionPoolConfig;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.JedisClientConfig;
import redis.clients.jedis.JedisPooled;
import redis.clients.jedis.PipeliningBase;
import redis.clients.jedis.Protocol.Command;
import redis.clients.jedis.RedisProtocol;
import redis.clients.jedis.Response;
import redis.clients.jedis.exceptions.JedisConnectionException;

final class JedisKit implements KitClient {
  private final HostAndPort server;
  private final JedisClientConfig config;
  private final JedisPooled pool;
  private final List<Jedis> listening = new ArrayList<>();
  private volatile boolean isClosed;

  JedisKit(String host, int port, int resp) {
    server = new HostAndPort(host, port);
    RedisProtocol protocol = resp == 3 ? RedisProtocol.RESP3 : RedisProtocol.RESP2;
    config = DefaultJedisClientConfig.builder().protocol(protocol).clientName("kit").build();
    ConnectionPoolConfig one = new ConnectionPoolConfig();
    one.setMaxTotal(1);
    pool = new JedisPooled(one, server, config);
  }

  @Override
  public void set(String key, byte[] value) {
    pool.set(bytes(key), value);
  }

  @Override
  public byte[] get(String key) {
    return pool.get(bytes(key));
  }

  @Override
  public long publish(String channel, byte[] payload) {
    return pool.publish(bytes(channel), payload);
  }

  @Override
  public List<Long> publishAll(String channel, List<byte[]> payloads) {
    List<Response<Object>> replies = new ArrayList<>();
    try (var pipeline = pool.pipelined()) {
      payloads.forEach(payload -> replies.add(publish(pipeline, channel, payload)));
      pipeline.sync();
    }
    return replies.stream().map(reply -> (Long) reply.get()).toList();
  }

  @Override
  public List<Long> addAll(String key, int count) {
    List<Response<Long>> replies = new ArrayList<>();
    try (var pipeline = pool.pipelined()) {
      for (int at = 0; at < count; at++) {
        replies.add(pipeline.incrBy(key, at));
      }
      pipeline.sync();
    }
    return replies.stream().map(Response::get).toList();
  }

  @Override
  public List<String> transaction(String key, String channel, byte[] payload) {
    try (var transaction = pool.multi()) {
      transaction.set(key, "1");
      publish(transaction, channel, payload);
      transaction.incr(key);
      return transaction.exec().stream().map(String::valueOf).toList();
    }
  }

  private static Response<Object> publish(PipeliningBase pipeline, String channel, byte[] payload) {
    return pipeline.sendCommand(Command.PUBLISH, bytes(channel), payload);
  }

  @Override
  public void listen(List<String> channels, List<String> patterns, Consumer<Message> deliver) {
    Thread thread = new Thread(() -> {
      while (!isClosed) {
        try (Jedis jedis = new Jedis(server, config)) {
          synchronized (listening) {
            listening.add(jedis);
          }
          receive(jedis, channels, patterns, deliver);
        } catch (JedisConnectionException cut) {
          // It was cut, or this is closed: the loop tells.
        }
      }
    });
    thread.setDaemon(true);
    thread.start();
  }

  private static void receive(Jedis jedis, List<String> channels, List<String> patterns, Consumer<Message> deliver) {
    byte[][] globs = patterns.stream().map(JedisKit::bytes).toArray(byte[][]::new);
    BinaryJedisPubSub subscription = new BinaryJedisPubSub() {
      @Override
      public void onSubscribe(byte[] channel, int count) {
        if (globs.length > 0 && count == channels.size()) {
          psubscribe(globs);
        }
      }

      @Override
      public void onMessage(byte[] channel, byte[] payload) {
        deliver.accept(new Message("", text(channel), payload));
      }

      @Override
      public void onPMessage(byte[] pattern, byte[] channel, byte[] payload) {
        deliver.accept(new Message(text(pattern), text(channel), payload));
      }
    };
    if (channels.isEmpty()) {
      jedis.psubscribe(subscription, globs);
    } else {
      jedis.subscribe(subscription, channels.stream().map(JedisKit::bytes).toArray(byte[][]::new));
    }
  }

  @Override
  public void close() {
    isClosed = true;
    synchronized (listening) {
      listening.forEach(Jedis::disconnect);
    }
    pool.close();
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.UTF_8);
  }
}
