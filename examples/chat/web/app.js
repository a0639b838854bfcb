// A chat over Alyx. Every text of others goes in through textContent, never as HTML.
const SERVER = "http://127.0.0.1:8090";

const STATUS = { idle: "", connecting: "Connecting …", online: "Connected", waiting: "Connection lost, trying again …", closed: "" };
const SHOWN = 50; // messages of a room
const TYPING = 3_000; // ms for which somebody counts as typing
const byId = (id) => document.getElementById(id);

let alyx, me, rooms = [], room, messages, channel;
const typing = new Map(); // name -> timer
let toldTyping = 0;
let failed; // the message that could not be sent, with its key

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// A colour for each name, the same for everybody.
function tint(node, name) {
  let hue = 0;
  for (const letter of name) hue = (hue * 137 + letter.codePointAt(0) * 29) % 360;
  node.style.setProperty("--hue", hue);
  return node;
}

// --- rooms ------------------------------------------------------------------------------------------------------------------------

function showRooms(docs, { snapshot }) {
  rooms = docs;
  if (snapshot && !docs.length) return void alyx.create("rooms", { name: "general" }).catch(ignoreTaken);
  byId("rooms").replaceChildren(...docs.map((each) => {
    const item = element("li"), link = element("a", each.name, { href: `#${encodeURIComponent(each.name)}` });
    if (each.id === room?.id) link.setAttribute("aria-current", "page");
    item.append(link);
    return item;
  }));
  openRoom();
}

function openRoom() {
  let wanted = location.hash.slice(1);
  try { wanted = decodeURIComponent(wanted); } catch { /* a % that means nothing: then it is the name as it stands */ }
  const next = rooms.find((each) => each.name === wanted) ?? rooms.find((each) => each.id === room?.id) ?? rooms[0];
  if (!next || next.id === room?.id) return;
  messages?.close();
  channel?.leave();
  room = next;
  byId("title").textContent = document.title = room.name;
  byId("messages").replaceChildren();
  for (const link of byId("rooms").querySelectorAll("a")) {
    if (link.textContent === room.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  for (const timer of typing.values()) clearTimeout(timer);
  typing.clear();
  showTyping();
  // The newest come first, so that the limit leaves the oldest out; they are shown the other way round.
  messages = alyx.subscribe("messages", { filter: { room_id: room.id }, sort: "-created_at", limit: SHOWN }, showMessages, complain);
  channel = alyx.join(`room:${room.id}`, { state: { name: me }, onPresence: showPeople, onMessage: hearTyping, onError: complain });
}

const ignoreTaken = (error) => { if (error.code !== "UNIQUE_VIOLATION") complain(error); };

// --- messages ---------------------------------------------------------------------------------------------------------------------

function showMessages(docs) {
  const list = byId("messages");
  const following = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  const known = new Map([...list.children].map((item) => [item.dataset.id, item]));
  const wanted = [...docs].reverse();
  for (const doc of wanted) if (!known.has(doc.id)) typedBy(doc.name);
  const ids = new Set(docs.map((doc) => doc.id));
  for (const [id, item] of known) if (!ids.has(id)) item.remove();
  wanted.forEach((doc, at) => { // what is there already stays, so that it is not read out again
    let item = known.get(doc.id);
    if (!item || item.dataset.text !== doc.text) {
      const fresh = message(doc);
      item?.replaceWith(fresh);
      item = fresh;
    }
    item.classList.toggle("same", wanted[at - 1]?.name === doc.name);
    if (list.children[at] !== item) list.insertBefore(item, list.children[at] ?? null);
  });
  if (following) list.scrollTop = list.scrollHeight;
}

function message(doc) {
  const item = tint(element("li", undefined, { "data-id": doc.id, "data-text": doc.text, class: doc.name === me ? "mine" : "" }), doc.name);
  const when = new Date(doc.created_at), head = element("p", undefined, { class: "who" });
  head.append(element("b", doc.name), element("time", when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }),
    { datetime: doc.created_at, title: when.toLocaleString() }));
  item.append(head, element("p", doc.text, { class: "text" }));
  return item;
}

async function write(event) {
  event.preventDefault();
  const text = byId("text").value.trim();
  if (!text || !room) return;
  // Sent again under its old key, a message whose answer was lost is not written twice.
  const again = failed?.data.text === text && failed.data.room_id === room.id;
  const { key, data } = again ? failed : { key: crypto.randomUUID(), data: { room_id: room.id, name: me, text } };
  failed = undefined;
  byId("fault").textContent = "";
  byId("text").value = "";
  toldTyping = 0;
  grow();
  try {
    await alyx.create("messages", data, { idempotencyKey: key });
  } catch (error) {
    failed = { key, data };
    if (!byId("text").value) byId("text").value = text;
    byId("fault").textContent = `Not sent: ${error.message}`;
  }
}

// --- who is here ------------------------------------------------------------------------------------------------------------------

function showPeople(members) {
  const names = [...new Set([...members.values()].map(({ state }) => typeof state?.name === "string" && state.name ? state.name.slice(0, 40) : "Somebody"))].sort((a, b) => a.localeCompare(b));
  byId("people").replaceChildren(...names.map((name) => tint(element("li", name === me ? `${name} (you)` : name), name)));
}

function tellTyping() {
  grow();
  if (!byId("text").value || Date.now() - toldTyping < TYPING / 2) return;
  if (channel?.send("typing", { name: me })) toldTyping = Date.now();
}

function hearTyping(event, data) {
  if (event !== "typing" || typeof data?.name !== "string") return;
  const name = data.name.slice(0, 40);
  clearTimeout(typing.get(name));
  typing.set(name, setTimeout(() => typedBy(name), TYPING));
  showTyping();
}

function typedBy(name) {
  clearTimeout(typing.get(name));
  if (typing.delete(name)) showTyping();
}

function showTyping() {
  const names = [...typing.keys()];
  byId("typing").textContent = !names.length ? "" : names.length > 2 ? "Several people are typing …" :
    `${names.join(" and ")} ${names.length > 1 ? "are" : "is"} typing …`;
}

// --- the page ---------------------------------------------------------------------------------------------------------------------

function say(status) {
  byId("status").textContent = STATUS[status] ?? "";
  byId("status").dataset.status = status;
}

function complain(error) {
  byId("fault").textContent = error.message;
}

function grow() { // the field is as high as its text
  const field = byId("text");
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight + 2, 160)}px`;
}

async function enter(name) {
  let client;
  try {
    client = await import(`${SERVER}/_alyx/client.js`);
  } catch {
    byId("trouble").textContent = `No Alyx answers at ${SERVER}. Start it with “alyx dev” in the project's folder, and reload this page.`;
    return;
  }
  me = name;
  sessionStorage.setItem("name", name); // of this tab: two tabs are two people
  byId("enter").hidden = true;
  byId("chat").hidden = false;
  byId("me").replaceChildren(tint(element("b", me), me));
  byId("text").focus();
  alyx = new client.Alyx(SERVER, { onStatus: say });
  alyx.subscribe("rooms", { sort: "created_at" }, showRooms, complain);
}

byId("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = byId("name").value.trim();
  if (name) enter(name);
});
byId("write").addEventListener("submit", write);
byId("text").addEventListener("input", tellTyping);
byId("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) write(event);
});
byId("new-room").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = byId("room-name").value.trim();
  if (!name) return;
  await alyx.create("rooms", { name }).catch(ignoreTaken);
  byId("room-name").value = "";
  location.hash = encodeURIComponent(name);
});
addEventListener("hashchange", openRoom);
byId("name").value = sessionStorage.getItem("name") ?? "";
if (byId("name").value) enter(byId("name").value);
