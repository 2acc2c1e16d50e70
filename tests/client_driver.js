// Many clients in one process, for the tests: the same in Node and in a browser. Every function is called by its name,
// with values of JSON, and returns such a value.

let clients = [];
let said = [];

/**
 * Connect so many clients, have each join one of the conferences, and return how many could; `drawn` is what every draw
 * gives, where that is not left to chance; `tokens` are those that a hello after the other proves an account with.
 */
export async function begin(url, count, conferences, { drawn, tokens, ...options }) {
  const { Client } = await library;
  if (tokens) options.token = async () => tokens.shift();
  if (drawn !== undefined) options.random = () => drawn;
  clients = Array.from({ length: count }, (_, place) => {
    const client = new Client(url, { account: `user-${place}`, device: "tests", ...options });
    for (const event of ["lost", "ended", "welcome", "removed", "closing", "queued"]) {
      client.on(event, (value) => said.push({ client: place, event, value: plain(value) }));
    }
    return client;
  });
  const joined = await Promise.allSettled(clients.map(async (client, place) => {
    await client.connect();
    if (conferences) await client.join(`conference-${place % conferences}`);
  }));
  const fault = joined.find((each) => each.status === "rejected");
  if (fault) throw fault.reason;
  return joined.length;
}

/** What the clients believe: how many are connected, and their memberships and seats. */
export function held() {
  return {
    connected: clients.filter((client) => client.connected).length,
    members: clients.reduce((sum, client) => sum + client.conferences.size, 0),
    seats: clients.reduce((sum, client) => sum + client.seats.length, 0),
    asleep: clients.filter((client) => client.asleep).length,
    ended: clients.filter((client) => client.end).length,
    latency: clients[0]?.latency !== undefined,
  };
}

/** Have one client do something; its answer, or the fault. */
export async function ask(place, method, ...given) {
  try {
    return { answer: (await clients[place][method](...given)) ?? null };
  } catch (fault) {
    return { fault: fault.name, ...plain(fault) };
  }
}

/** Send so many requests at once; how many were answered by what. */
export async function flood(place, count) {
  const answers = await Promise.allSettled(Array.from({ length: count }, () => clients[place].wake()));
  return answers.filter((each) => each.status === "fulfilled" && each.value.type === "awake").length;
}

/** What was heard since the last call. */
export function heard() {
  return said.splice(0);
}

/** Whether a client comes back after each of these ends. */
export async function comesBack(ends) {
  const module = await library;
  return ends.map((end) => module.comesBack(end));
}

/** End all sessions in order. */
export async function end() {
  await Promise.all(clients.map((client) => client.bye()));
  return clients.length;
}

function plain(value) {
  return JSON.parse(JSON.stringify({ ...value, error: value?.error?.message }));
}

const library = import(globalThis.CLIENT);
