// Subscribes, publishes and hears itself, over WebSocket at the URL given.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import mqtt from "mqtt";

const client = await mqtt.connectAsync(process.argv[1], { reconnectPeriod: 0 });

/** The first message of a topic that nothing else is heard from meanwhile. */
async function hear(topic, qos, act) {
  const [grant] = await client.subscribeAsync(topic, { qos });
  assert.equal(grant.qos, qos);
  const heard = once(client, "message");
  await act();
  const [from, payload, packet] = await heard;
  assert.equal(from, topic);
  await client.unsubscribeAsync(topic);
  return { payload, packet };
}

for (const qos of [0, 1, 2]) {
  const { payload, packet } = await hear(`own/${qos}`, qos, () =>
    client.publishAsync(`own/${qos}`, `message ${qos}`, { qos }),
  );
  assert.equal(payload.toString(), `message ${qos}`);
  assert.equal(packet.qos, qos);
}

const large = randomBytes(1_000_000);
const { payload } = await hear("large", 1, () => client.publishAsync("large", large, { qos: 1 }));
assert.ok(payload.equals(large), `${payload.length} bytes`);

const native = once(client, "message");
await client.subscribeAsync("from/native", { qos: 1 });
assert.equal((await native)[1].toString(), "by TCP, ß");
await client.publishAsync("from/script", "by WebSocket, ß", { qos: 1, retain: true });

await client.endAsync();
