// What the client promises, with a socket that the test plays and a clock that it moves. Run by test_client.py with `node --test`.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { pathToFileURL } from "node:url";

const { Alyx, AlyxError, comparator, compareText } = await import(pathToFileURL(process.env.ALYX_CLIENT));

class Wire {
  static all = [];
  readyState = 0;
  sent = [];
  constructor(url) { this.url = url; Wire.all.push(this); }
  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.readyState = 3; }
  open(clientId = "c1") { this.readyState = 1; return this.hear({ type: "connected", payload: { client_id: clientId, protocol: 1 } }); }
  async hear(...messages) { for (const each of messages) this.onmessage({ data: JSON.stringify(each) }); await settle(); }
  async drop(code) { this.readyState = 3; this.onclose({ code }); await settle(); }
  of(type) { return this.sent.filter((each) => each.type === type); }
}
const settle = () => new Promise((done) => setImmediate(done));
const pass = async (ms) => { mock.timers.tick(ms); await settle(); };
const snapshot = (id, docs, cursor = "a.1", more = {}) =>
  ({ id, type: "snapshot", payload: { subscription_id: `s${id}`, docs, total: docs.length, cursor, ...more } });
const delta = (id, changes, cursor) => ({ type: "delta", payload: { subscription_id: `s${id}`, changes, cursor } });
const refusal = (id, code) => ({ id, type: "error", payload: { code, message: "No." } });
const jwt = (seconds) => `x.${Buffer.from(JSON.stringify({ exp: Date.now() / 1000 + seconds })).toString("base64url")}.y`;
const client = (options = {}) => (alyx = new Alyx("http://127.0.0.1:1", { WebSocket: Wire, ...options }));
const random = Math.random;
let alyx;

beforeEach(() => { mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_800_000_000_000 }); Wire.all = []; Math.random = () => 0.5; });
afterEach(() => { alyx?.close(); mock.timers.reset(); mock.restoreAll(); Math.random = random; });

async function subscribed(options = {}, question = {}) {
  const heard = [], failed = [];
  client(options);
  const list = alyx.subscribe("posts", question, (docs, changes) => heard.push({ docs, changes }), (error) => failed.push(error));
  const wire = Wire.all.at(-1);
  await wire.open();
  return { list, heard, failed, wire };
}

// --- order ------------------------------------------------------------------------------------------------------------------------

test("texts are ordered by code point", () => {
  const texts = ["\u{1F600}", "ｆ", "é", "é", "a", "", "ab", "Z", "\u{10FFFF}", "\uE000", "\uFFFD", "\u{1F601}", "a\u{1F600}", "aｆ"];
  const points = (text) => [...text].map((each) => each.codePointAt(0));
  const byPoints = (a, b) => {
    const [x, y] = [points(a), points(b)], i = x.findIndex((point, at) => point !== y[at]);
    return i < 0 ? x.length - y.length : (x[i] ?? -1) - (y[i] ?? -1);
  };
  for (const a of texts) for (const b of texts) assert.equal(Math.sign(compareText(a, b)), Math.sign(byPoints(a, b)), `${a} ${b}`);
});

test("nulls come first ascending and last descending, and the key goes the way of the last key", () => {
  const docs = [{ id: "1", n: null }, { id: "2", n: 2 }, { id: "3", n: 10 }, { id: "4", n: 2 }];
  const ids = (sort) => [...docs].sort(comparator(sort)).map((doc) => doc.id).join("");
  assert.equal(ids("n"), "1243");
  assert.equal(ids("-n"), "3421");
  assert.equal(ids(["-n", "id"]), "3241");
  assert.equal(ids(undefined), "1234");
});

test("decimals are compared exactly, bools as false before true, and json members numbers before texts", () => {
  const sorted = (values, options, sort = "v") => values.map((v, i) => ({ id: i, v })).sort(comparator(sort, options)).map((doc) => doc.v);
  assert.deepEqual(sorted(["10.50", "9.50", "-1.00", "9007199254740993.00", "9007199254740992.00"], { decimals: ["v"] }),
    ["-1.00", "9.50", "10.50", "9007199254740992.00", "9007199254740993.00"]);
  assert.deepEqual(sorted([true, false, null], {}), [null, false, true]);
  const deep = [{ id: 1, m: { k: "a" } }, { id: 2, m: { k: 5 } }, { id: 3, m: {} }, { id: 4, m: null }].sort(comparator("m.k"));
  assert.deepEqual(deep.map((doc) => doc.id), [3, 4, 2, 1]);
  assert.deepEqual([{ slug: "b" }, { slug: "a" }].sort(comparator("", { key: "slug" })), [{ slug: "a" }, { slug: "b" }]);
});

// --- applying -----------------------------------------------------------------------------------------------------------------------

test("a question goes out as it was asked, and its documents stay in its order", async () => {
  const { list, heard, wire } = await subscribed({}, { filter: { n: { $gt: 0 } }, sort: "-n", limit: 3, decimals: [], key: "id" });
  assert.equal(wire.url, "ws://127.0.0.1:1/api/realtime");
  assert.deepEqual(wire.sent, [{ id: "1", type: "subscribe", payload: { collection: "posts", filter: { n: { $gt: 0 } }, sort: "-n", limit: 3 } }]);
  await wire.hear(snapshot("1", [{ id: "a", n: 3 }, { id: "b", n: 1 }]));
  await wire.hear(delta("1", { inserts: [{ id: "c", n: 2 }], updates: [{ id: "b", n: 9 }] }, "a.2"));
  assert.deepEqual(list.docs.map((doc) => doc.id), ["b", "a", "c"]);
  await wire.hear(delta("1", { deletes: ["a", "nobody"], inserts: [{ id: "c", n: 4 }] }, "a.3"));
  assert.deepEqual(list.docs, [{ id: "b", n: 9 }, { id: "c", n: 4 }]);
  assert.deepEqual(heard.map((each) => Object.keys(each.changes)), [["snapshot"], ["inserts", "updates"], ["deletes", "inserts"]]);
});

test("a row that is deleted and inserted in one delta stays", async () => {
  const { list, wire } = await subscribed();
  await wire.hear(snapshot("1", [{ id: "a", n: 1 }]), delta("1", { deletes: ["a"], inserts: [{ id: "a", n: 2 }] }, "a.2"));
  assert.deepEqual(list.docs, [{ id: "a", n: 2 }]);
});

test("a fault in the page's own function stops nothing", async () => {
  client();
  const thrown = [];
  mock.method(globalThis, "queueMicrotask", (action) => { try { action(); } catch (error) { thrown.push(error.message); } });
  const list = alyx.subscribe("posts", {}, () => { throw new Error("page"); });
  await Wire.all[0].open();
  await Wire.all[0].hear(snapshot("1", []), delta("1", { inserts: [{ id: "a" }] }, "a.2"));
  assert.deepEqual(list.docs, [{ id: "a" }]);
  assert.deepEqual(thrown, ["page", "page"]);
});

// --- coming back --------------------------------------------------------------------------------------------------------------------

test("after a lost connection each subscription resumes from its own cursor and keeps its documents", async () => {
  const { list, heard, wire } = await subscribed();
  alyx.subscribe("users", {}, () => {});
  await wire.hear(snapshot("1", [{ id: "a" }], "e.1"), snapshot("2", [], "e.7"), delta("1", { inserts: [{ id: "b" }] }, "e.9"));
  await wire.drop(1006);
  assert.equal(alyx.status, "waiting");
  await pass(125);
  const next = Wire.all[1];
  await next.open();
  assert.deepEqual(next.sent.map((each) => [each.id, each.payload.collection, each.payload.since]), [["1", "posts", "e.9"], ["2", "users", "e.7"]]);
  await next.hear({ id: "1", type: "resumed", payload: { subscription_id: "new", cursor: "e.9" } });
  await next.hear({ type: "delta", payload: { subscription_id: "new", changes: { deletes: ["a"] }, cursor: "e.10" } });
  assert.deepEqual(list.docs, [{ id: "b" }]);
  assert.equal(heard.length, 3);
  await next.hear(snapshot("1", [{ id: "z" }], "f.1", { reset: true }));
  assert.deepEqual(list.docs, [{ id: "z" }]);
  assert.deepEqual(heard.at(-1).changes, { snapshot: true, reset: true });
});

test("a snapshot that comes by itself is for the subscription that it names", async () => {
  const { list, wire } = await subscribed();
  await wire.hear(snapshot("1", [{ id: "a" }]));
  await wire.hear({ type: "snapshot", payload: { subscription_id: "s1", docs: [], total: 0, cursor: "b.1", reset: true } });
  assert.deepEqual(list.docs, []);
});

test("what an old connection still says is not heard", async () => {
  const { list, wire } = await subscribed();
  await wire.hear(snapshot("1", [{ id: "a" }]));
  await wire.drop(1006);
  await wire.hear(delta("1", { deletes: ["a"] }, "a.2"), snapshot("1", []));
  assert.deepEqual(list.docs, [{ id: "a" }]);
});

test("waits are random and grow from 0.25 to 15 seconds, and a connection that held starts them anew", async () => {
  await subscribed();
  const waits = [];
  const next = async (code) => {
    const count = Wire.all.length;
    let waited = 0;
    await Wire.all.at(-1).drop(code);
    while (Wire.all.length === count) { await pass(125); waited += 125; }
    waits.push(waited);
  };
  for (let i = 0; i < 9; i++) await next(1006);
  assert.deepEqual(waits, [125, 250, 500, 1000, 2000, 4000, 7500, 7500, 7500]);
  await Wire.all.at(-1).open();
  await pass(5_000);
  await next(1006);
  assert.equal(waits.at(-1), 125);
});

test("a restart is met within a second, a slow line at once, and too many clients come back late", async () => {
  const waited = async (code) => {
    const { wire } = await subscribed();
    const count = Wire.all.length;
    await wire.drop(code);
    let ms = 0;
    for (; Wire.all.length === count; ms += 100) await pass(ms && 100);
    alyx.close();
    return ms - 100;
  };
  assert.equal(await waited(4408), 0);
  assert.equal(await waited(1001), 500);
  assert.equal(await waited(4429), 22_500);
});

test("a client that is always too slow does not come back in a circle without rest", async () => {
  const { wire } = await subscribed();
  await wire.drop(4408);
  await pass(0);
  await Wire.all[1].open();
  await Wire.all[1].drop(4408);
  await pass(0);
  assert.equal(Wire.all.length, 2);
  await pass(250);
  assert.equal(Wire.all.length, 3);
});

test("a quiet line is asked whether it is alive, and a dead one is left", async () => {
  const { wire } = await subscribed();
  await pass(25_000);
  assert.equal(wire.of("ping").length, 1);
  await wire.hear({ type: "pong" });
  await pass(25_000);
  assert.equal(wire.of("ping").length, 2);
  await pass(10_000);
  assert.equal(wire.readyState, 3);
  await pass(125);
  assert.equal(Wire.all.length, 2);
});

test("a connection that never opens is given up", async () => {
  client();
  alyx.subscribe("posts", {}, () => {});
  await pass(15_000);
  await pass(125);
  assert.equal(Wire.all.length, 2);
});

test("nothing is connected before something is wanted, nor when nothing is wanted any more", async () => {
  client();
  assert.equal(Wire.all.length, 0);
  const list = alyx.subscribe("posts", {}, () => {});
  await Wire.all[0].open();
  await Wire.all[0].hear(snapshot("1", []));
  list.close();
  assert.deepEqual(Wire.all[0].of("unsubscribe").map((each) => each.payload), [{ subscription_id: "s1" }]);
  await Wire.all[0].drop(1006);
  await pass(20_000);
  assert.equal(Wire.all.length, 1);
  alyx.subscribe("posts", {}, () => {});
  assert.equal(Wire.all.length, 2);
});

test("a subscription that is closed before its answer is ended when the answer comes", async () => {
  const { list, heard, wire } = await subscribed();
  list.close();
  await wire.hear(snapshot("1", [{ id: "a" }]));
  assert.deepEqual(wire.of("unsubscribe").map((each) => each.payload), [{ subscription_id: "s1" }]);
  assert.equal(heard.length, 0);
});

// --- refusals -----------------------------------------------------------------------------------------------------------------------

test("a subscription that the server refuses is over, also after a reconnect", async () => {
  const { failed, wire } = await subscribed();
  await wire.hear(refusal("1", "INVALID_FILTER"));
  assert.ok(failed[0] instanceof AlyxError);
  assert.deepEqual([failed[0].code, failed[0].message, failed[0].passing], ["INVALID_FILTER", "No.", false]);
  await wire.drop(1006);
  await pass(20_000);
  assert.equal(Wire.all.length, 1);
});

test("a live one that grows too large ends by the error that names it", async () => {
  const { failed, wire } = await subscribed();
  await wire.hear(snapshot("1", []), { type: "error", payload: { subscription_id: "s1", code: "RESULT_TOO_LARGE", message: "No." } });
  assert.equal(failed[0].code, "RESULT_TOO_LARGE");
});

test("a refusal that passes is asked again, once", async () => {
  const { failed, wire } = await subscribed();
  await wire.hear(refusal("1", "RATE_LIMITED"));
  assert.equal(failed[0].passing, true);
  assert.equal(wire.of("subscribe").length, 1);
  await pass(3_000);
  assert.equal(wire.of("subscribe").length, 2);
  await wire.hear(refusal("1", "OVERLOADED"));
  await wire.drop(1006);
  await pass(125);
  await Wire.all[1].open();
  await pass(10_000);
  assert.equal(Wire.all[1].of("subscribe").length, 1);
});

test("what was dropped unread is asked again, and what was answered is not", async () => {
  const { wire } = await subscribed({ onError: () => {} });
  alyx.subscribe("users", {}, () => {}, () => {});
  alyx.subscribe("tags", {}, () => {}, () => {});
  await wire.hear(snapshot("1", []), { type: "error", payload: { code: "RATE_LIMITED", message: "Too many." } }, snapshot("3", []));
  await pass(3_000);
  assert.deepEqual(wire.of("subscribe").map((each) => each.payload.collection), ["posts", "users", "tags", "users"]);
});

test("a question that was asked twice is held once, and nothing is called back once it is closed", async () => {
  const { list, heard, wire } = await subscribed({ onError: () => {} });
  const answer = (live, docs) => ({ id: "1", type: "snapshot", payload: { subscription_id: live, docs, total: docs.length, cursor: "a.1" } });
  const ended = () => wire.of("unsubscribe").map((each) => each.payload.subscription_id);
  await wire.hear({ type: "error", payload: { code: "RATE_LIMITED", message: "Too many." } });
  await pass(3_000);
  assert.equal(wire.of("subscribe").length, 2);
  await wire.hear(answer("first", [{ id: "a" }]), answer("second", [{ id: "b" }]));
  assert.deepEqual(ended(), ["first"]);
  await wire.hear({ type: "delta", payload: { subscription_id: "first", changes: { inserts: [{ id: "c" }] }, cursor: "a.2" } });
  assert.deepEqual(list.docs, [{ id: "b" }]);
  list.close();
  assert.deepEqual(ended(), ["first", "second"]);
  const calls = heard.length;
  await wire.hear(answer("third", []), { type: "delta", payload: { subscription_id: "second", changes: { inserts: [{ id: "d" }] }, cursor: "a.3" } });
  assert.deepEqual([heard.length, ended().at(-1)], [calls, "third"]);
});

test("an answer that was only late is not asked for again", async () => {
  const { wire } = await subscribed({ onError: () => {} });
  await wire.hear({ type: "error", payload: { code: "RATE_LIMITED", message: "Too many." } }, snapshot("1", []));
  alyx.subscribe("users", {}, () => {});
  await pass(10_000);
  assert.deepEqual(wire.of("subscribe").map((each) => each.payload.collection), ["posts", "users"]);
});

test("a question that is larger than a message may be is refused here", async () => {
  const { failed } = await subscribed({}, { filter: { text: "x".repeat(70_000) } });
  assert.equal(failed[0].code, "INVALID_MESSAGE");
});

// --- who is asking ------------------------------------------------------------------------------------------------------------------

test("nothing is asked before the server has agreed who asks", async () => {
  const { wire } = await subscribed({ token: "t1" });
  assert.deepEqual(wire.sent.map((each) => [each.type, each.payload.token]), [["auth", "t1"]]);
  await wire.hear({ id: wire.sent[0].id, type: "authenticated", payload: { user_id: "u" } });
  assert.equal(wire.sent[1].type, "subscribe");
  assert.equal(alyx.status, "online");
});

test("a token that is refused stops everything until there is another, and nothing is asked as nobody", async () => {
  const { failed, wire } = await subscribed({ token: "bad" });
  await wire.hear(refusal(wire.sent[0].id, "UNAUTHORIZED"));
  assert.equal(alyx.status, "unauthorized");
  assert.deepEqual([failed[0].code, failed[0].passing], ["UNAUTHORIZED", true]);
  assert.equal(wire.of("subscribe").length, 0);
  await pass(60_000);
  assert.equal(Wire.all.length, 1);
  await alyx.auth("good");
  await Wire.all[1].open();
  assert.equal(Wire.all[1].sent[0].payload.token, "good");
});

test("4401 asks for a new token and comes back with it at once", async () => {
  const tokens = ["one", "two"];
  const { wire } = await subscribed({ getToken: async () => tokens.shift() });
  await wire.hear({ id: wire.sent[0].id, type: "authenticated", payload: { user_id: "u" } }, snapshot("1", [], "e.4"));
  await wire.drop(4401);
  await pass(0);
  const next = Wire.all[1];
  await next.open();
  assert.equal(next.sent[0].payload.token, "two");
  await next.hear({ id: next.sent[0].id, type: "authenticated", payload: { user_id: "u" } });
  assert.equal(next.of("subscribe")[0].payload.since, "e.4");
});

test("a token is renewed on the open line before it ends", async () => {
  const tokens = [jwt(900), jwt(1800)], second = tokens[1];
  const { wire } = await subscribed({ getToken: async () => tokens.shift() });
  const agree = () => wire.hear({ id: wire.of("auth").at(-1).id, type: "authenticated", payload: { user_id: "u" } });
  await agree();
  for (let i = 0; i < 84; i++) { await pass(10_000); await wire.hear({ type: "pong" }); }
  assert.deepEqual(wire.of("auth").map((each) => each.payload.token).slice(1), [second]);
  await agree();
  assert.equal(Wire.all.length, 1);
});

test("signing in on an open line tells the user, and a bad token changes nothing", async () => {
  const { wire } = await subscribed();
  const signing = alyx.auth("t");
  await settle();
  alyx.subscribe("users", {}, () => {});
  assert.equal(wire.of("subscribe").length, 1);
  await wire.hear({ id: wire.of("auth")[0].id, type: "authenticated", payload: { user_id: "u7" } });
  assert.equal(await signing, "u7");
  assert.equal(wire.of("subscribe").length, 2);
  const again = assert.rejects(alyx.auth("bad"), { code: "UNAUTHORIZED" });
  await settle();
  await wire.hear(refusal(wire.of("auth")[1].id, "UNAUTHORIZED"));
  await again;
  await wire.drop(1006);
  await pass(125);
  await Wire.all[1].open();
  assert.equal(Wire.all[1].sent[0].payload.token, "t");
});

test("who signs out while a token is renewed stays signed out", async () => {
  const waiting = [];
  const { wire } = await subscribed({ getToken: () => new Promise((done) => waiting.push(done)) });
  waiting[0](jwt(900));
  await settle();
  await wire.hear({ id: wire.of("auth")[0].id, type: "authenticated", payload: { user_id: "u" } });
  for (let i = 0; i < 84; i++) { await pass(10_000); await wire.hear({ type: "pong" }); }
  assert.equal(waiting.length, 2);
  alyx.auth(null);
  waiting[1](jwt(900));
  await settle();
  assert.deepEqual(wire.of("auth").slice(1).map((each) => each.payload.token), [null]);
  await wire.drop(1006);
  await pass(125);
  await Wire.all[1].open();
  assert.deepEqual(Wire.all[1].sent.map((each) => each.type), ["subscribe"]);
});

test("who signs out while a sign-in is under way is signed out, and nothing is asked in between", async () => {
  const { wire } = await subscribed();
  const [first, second] = [alyx.auth("a"), alyx.auth(null)];
  alyx.subscribe("users", {}, () => {});
  assert.deepEqual(wire.of("auth").map((each) => each.payload.token), ["a", null]);
  await wire.hear({ id: wire.of("auth")[0].id, type: "authenticated", payload: { user_id: "u" } });
  assert.equal(wire.of("subscribe").length, 1);
  await wire.hear({ id: wire.of("auth")[1].id, type: "authenticated", payload: { user_id: null } });
  assert.equal(wire.of("subscribe").length, 2);
  assert.deepEqual([await first, await second], ["u", null]);
  await wire.drop(1006);
  await pass(125);
  await Wire.all[1].open();
  assert.equal(Wire.all[1].of("auth").length, 0);
});

test("a token that is refused brings back what the server agreed to last, and nothing that was left behind", async () => {
  const { wire } = await subscribed({ token: "old" });
  await wire.hear({ id: wire.sent[0].id, type: "authenticated", payload: { user_id: "u" } });
  const refused = [alyx.auth("bad"), alyx.auth(null), alyx.auth("worse")].map((each) => each.catch((error) => error.code));
  const [, bad, out, worse] = wire.of("auth");
  await wire.hear(refusal(bad.id, "UNAUTHORIZED"), { id: out.id, type: "authenticated", payload: { user_id: null } }, refusal(worse.id, "UNAUTHORIZED"));
  assert.deepEqual(await Promise.all(refused), ["UNAUTHORIZED", null, "UNAUTHORIZED"]);
  assert.equal(alyx.status, "online");
  await wire.drop(1006);
  await pass(125);
  await Wire.all[1].open();
  assert.equal(Wire.all[1].of("auth").length, 0);
});

test("a clock that is ahead does not have tokens renewed without end", async () => {
  const claims = { iat: Date.now() / 1000 - 1500, exp: Date.now() / 1000 - 600 };
  let asked = 0;
  const token = `x.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.y`;
  const { wire } = await subscribed({ getToken: async () => { asked++; return token; } });
  await wire.hear({ id: wire.sent[0].id, type: "authenticated", payload: { user_id: "u" } });
  for (let second = 0; second < 600; second += 20) {
    await pass(20_000);
    await wire.hear({ type: "pong" });
  }
  assert.equal(asked, 1);
  await pass(300_000);
  assert.equal(asked, 2);
});

test("a token that is over by this clock alone, and does not say when it began, is renewed each minute", async () => {
  let asked = 0;
  const { wire } = await subscribed({ getToken: async () => { asked++; return jwt(-600); } });
  for (let second = 0; second < 60; second += 5) {
    for (const each of wire.of("auth")) await wire.hear({ id: each.id, type: "authenticated", payload: { user_id: "u" } });
    await pass(5_000);
  }
  assert.equal(asked, 2);
});

test("a token that lives for seconds only is used, and renewed before it ends", async () => {
  const tokens = [jwt(3), jwt(6)], [first, second] = tokens;
  const { wire } = await subscribed({ getToken: async () => tokens.shift() });
  await wire.hear({ id: wire.sent[0].id, type: "authenticated", payload: { user_id: "u" } });
  assert.equal(wire.of("subscribe").length, 1);
  await pass(2_400);
  assert.deepEqual(wire.of("auth").map((each) => each.payload.token), [first, second]);
});

test("a token that is about to end is not used for a new connection", async () => {
  const tokens = [jwt(60), jwt(900)], second = tokens[1];
  const { wire } = await subscribed({ getToken: async () => tokens.shift() });
  await wire.hear({ id: wire.sent[0].id, type: "authenticated", payload: { user_id: "u" } });
  await pass(20_000);
  await wire.drop(1006);
  await pass(125);
  mock.timers.setTime(Date.now() + 36_000);
  await Wire.all[1].open();
  assert.equal(Wire.all[1].sent[0].payload.token, second);
});

test("a token that comes while the line is greeted is the one that counts", async () => {
  const { wire } = await subscribed({ token: "first" });
  await alyx.auth("second");
  await wire.hear({ id: wire.sent[0].id, type: "authenticated", payload: { user_id: "u" } });
  assert.equal(wire.sent[1].payload.token, "second");
  assert.equal(wire.of("subscribe").length, 0);
});

// --- channels -----------------------------------------------------------------------------------------------------------------------

test("a channel keeps its members, hears messages, and is joined again after a reconnect with the last state", async () => {
  client();
  const seen = [], heard = [];
  const room = alyx.join("room:1", { state: { name: "Ada" }, onPresence: (members) => seen.push([...members.keys()].join()), onMessage: (...words) => heard.push(words) });
  assert.equal(room.send("early", 1), false);
  const wire = Wire.all[0];
  await wire.open("me");
  assert.deepEqual(wire.sent[0].payload, { channel: "room:1", state: { name: "Ada" } });
  await wire.hear({ id: "1", type: "presence", payload: { channel: "room:1", members: [{ id: "me", state: { name: "Ada" } }, { id: "x", state: {} }] } });
  await wire.hear({ type: "presence_diff", payload: { channel: "room:1", joins: [{ id: "y", state: 1 }], leaves: ["x"] } });
  await wire.hear({ type: "broadcast", payload: { channel: "room:1", event: "typing", data: { on: true }, from: "y" } });
  assert.deepEqual(seen, ["me,x", "me,y"]);
  assert.deepEqual(heard, [["typing", { on: true }, "y"]]);
  assert.equal(room.send("typing", {}), true);
  room.setState({ name: "Ada", away: true });
  assert.deepEqual(wire.sent.slice(1).map((each) => [each.type, each.payload.channel]), [["broadcast", "room:1"], ["state", "room:1"]]);
  await wire.drop(1001);
  await pass(500);
  await Wire.all[1].open("me2");
  assert.deepEqual(Wire.all[1].sent[0].payload, { channel: "room:1", state: { name: "Ada", away: true } });
  await Wire.all[1].hear({ id: "1", type: "presence", payload: { channel: "room:1", members: [{ id: "me2", state: {} }] } });
  assert.deepEqual([...room.members.keys()], ["me2"]);
  room.leave();
  assert.equal(Wire.all[1].sent.at(-1).type, "leave");
});

test("who is put out of a channel is told, and does not come back to it", async () => {
  client();
  const failed = [];
  alyx.join("room:1", { onError: (error) => failed.push([error.code, error.passing]) });
  const wire = Wire.all[0];
  await wire.open();
  await wire.hear({ id: "1", type: "presence", payload: { channel: "room:1", members: [] } });
  await wire.hear({ type: "left", payload: { channel: "room:1" } }, { type: "left", payload: { channel: "room:1", code: "FORBIDDEN" } });
  assert.deepEqual(failed, [["FORBIDDEN", false]]);
  await wire.drop(1006);
  await pass(20_000);
  assert.equal(Wire.all.length, 1);
});

test("a channel that may not be joined is over, a message that may not be sent is told and no more", async () => {
  client();
  const failed = [];
  alyx.join("room:1", { onError: (error) => failed.push(error.passing) });
  alyx.join("room:2", { onError: (error) => failed.push(error.passing) });
  const wire = Wire.all[0];
  await wire.open();
  await wire.hear(refusal("1", "FORBIDDEN"), { id: "2", type: "presence", payload: { channel: "room:2", members: [] } }, refusal("2", "FORBIDDEN"));
  assert.deepEqual(failed, [false, true]);
  await wire.drop(1006);
  await pass(125);
  await Wire.all[1].open();
  assert.deepEqual(Wire.all[1].sent.map((each) => each.payload.channel), ["room:2"]);
});

test("what is said in a channel while its join waits to be asked again does not end it", async () => {
  client();
  const failed = [];
  const room = alyx.join("room:1", { onError: (error) => failed.push([error.code, error.passing]) });
  const wire = Wire.all[0];
  await wire.open();
  await wire.hear(refusal("1", "RATE_LIMITED"));
  assert.equal(room.send("typing"), false);
  room.setState(5);
  assert.equal(wire.sent.length, 1);
  await pass(3_000);
  assert.deepEqual(wire.of("join").map((each) => each.payload.state), [undefined, 5]);
  assert.equal(room.send("typing"), true);
  await wire.hear(refusal(wire.sent.at(-1).id, "FORBIDDEN"), { id: "1", type: "presence", payload: { channel: "room:1", members: [{ id: "me" }] } });
  assert.deepEqual(failed, [["RATE_LIMITED", true], ["FORBIDDEN", true]]);
  assert.equal(room.members.size, 1);
});

test("what was said to a former member of a channel does not count for the one that joins it again", async () => {
  client();
  const failed = [], seen = [];
  const first = alyx.join("room:1", {});
  const wire = Wire.all[0];
  await wire.open();
  await wire.hear({ id: "1", type: "presence", payload: { channel: "room:1", members: [{ id: "me" }] } });
  first.leave();
  const again = alyx.join("room:1", { onPresence: () => seen.push(1), onMessage: () => seen.push(2), onError: (error) => failed.push([error.code, error.passing]) });
  await wire.hear({ type: "presence_diff", payload: { channel: "room:1", joins: [{ id: "ghost" }], leaves: [] } },
    { type: "broadcast", payload: { channel: "room:1", event: "e", data: 1, from: "ghost" } },
    { type: "left", payload: { channel: "room:1" } }, refusal(wire.of("join")[1].id, "FORBIDDEN"));
  assert.deepEqual([failed, seen, again.members.size], [[["FORBIDDEN", false]], [], 0]);
  alyx.join("room:1");
});

// --- records ------------------------------------------------------------------------------------------------------------------------

const answers = (...given) => {
  const calls = [];
  mock.method(globalThis, "fetch", async (url, options) => {
    calls.push({ url: String(url), ...options });
    const [status, body] = given.shift();
    return new Response(body === undefined ? null : JSON.stringify(body), { status });
  });
  return calls;
};

test("records are asked for with the same token, and their addresses are encoded", async () => {
  const calls = answers([200, { docs: [] }], [200, { id: "a/b" }], [201, { id: "1" }], [204]);
  client({ token: "t" });
  await alyx.list("posts", { filter: ["a:eq:1", "b:eq:ü&"], sort: ["-a", "b"], limit: 5, where: undefined });
  await alyx.get("posts", "a/b");
  await alyx.create("posts", { title: "x" }, { idempotencyKey: "k" });
  assert.equal(await alyx.remove("posts", 7), null);
  assert.deepEqual(calls.map((each) => `${each.method} ${each.url.slice(18)}`), [
    "GET /api/collections/posts?filter=a%3Aeq%3A1&filter=b%3Aeq%3A%C3%BC%26&sort=-a%2Cb&limit=5",
    "GET /api/collections/posts/a%2Fb", "POST /api/collections/posts", "DELETE /api/collections/posts/7"]);
  assert.deepEqual(calls[2].headers, { authorization: "Bearer t", "content-type": "application/json", "idempotency-key": "k" });
});

test("what is refused is an error with code, details and status, and an unreachable server is NETWORK", async () => {
  answers([400, { error: "The body has 1 fault.", code: "VALIDATION_ERROR", details: [{ field: "title", code: "required", message: "is required" }] }]);
  client();
  const error = await alyx.create("posts", {}).catch((found) => found);
  assert.deepEqual([error.code, error.status, error.message, error.details[0].field], ["VALIDATION_ERROR", 400, "The body has 1 fault.", "title"]);
  mock.method(globalThis, "fetch", async () => { throw new TypeError("refused"); });
  await assert.rejects(alyx.get("posts", "1"), { code: "NETWORK" });
  for (const id of [".", ".."]) await assert.rejects(alyx.remove("posts", id), { code: "INVALID_ID" }); // no URL can carry them
});

test("a token that has expired is renewed once and the call made again", async () => {
  const calls = answers([401, { code: "TOKEN_EXPIRED", error: "x" }], [200, { id: "1" }], [401, { code: "TOKEN_EXPIRED", error: "x" }], [401, { code: "UNAUTHORIZED", error: "x" }]);
  const tokens = ["old", "new", "newer"];
  client({ getToken: async () => tokens.shift() });
  await alyx.get("posts", "1");
  await assert.rejects(alyx.get("posts", "1"), { code: "UNAUTHORIZED" });
  assert.deepEqual(calls.map((each) => each.headers.authorization), ["Bearer old", "Bearer new", "Bearer new", "Bearer newer"]);
});
