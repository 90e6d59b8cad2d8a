// What a scenario gets to work with: connections of the client under test, all closed when the scenario is over.
"use strict";

class Stage {
  constructor(open, traits) {
    this.openConnection = open;
    this.connections = [];
    /** What the client can do: `commandsWhileSubscribed`, `caches`. */
    this.traits = traits;
  }

  /** A new connection. Options: username, password, database, name, caching. */
  async open(options) {
    const connection = await this.openConnection(options);
    this.connections.push(connection);
    return connection;
  }

  /** A connection to a server without keys. */
  async empty() {
    const connection = await this.open();
    await connection.call("FLUSHALL");
    return connection;
  }

  /** Subscribes a new connection and gives the list that its messages go to, with the connection as `connection`. */
  async listen(kind, ...names) {
    const messages = [];
    messages.connection = await this.open();
    for (const name of names) await messages.connection.subscribe(kind, name, (message) => messages.push(message));
    return messages;
  }

  async close() {
    for (const connection of this.connections) await connection.close();
  }
}

/** Plays the scenarios, then ends the program, whatever a client still waits for. */
function play(run, open, traits) {
  run(() => new Stage(open, traits)).then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

module.exports = { play };
