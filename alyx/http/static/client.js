// The client of Alyx: live queries, channels and records. For browsers, and Node 22 or newer (before: pass a WebSocket in).
// One module without dependencies, served by every Alyx at /_alyx/client.js; docs/realtime.md describes what it speaks.
//
//   const alyx = new Alyx("http://127.0.0.1:8090");
//   alyx.subscribe("posts", { sort: "-created_at", limit: 20 }, (docs) => show(docs), (error) => tell(error));
//
// JSON.parse rounds integers beyond 2^53, in documents and in keys: keep such numbers in `decimal` or `string` fields.

const FIRST_WAIT = 250, LONGEST_WAIT = 15_000; // ms; the wait before attempt n is random, up to 250 * 2^n
const STEADY = 5_000; // a line that held so long was a good one: counting of attempts starts anew
const QUIET = 25_000, PATIENCE = 10_000; // ping after so much silence, and give the line up after so much more
const LARGEST = 65_536; // bytes of a message; the server would close with 1009
const PASSING = /^(RATE_LIMITED|OVERLOADED|QUERY_TIMEOUT|DATABASE_UNAVAILABLE|INTERNAL)$/; // refused now, not for ever

/** What the server refuses, with its `code`, `message` and `details`, and `NETWORK` where it could not be asked. */
export class AlyxError extends Error {
  constructor({ code, message, error, details, hint, status }) {
    super(message ?? error ?? code);
    Object.assign(this, { name: "AlyxError", code, details, hint, status });
  }
}

/** Compares texts by code point, as the server does; JavaScript's `<` goes by UTF-16 unit and puts U+1F600 before U+FF46. */
export function compareText(a, b) {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(i), y = b.charCodeAt(i);
    if (x !== y) return x >= 0xd800 && y >= 0xd800 ? ((x + 0x2000) & 0xffff) - ((y + 0x2000) & 0xffff) : x - y;
  }
  return a.length - b.length;
}

/** The order of a list with this `sort` (list or comma string) as a function for Array.sort. Nulls come first, or last where the
 *  key descends. `key`: the collection's primary key, always the last key of the order. `decimals`: fields of type decimal. */
export function comparator(sort, { key = "id", decimals = [] } = {}) {
  const words = (Array.isArray(sort) ? sort : String(sort ?? "").split(",")).map((word) => word.trim()).filter(Boolean);
  const keys = words.map((word) => ({ path: word.replace(/^[-+]/, ""), sign: word[0] === "-" ? -1 : 1 }));
  if (!keys.some(({ path }) => path === key)) keys.push({ path: key, sign: keys.at(-1)?.sign ?? 1 });
  for (const each of keys) Object.assign(each, { steps: each.path.split("."), exact: decimals.includes(each.path) });
  return (a, b) => {
    for (const { steps, sign, exact } of keys) {
      const found = compareValues(reach(a, steps), reach(b, steps), exact);
      if (found) return sign * found;
    }
    return 0;
  };
}

const reach = (doc, steps) => steps.reduce((value, step) => value?.[step], doc) ?? null;
const plain = (value) => (typeof value === "boolean" ? Number(value) : typeof value === "object" ? JSON.stringify(value) : value);

function compareValues(a, b, exact) {
  if (a === null || b === null) return (b === null) - (a === null);
  // Decimals of a field all have its scale, so without the point they are integers, and those are compared without loss.
  const [x, y] = exact ? [a, b].map((text) => BigInt(text.replace(".", ""))) : [plain(a), plain(b)];
  if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1; // below a json field: numbers before texts
  return typeof x === "string" ? compareText(x, y) : (x > y) - (x < y);
}

const report = (error) => console.error("alyx:", error);
const tell = (callback, ...words) => {
  try { callback?.(...words); } catch (error) { queueMicrotask(() => { throw error; }); } // a fault of the page stays the page's
};

function claims(token) { // when a JWT begins and ends, in milliseconds since 1970; Infinity where it does not say
  try {
    const { iat, exp } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    return { iat: iat * 1000 || Infinity, exp: exp * 1000 || Infinity };
  } catch { return { iat: Infinity, exp: Infinity }; }
}

export class Alyx {
  status = "idle"; // nothing is wanted; "connecting", "online", "waiting" (for the next attempt), "unauthorized", "closed"
  clientId = null; // what this connection is called among the members of a channel
  #url; #token; #getToken; #WebSocket; #onStatus; #onError; #count = 0; #attempt = 0;
  #socket = null; #ready = false; #retry; #watcher; #steady; #renewal;
  #agreed = null; #signing = 0; #ahead = 0; // the token that the server took last, `auth`s without an answer, ms that our clock is ahead
  #subs = new Map(); #live = new Map(); #asked = new Map(); #rooms = new Map(); // by message id, by subscription_id, by message id, by channel
  #awake = () => { if (this.status === "waiting") this.#connect(); };

  /** `token`: a bearer token. `getToken`: async () => token or null; asked at first, before the token ends, and when it was refused.
   *  `onStatus(status)`; `onError(error)` hears of errors that belong to no subscription and no channel. */
  constructor(url, { token, getToken, WebSocket = globalThis.WebSocket, onStatus, onError = report } = {}) {
    this.#url = String(url).replace(/\/+$/, "");
    this.#token = token;
    this.#getToken = getToken;
    this.#WebSocket = WebSocket;
    this.#onStatus = onStatus;
    this.#onError = onError;
    globalThis.addEventListener?.("online", this.#awake);
  }

  // --- live queries ---------------------------------------------------------------------------------------------------------

  /** Keeps the documents of a question in order: `onChange(docs, changes)` is called with all of them, and with what the server
   *  told: `{inserts?, updates?, deletes?}` or `{snapshot: true, reset?}`. `onError(error)`: the subscription has ended, unless
   *  `error.passing`. Options: filter, where, sort, limit, fields, expand, as_admin as the server takes them; `key`, where the
   *  primary key is not called `id`; `decimals`, the sort keys that are decimals. Gives `{docs, close()}`. */
  subscribe(collection, { key = "id", decimals, ...question } = {}, onChange, onError = report) {
    const sub = { id: String(++this.#count), question: { collection, ...question }, key, byKey: new Map(), onChange, onError, sent: false };
    sub.order = comparator(question.sort, { key, decimals });
    sub.handle = { docs: [], close: () => this.#unsubscribe(sub) };
    this.#subs.set(sub.id, sub);
    this.#flush();
    return sub.handle;
  }

  #unsubscribe(sub) {
    this.#subs.delete(sub.id);
    if (sub.live && this.#live.delete(sub.live)) this.#end(sub.live);
  }

  #end(live) { this.#send("unsubscribe", { subscription_id: live }, String(++this.#count)); }

  #take(sub, type, payload) {
    const { docs, changes = {}, reset, cursor, subscription_id: live } = payload;
    if (!sub) { // closed before the server answered
      if (type !== "delta") this.#end(live);
      return;
    }
    if (sub.live && sub.live !== live && this.#live.delete(sub.live)) this.#end(sub.live); // it was asked twice
    this.#live.set(live, sub);
    Object.assign(sub, { live, cursor, sent: true });
    if (type === "resumed") return;
    if (type === "snapshot") sub.byKey.clear();
    for (const id of changes.deletes ?? []) sub.byKey.delete(String(id));
    for (const doc of [...(docs ?? []), ...(changes.inserts ?? []), ...(changes.updates ?? [])]) sub.byKey.set(String(doc[sub.key]), doc);
    sub.handle.docs = [...sub.byKey.values()].sort(sub.order);
    tell(sub.onChange, sub.handle.docs, type === "snapshot" ? { snapshot: true, ...(reset && { reset }) } : changes);
  }

  // --- channels -------------------------------------------------------------------------------------------------------------

  /** Joins a channel, and again after each reconnect. `state`: what the others see of this client; `onPresence(members)`: a Map of
   *  client ids to `{id, user_id, state}`, at every change (`state` is that client's word, `user_id` the server's);
   *  `onMessage(event, data, from)`. Gives `{members, send(event, data), setState(state), leave()}`; `send` is false while there
   *  is no connection: such messages are not kept. */
  join(channel, { state, onPresence, onMessage, onError = report } = {}) {
    if (this.#rooms.has(channel)) throw new Error(`${channel} is joined already`);
    const room = { id: String(++this.#count), channel, state, onPresence, onMessage, onError, sent: false, joined: false };
    room.handle = {
      members: new Map(),
      send: (event, data = null) => room.sent && this.#send("broadcast", { channel, event, data }, `${room.id}m`),
      setState: (next = null) => { room.state = next; if (room.sent) this.#send("state", { channel, state: next }, `${room.id}m`); },
      leave: () => {
        if (this.#rooms.get(channel) !== room) return;
        this.#rooms.delete(channel);
        if (room.sent || room.due) this.#send("leave", { channel });
      },
    };
    this.#rooms.set(channel, room);
    this.#flush();
    return room.handle;
  }

  #gather(room, type, { members = [], joins = [], leaves = [], event, data, from }, id) {
    if (type === "presence" && id === room.id) Object.assign(room, { joined: true, sent: true });
    if (!room.joined) return undefined; // said to one that has left, and has joined anew
    if (type === "broadcast") return tell(room.onMessage, event, data, from);
    const all = room.handle.members;
    if (type === "presence") all.clear();
    for (const id of leaves) all.delete(id);
    for (const member of [...members, ...joins]) all.set(member.id, member);
    return tell(room.onPresence, all);
  }

  // --- who is asking --------------------------------------------------------------------------------------------------------

  /** Signs in with another token, or out with null; every subscription is judged anew. Resolves when the server has agreed, with the
   *  user's id; with null where there is no connection that could tell. A token that the server refuses changes nothing. */
  async auth(token) {
    const socket = this.#socket, mine = (this.#token = token ?? null);
    if (!this.#ready && !this.#signing) { // the next connection, or the one that is just greeted, takes it
      if (this.status === "unauthorized") this.#attempt = 0;
      if (!socket) this.#connect();
      return null;
    }
    this.#ready = false; // what is asked meanwhile is sent when it is clear who asks
    this.#signing++; // the server answers them in order, so the last one that it agrees to counts
    try {
      const { user_id } = await this.#ask("auth", { token: mine });
      this.#agreed = mine;
      return user_id;
    } catch (error) {
      if (socket !== this.#socket) return null; // the connection is gone, and the next one takes the token
      if (this.#token === mine && this.#signing === 1) this.#token = this.#agreed;
      throw error;
    } finally {
      if (socket === this.#socket && !--this.#signing) this.#begin();
    }
  }

  async #bearer() {
    const ends = this.#ends();
    if (this.#getToken && (this.#token === undefined || ends < Date.now() + STEADY)) await this.#fetchToken((token) => { this.#token = token; });
    return this.#token ?? null;
  }

  async #fetchToken(use) { // nothing, if somebody signed in or out meanwhile
    const before = this.#token, token = (await this.#getToken()) ?? null;
    if (before !== this.#token) return;
    const { iat, exp } = claims(token), now = Date.now();
    this.#ahead = exp < now + STEADY && iat !== Infinity ? now - iat : 0; // over already when it comes: by our clock alone
    await use(token);
  }

  #ends() { return this.#token ? claims(this.#token).exp + this.#ahead : Infinity; }

  #renewLater() {
    clearTimeout(this.#renewal);
    const left = this.#getToken ? this.#ends() - Date.now() : Infinity;
    if (left === Infinity) return;
    this.#renewal = setTimeout(async () => {
      try { await this.#fetchToken((token) => this.auth(token)); } catch { if (this.#ready) this.#renewLater(); }
    }, Math.min(Math.max(left - Math.min(60_000, left / 5), left > 0 ? 1_000 : 60_000), 2 ** 31 - 1));
  }

  // --- the line -------------------------------------------------------------------------------------------------------------

  /** Ends the connection and every subscription; nothing is called back after it. */
  close() {
    this.#subs.clear();
    this.#rooms.clear();
    globalThis.removeEventListener?.("online", this.#awake);
    this.#drop();
    this.#say("closed");
  }

  #say(status) {
    if (this.status === status || this.status === "closed") return;
    this.status = status;
    tell(this.#onStatus, status);
  }

  #connect() {
    clearTimeout(this.#retry);
    if (this.#socket || this.status === "closed") return;
    if (!this.#subs.size && !this.#rooms.size) { this.#say("idle"); return; }
    this.#say("connecting");
    const socket = (this.#socket = new this.#WebSocket(this.#url.replace(/^http/, "ws") + "/api/realtime"));
    socket.onmessage = ({ data }) => { if (socket === this.#socket) { this.#watch(); this.#receive(JSON.parse(data)); } };
    socket.onerror = () => {}; // a close follows
    socket.onclose = ({ code }) => { if (socket === this.#socket) this.#lost(code); };
    this.#watcher = setTimeout(() => this.#lost(0), LONGEST_WAIT);
  }

  #watch() { // a line may be dead without a word: ask when it is quiet
    clearTimeout(this.#watcher);
    this.#watcher = setTimeout(() => {
      this.#send("ping");
      this.#watcher = setTimeout(() => this.#lost(0), PATIENCE);
    }, QUIET);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#ready = false;
    this.#signing = 0;
    for (const timer of [this.#retry, this.#watcher, this.#steady, this.#renewal]) clearTimeout(timer);
    try { socket?.close(); } catch { /* it never opened */ }
    this.#live.clear();
    for (const each of [...this.#subs.values(), ...this.#rooms.values()]) Object.assign(each, { sent: false, due: false, joined: false, live: undefined });
    for (const { reject } of this.#asked.values()) reject(new AlyxError({ code: "NETWORK", message: "The connection was lost." }));
    this.#asked.clear();
  }

  #lost(code) {
    this.#drop();
    if (code === 4401 && this.#getToken) this.#token = undefined;
    else if (code === 4401) return this.#stop(new AlyxError({ code: "UNAUTHORIZED", message: "The token has expired or was revoked." }));
    this.#retry = setTimeout(() => this.#connect(), this.#pause(code));
    return this.#say("waiting");
  }

  #stop(error) { // until auth() brings another token
    this.#say("unauthorized");
    for (const { onError } of [...this.#subs.values(), ...this.#rooms.values()]) tell(onError, Object.assign(error, { passing: true }));
  }

  #pause(code) {
    const attempt = this.#attempt++;
    if (code === 4429) return LONGEST_WAIT * (1 + Math.random()); // too many of us: come back late
    if (!attempt && (code === 4408 || code === 4401)) return 0; // too slow, or another token: resume at once
    if (!attempt && code === 1001) return 1_000 * Math.random(); // a restart: at once, but not everybody in the same moment
    return Math.random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** attempt);
  }

  async #greet(socket) {
    this.#steady = setTimeout(() => { this.#attempt = 0; }, STEADY);
    try {
      let used = null, token = await this.#bearer();
      while (token !== used && socket === this.#socket) { // again, if somebody signed in or out meanwhile
        await this.#ask("auth", { token });
        used = token;
        token = this.#token ?? null;
      }
    } catch (error) {
      if (socket === this.#socket) this.#lost(/^(UNAUTHORIZED|TOKEN_)/.test(error.code) ? 4401 : 0);
      return;
    }
    if (socket !== this.#socket) return;
    this.#agreed = this.#token ?? null;
    this.#begin();
  }

  #begin() {
    this.#ready = true;
    this.#renewLater();
    this.#say("online");
    this.#flush();
  }

  #flush() {
    if (!this.#socket && this.status !== "waiting" && this.status !== "unauthorized") this.#connect();
    if (!this.#ready) return;
    for (const sub of this.#subs.values()) {
      if (!sub.sent && !sub.due) sub.sent = this.#try(sub, "subscribe", { ...sub.question, ...(sub.cursor && { since: sub.cursor }) });
    }
    for (const room of this.#rooms.values()) {
      if (!room.sent && !room.due) room.sent = this.#try(room, "join", { channel: room.channel, ...(room.state !== undefined && { state: room.state }) });
    }
  }

  #try(entry, type, payload) {
    try { return this.#send(type, payload, entry.id); } catch (error) { this.#refused(entry, error); return true; }
  }

  #send(type, payload, id) {
    const text = JSON.stringify({ ...(id && { id }), type, ...(payload && { payload }) });
    if (text.length * 3 > LARGEST && new TextEncoder().encode(text).length > LARGEST) {
      throw new AlyxError({ code: "INVALID_MESSAGE", message: `A message may have ${LARGEST} bytes.` });
    }
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(text);
    return true;
  }

  #ask(type, payload) {
    const id = String(++this.#count);
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#send(type, payload, id);
    }).finally(() => this.#asked.delete(id));
  }

  #receive({ id, type, payload = {} }) {
    const room = this.#rooms.get(payload.channel);
    const sub = this.#live.get(payload.subscription_id) ?? this.#subs.get(id);
    if (type === "connected") {
      this.clientId = payload.client_id;
      this.#greet(this.#socket);
    } else if (type === "snapshot" || type === "resumed" || type === "delta") this.#take(sub, type, payload);
    else if (type === "authenticated") this.#asked.get(id)?.resolve(payload);
    else if (type === "error") {
      const error = new AlyxError(payload);
      const entry = sub ?? [...this.#rooms.values()].find((each) => each.id === id || `${each.id}m` === id);
      if (this.#asked.has(id)) this.#asked.get(id).reject(error);
      else if (entry && entry.id !== id && !sub) tell(entry.onError, Object.assign(error, { passing: true })); // a message's end, not the channel's
      else if (entry) this.#refused(entry, error);
      else if (id === undefined) this.#unread(error);
    } else if (type === "left" && payload.code && room?.joined) { // the channel's rule does not let this client in any more
      room.joined = false;
      this.#refused(room, new AlyxError({ code: payload.code, message: `You may not be in ${room.channel} any more.` }));
    } else if (room && ["presence", "presence_diff", "broadcast"].includes(type)) this.#gather(room, type, payload, id);
  }

  #unread(error) { // a message was dropped unread, so nobody knows which: whatever has no answer yet is asked again
    if (error.code === "RATE_LIMITED") {
      for (const { reject } of this.#asked.values()) reject(error);
      for (const each of [...this.#subs.values(), ...this.#rooms.values()]) if (each.sent && !each.live && !each.joined) this.#refused(each, error);
    }
    tell(this.#onError, error);
  }

  #refused(entry, error) {
    error.passing = entry.joined || PASSING.test(error.code); // a refused message of a channel is no end of the channel
    if (entry.joined) return tell(entry.onError, error);
    if (error.passing) { // asked again shortly
      const socket = this.#socket; // a new connection asks by itself
      Object.assign(entry, { sent: false, due: true });
      setTimeout(() => {
        if (socket !== this.#socket) return;
        entry.due = false;
        this.#flush();
      }, 1_000 + 4_000 * Math.random());
    } else {
      this.#subs.delete(entry.id);
      if (this.#rooms.get(entry.channel) === entry) this.#rooms.delete(entry.channel);
    }
    this.#live.delete(entry.live);
    entry.live = undefined;
    return tell(entry.onError, error);
  }

  // --- records --------------------------------------------------------------------------------------------------------------

  /** One page: `{docs, total, limit, offset, next_cursor?}`. `params`: those of docs/api.md; `filter` may be a list. */
  list(collection, params = {}) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(params)) {
      if (name === "filter") for (const each of [value].flat()) query.append(name, each);
      else if (value !== undefined) query.set(name, String(value));
    }
    return this.#call("GET", [collection], { query });
  }
  get(collection, id, params = {}) { return this.#call("GET", [collection, id], { query: new URLSearchParams(params) }); }
  /** `idempotencyKey`: the same key and data are written once, however often they are sent (docs/api.md). */
  create(collection, data, { idempotencyKey } = {}) { return this.#call("POST", [collection], { data, idempotencyKey }); }
  update(collection, id, changes) { return this.#call("PATCH", [collection, id], { data: changes }); }
  remove(collection, id) { return this.#call("DELETE", [collection, id], {}); }

  async #call(method, path, { query, data, idempotencyKey }, again = true) {
    if (path.some((each) => /^\.\.?$/.test(each))) throw new AlyxError({ code: "INVALID_ID", message: "No URL can carry a name of dots." });
    const token = await this.#bearer();
    const headers = { ...(token && { authorization: `Bearer ${token}` }), ...(data !== undefined && { "content-type": "application/json" }),
      ...(idempotencyKey && { "idempotency-key": idempotencyKey }) };
    const url = `${this.#url}/api/collections/${path.map(encodeURIComponent).join("/")}${String(query ?? "") && `?${query}`}`;
    let answer, body;
    try {
      answer = await fetch(url, { method, headers, body: JSON.stringify(data), signal: AbortSignal.timeout(30_000) });
      body = answer.status === 204 ? null : await answer.json();
    } catch (error) {
      throw Object.assign(new AlyxError({ code: "NETWORK", message: `The server cannot be reached: ${error.message}` }), { cause: error });
    }
    if (answer.ok) return body;
    if (answer.status === 401 && this.#getToken && again) {
      if (this.#token === token) this.#token = undefined;
      return this.#call(method, path, { query, data, idempotencyKey }, false);
    }
    throw new AlyxError({ ...body, status: answer.status });
  }
}
