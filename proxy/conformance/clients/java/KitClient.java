import java.util.List;
import java.util.function.Consumer;

/** A library under test, with connections of its own, all by the name {@code kit}. */
interface KitClient extends AutoCloseable {
  /** What a subscriber gets. The pattern is empty for a message of a channel. */
  record Message(String pattern, String channel, byte[] payload) {}

  void set(String key, byte[] value);

  byte[] get(String key);

  /** The number of receivers. */
  long publish(String channel, byte[] payload);

  /** Publishes all payloads in one pipeline. */
  List<Long> publishAll(String channel, List<byte[]> payloads);

  /** Adds 0, 1, 2 and so on to a number in one pipeline, and gives what it was after each. */
  List<Long> addAll(String key, int count);

  /** Between MULTI and EXEC: sets the key to 1, publishes, and adds 1. */
  List<String> transaction(String key, String channel, byte[] payload);

  /** Subscribes until this is closed, and again when the connection was cut. */
  void listen(List<String> channels, List<String> patterns, Consumer<Message> deliver);

  @Override
  void close();
}
