// Writes and reads a table through the gateway at the HOST:PORT given.
import assert from "node:assert/strict";
import { Client, neonConfig } from "@neondatabase/serverless";
import ws from "ws";

neonConfig.webSocketConstructor = ws;
// The driver appends `?address=HOST:PORT`;
// the gateway ignores it, because the route names the upstream.
neonConfig.wsProxy = `${process.argv[1]}/pg`;
neonConfig.useSecureWebSocket = false;
neonConfig.pipelineTLS = false;
neonConfig.pipelineConnect = false;

/** A connection, once the database says no longer that it is starting up. */
async function connected() {
  for (;;) {
    const client = new Client("postgres://postgres@database.example/postgres");
    try {
      await client.connect();
      return client;
    } catch (error) {
      if (error.code !== "57P03") throw error;
    }
  }
}

const client = await connected();
await client.query("create table notes (id serial primary key, note text not null, size int)");
const notes = ["plain", "ß, 世界, 'quoted'", "", "x".repeat(1_000_000)];
for (const note of notes) {
  await client.query("insert into notes (note, size) values ($1, $2)", [note, note.length]);
}
const { rows } = await client.query("select note, size from notes order by id");
assert.deepEqual(rows, notes.map((note) => ({ note, size: note.length })));

await assert.rejects(client.query("select * from nowhere"), { code: "42P01" });
const { rows: sums } = await client.query("select sum(n)::int from generate_series(1, 10000) n");
assert.deepEqual(sums, [{ sum: 50_005_000 }]);
await client.end();
