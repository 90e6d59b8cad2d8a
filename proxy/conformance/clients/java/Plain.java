import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** A connection of the scenarios' own, in RESP2, which asks Redis about the clients. */
final class Plain implements AutoCloseable {
  private final Socket socket;
  private final InputStream input;

  Plain(String host, int port) throws IOException {
    socket = new Socket(host, port);
    input = new BufferedInputStream(socket.getInputStream());
  }

  /** The reply: a Long, a String or a List. An error is a String that begins with its minus sign. */
  Object ask(String... words) throws IOException {
    ByteArrayOutputStream request = new ByteArrayOutputStream();
    request.writeBytes(("*" + words.length + "\r\n").getBytes(StandardCharsets.UTF_8));
    for (String word : words) {
      byte[] bytes = word.getBytes(StandardCharsets.UTF_8);
      request.writeBytes(("$" + bytes.length + "\r\n").getBytes(StandardCharsets.UTF_8));
      request.writeBytes(bytes);
      request.writeBytes("\r\n".getBytes(StandardCharsets.UTF_8));
    }
    OutputStream output = socket.getOutputStream();
    output.write(request.toByteArray());
    output.flush();
    return reply();
  }

  private Object reply() throws IOException {
    String line = line();
    String rest = line.substring(1);
    switch (line.charAt(0)) {
      case ':':
        return Long.valueOf(rest);
      case '$':
        byte[] bytes = input.readNBytes(Integer.parseInt(rest));
        line();
        return new String(bytes, StandardCharsets.UTF_8);
      case '*':
        List<Object> all = new ArrayList<>();
        for (int left = Integer.parseInt(rest); left > 0; left--) {
          all.add(reply());
        }
        return all;
      case '+':
        return rest;
      default:
        return line;
    }
  }

  private String line() throws IOException {
    StringBuilder text = new StringBuilder();
    for (int next = input.read(); next != '\n'; next = input.read()) {
      if (next < 0) {
        throw new IOException("the connection has ended");
      }
      text.append((char) next);
    }
    return text.substring(0, text.length() - 1);
  }

  @Override
  public void close() throws IOException {
    socket.close();
  }
}
