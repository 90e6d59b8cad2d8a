import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Scenarios for clients in Java: exact bytes of messages and values, patterns, pipelines, and connections that are cut. Prints
 * {@code pass|fail<TAB>name} for each; what went wrong goes to standard error.
 *
 * <p>Arguments: jedis, lettuce or redisson, and 2 or 3. Environment: REDIS_HOST and REDIS_PORT.
 */
public final class Scenarios {
  private static final long PATIENCE_MS = 30_000;
  private static final int SUBSCRIBERS = 10;

  /** A scenario fails by throwing. What it returns was seen, not expected: it has to be the same direct and through the proxy. */
  private interface Play {
    Object run() throws Exception;
  }

  private final Supplier<KitClient> library;
  private final List<KitClient> opened = new ArrayList<>();
  private final Plain plain;

  private Scenarios(Supplier<KitClient> library, Plain plain) {
    this.library = library;
    this.plain = plain;
  }

  public static void main(String[] arguments) throws Exception {
    String host = System.getenv("REDIS_HOST");
    int port = Integer.parseInt(System.getenv("REDIS_PORT"));
    int resp = Integer.parseInt(arguments[1]);
    Supplier<KitClient> library = switch (arguments[0]) {
      case "jedis" -> () -> new JedisKit(host, port, resp);
      case "lettuce" -> () -> new LettuceKit(host, port, resp);
      case "redisson" -> () -> new RedissonKit(host, port, resp);
      default -> throw new IllegalArgumentException(arguments[0]);
    };
    try (Plain plain = new Plain(host, port)) {
      Scenarios scenarios = new Scenarios(library, plain);
      scenarios.all().forEach(scenarios::play);
    }
    // Whatever a client still waits for.
    System.exit(0);
  }

  private Map<String, Play> all() {
    Map<String, Play> all = new LinkedHashMap<>();
    all.put("the protocol", this::protocol);
    payloads().forEach((name, payload) -> {
      all.put("subscribe, a message: " + name, () -> message(payload, ""));
      all.put("psubscribe, a message: " + name, () -> message(payload, "ne[vw]s*"));
      all.put("a value: " + name, () -> value(payload));
    });
    all.put("2,000 messages in order, in one pipeline", this::inOrder);
    all.put("a channel and patterns of one subscriber: a message each", this::channelAndPatterns);
    all.put(SUBSCRIBERS + " subscribers", this::manySubscribers);
    all.put("1,000 commands in one pipeline", () -> open().addAll("counter", 1_000));
    all.put("a transaction with a message in it", this::transaction);
    all.put("an error", this::failure);
    all.put("a killed subscriber comes back", this::killedSubscriber);
    all.put("a killed client comes back", this::killedClient);
    return all;
  }

  private void play(String name, Play scenario) {
    try {
      plain.ask("FLUSHALL");
      Object seen = scenario.run();
      System.out.println("pass\t" + (seen == null ? name : name + ": " + shown(seen)));
    } catch (Exception | AssertionError error) {
      System.err.println(name + ":");
      error.printStackTrace();
      System.out.println("fail\t" + name);
    } finally {
      opened.forEach(KitClient::close);
      opened.clear();
    }
  }

  private KitClient open() {
    opened.add(library.get());
    return opened.get(opened.size() - 1);
  }

  /** Bytes of every kind, and what looks like the protocol or like a context of a trace. */
  private static Map<String, byte[]> payloads() {
    byte[] every = new byte[256];
    for (int at = 0; at < every.length; at++) {
      every[at] = (byte) at;
    }
    byte[] large = new byte[1 << 20];
    new Random(1).nextBytes(large);
    Map<String, byte[]> all = new LinkedHashMap<>();
    all.put("empty", new byte[0]);
    all.put("one zero byte", new byte[1]);
    all.put("every byte", every);
    all.put("JSON", bytes("{\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\",\"a\":[1,2]}"));
    all.put("line ends", bytes("\r\n\r\n$5\r\nhello\r\n"));
    all.put("an answer of Redis", bytes("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"));
    all.put("a push of Redis", bytes(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"));
    all.put("1 MiB", large);
    all.put("1 MiB of line ends", bytes("\r\n".repeat(1 << 19)));
    return all;
  }

  private Object protocol() throws Exception {
    open().get("nothing");
    Matcher found = Pattern.compile("name=kit .*(resp=\\d)").matcher((String) plain.ask("CLIENT", "LIST"));
    expect("a connection", found.find(), true);
    return found.group(1);
  }

  private Object message(byte[] payload, String pattern) throws Exception {
    KitClient client = open();
    boolean isChannel = pattern.isEmpty();
    Inbox inbox = listen(isChannel ? List.of("news") : List.of(), isChannel ? List.of() : List.of(pattern));
    expect("receivers", client.publish("news", payload), 1L);
    client.publish("news", bytes("that was all"));
    List<KitClient.Message> got = inbox.take(2);
    expect("messages", got.size(), 2);
    expect("pattern and channel", got.get(0).pattern() + " " + got.get(0).channel(), pattern + " news");
    expectBytes(got.get(0).payload(), payload);
    return null;
  }

  private Object value(byte[] payload) throws Exception {
    KitClient client = open();
    client.set("key", payload);
    expectBytes(client.get("key"), payload);
    return plain.ask("STRLEN", "key");
  }

  private Object inOrder() throws Exception {
    KitClient client = open();
    Inbox inbox = listen(List.of("news"), List.of());
    List<byte[]> payloads = new ArrayList<>();
    for (int at = 0; at < 2_000; at++) {
      payloads.add(bytes("message " + at));
    }
    client.publishAll("news", payloads).forEach(receivers -> expect("receivers", receivers, 1L));
    List<KitClient.Message> got = inbox.take(payloads.size());
    for (int at = 0; at < payloads.size(); at++) {
      expectBytes(got.get(at).payload(), payloads.get(at));
    }
    return null;
  }

  private Object channelAndPatterns() throws Exception {
    KitClient client = open();
    Inbox inbox = listen(List.of("news.tech"), List.of("news.*", "n[ae]ws?tech"));
    expect("receivers", client.publish("news.tech", new byte[] {0, 1}), 3L);
    List<KitClient.Message> got = inbox.take(3);
    got.forEach(message -> expectBytes(message.payload(), new byte[] {0, 1}));
    return got.stream().map(message -> message.pattern() + " " + message.channel()).sorted().toList();
  }

  private Object manySubscribers() throws Exception {
    KitClient client = open();
    List<Inbox> all = new ArrayList<>();
    for (int at = 0; at < SUBSCRIBERS; at++) {
      // By the second channel the scenario knows that this one has subscribed to both.
      all.add(listen(List.of("everybody", "only " + at), List.of()));
    }
    expect("receivers", client.publish("everybody", bytes("to all")), (long) SUBSCRIBERS);
    for (Inbox inbox : all) {
      expectBytes(inbox.take(1).get(0).payload(), bytes("to all"));
    }
    return null;
  }

  private Object transaction() throws Exception {
    KitClient client = open();
    Inbox inbox = listen(List.of("news"), List.of());
    List<String> replies = client.transaction("key", "news", bytes("from within"));
    expectBytes(inbox.take(1).get(0).payload(), bytes("from within"));
    expectBytes(client.get("key"), bytes("2"));
    return replies;
  }

  private Object failure() throws Exception {
    plain.ask("RPUSH", "list", "a");
    try {
      return "no error, but " + Arrays.toString(open().get("list"));
    } catch (RuntimeException error) {
      // Some libraries add addresses.
      return String.valueOf(error.getMessage()).replaceAll("(?s)(wrong kind of value).*", "$1");
    }
  }

  private Object killedSubscriber() throws Exception {
    KitClient client = open();
    Inbox inbox = listen(List.of("a"), List.of("b*"));
    client.publish("a", bytes("before"));
    inbox.take(1);
    expect("some are killed", (Long) plain.ask("CLIENT", "KILL", "TYPE", "pubsub") > 0, true);
    subscribed(List.of("a"), List.of("b*"));
    client.publish("a", bytes("after"));
    client.publish("bb", new byte[1]);
    // A library may deliver what came by a pattern on a thread of its own.
    List<KitClient.Message> got = inbox.take(3);
    return got.stream().map(message -> message.pattern() + " " + Arrays.toString(message.payload())).sorted().toList();
  }

  private Object killedClient() throws Exception {
    KitClient client = open();
    client.set("key", bytes("kept"));
    expect("some are killed", (Long) plain.ask("CLIENT", "KILL", "TYPE", "normal") > 0, true);
    List<byte[]> found = new ArrayList<>();
    until("the client is back", () -> {
      try {
        found.add(client.get("key"));
        return true;
      } catch (RuntimeException cut) {
        return false;
      }
    });
    return new String(found.get(0));
  }

  private Inbox listen(List<String> channels, List<String> patterns) throws Exception {
    Inbox inbox = new Inbox();
    open().listen(channels, patterns, inbox::deliver);
    subscribed(channels, patterns);
    return inbox;
  }

  private void subscribed(List<String> channels, List<String> patterns) throws Exception {
    for (String channel : channels) {
      until("subscribed to " + channel, () -> (Long) last(plain.ask("PUBSUB", "NUMSUB", channel)) > 0);
    }
    until("subscribed to patterns", () -> (Long) plain.ask("PUBSUB", "NUMPAT") >= patterns.size());
  }

  private static Object last(Object reply) {
    List<?> all = (List<?>) reply;
    return all.get(all.size() - 1);
  }

  /** What a subscriber has got. */
  private static final class Inbox {
    private final List<KitClient.Message> messages = new ArrayList<>();

    synchronized void deliver(KitClient.Message message) {
      messages.add(message);
      notifyAll();
    }

    /** Waits for so many, and gives all that there are. */
    synchronized List<KitClient.Message> take(int count) throws InterruptedException {
      long deadline = System.currentTimeMillis() + PATIENCE_MS;
      while (messages.size() < count) {
        long left = deadline - System.currentTimeMillis();
        if (left <= 0) {
          throw new AssertionError(messages.size() + " messages instead of " + count);
        }
        wait(left);
      }
      return List.copyOf(messages);
    }
  }

  /** Asks every few milliseconds until the condition holds. */
  private static void until(String what, Callable<Boolean> condition) throws Exception {
    long deadline = System.currentTimeMillis() + PATIENCE_MS;
    while (!condition.call()) {
      if (System.currentTimeMillis() > deadline) {
        throw new AssertionError("waited in vain: " + what);
      }
      Thread.sleep(5);
    }
  }

  private static void expect(String what, Object found, Object expected) {
    if (!found.equals(expected)) {
      throw new AssertionError(what + ": found " + found + ", expected " + expected);
    }
  }

  private static void expectBytes(byte[] found, byte[] expected) {
    int difference = Arrays.mismatch(found, expected);
    if (difference >= 0) {
      throw new AssertionError(found.length + " bytes instead of " + expected.length + ", different from " + difference);
    }
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  /** One line of printable text; a digest stands for what is longer than a person reads. */
  private static String shown(Object seen) throws Exception {
    StringBuilder text = new StringBuilder();
    for (char letter : seen.toString().toCharArray()) {
      text.append(letter < ' ' || letter > '~' ? String.format("\\u%04x", (int) letter) : String.valueOf(letter));
    }
    if (text.length() <= 200) {
      return text.toString();
    }
    byte[] digest = MessageDigest.getInstance("SHA-256").digest(bytes(text.toString()));
    return text.substring(0, 200) + "... " + new BigInteger(1, digest).toString(16);
  }
}
