// Shows one collection as it changes, through /_alyx/client.js. Every text goes in through textContent, never as HTML.
import { Alyx } from "/_alyx/client.js";

const STATUS = {
  idle: "Not connected", connecting: "Connecting …", online: "Live", waiting: "Connection lost; trying again …",
  unauthorized: "The server does not take this token", closed: "Closed",
};
const byId = (id) => document.getElementById(id);
let collections = new Map(); // name -> {key, decimals, fields, example}
let alyx, list, changes;

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function describe(spec) {
  for (const [path, item] of Object.entries(spec.paths)) {
    const name = /^\/api\/collections\/([^/{}]+)$/.exec(path)?.[1];
    const { properties } = spec.components.schemas[name] ?? {};
    if (!properties) continue;
    const one = spec.paths[`${path}/{id}`].get.parameters.map((each) => each.$ref ? spec.components.parameters[each.$ref.split("/").pop()] : each);
    const key = /`(.+)`/.exec(one.find((each) => each.in === "path").description)?.[1] ?? "id";
    const fields = Object.keys(properties).filter((field) => field !== "expand");
    const decimals = fields.filter((field) => properties[field].format === "decimal");
    collections.set(name, { key, decimals, fields, example: spec.components.schemas[`${name}.create`]?.examples?.[0], open: Boolean(item.post) });
  }
}

function choose() {
  const { fields, example, open } = collections.get(byId("collection").value);
  byId("sort").value = fields.includes("created_at") ? "-created_at" : "";
  byId("where").value = "";
  byId("body").value = JSON.stringify(example ?? {}, null, 2);
  byId("adding").hidden = !open;
  byId("answer").textContent = "";
}

function show() {
  const name = byId("collection").value, { key, decimals, fields } = collections.get(name);
  const token = byId("token").value.trim();
  sessionStorage.setItem("alyx.token", token);
  alyx?.close();
  alyx = new Alyx(location.origin, { token: token || undefined, onStatus: say });
  const row = element("tr");
  row.append(...fields.map((field) => Object.assign(element("th", field), { scope: "col" })));
  byId("head").replaceChildren(row);
  byId("rows").replaceChildren();
  byId("count").textContent = "";
  fail();
  changes = 0;
  const where = byId("where").value.trim(), sort = byId("sort").value.trim(), limit = Number(byId("limit").value);
  const question = { key, decimals, where: where || undefined, sort: sort || undefined, limit: limit || undefined };
  list = alyx.subscribe(name, question, (docs, change) => draw(docs, change, key, fields), (error) => fail(error));
}

function draw(docs, { snapshot, inserts = [], updates = [], deletes = [] }, key, fields) {
  fail();
  if (!snapshot) changes += inserts.length + updates.length + deletes.length;
  const fresh = new Set(inserts.map((doc) => doc[key])), moved = new Set(updates.map((doc) => doc[key]));
  byId("rows").replaceChildren(...docs.map((doc) => {
    const row = element("tr", undefined, fresh.has(doc[key]) ? "inserted" : moved.has(doc[key]) ? "updated" : "");
    row.append(...fields.map((field) => cell(doc[field])));
    return row;
  }));
  byId("count").textContent = `${docs.length} ${docs.length === 1 ? "record" : "records"} · ${changes} ${changes === 1 ? "change" : "changes"} since you opened this`;
}

function cell(value) {
  if (value === null || value === undefined) return element("td", "null", "nothing");
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return Object.assign(element("td", text), { title: text });
}

function say(status) {
  byId("status").textContent = STATUS[status];
  byId("status").dataset.status = status;
}

function fail(error) {
  byId("fault").hidden = !error;
  byId("fault").textContent = error ? `${error.message} (${error.code})` : "";
}

byId("token").value = sessionStorage.getItem("alyx.token") ?? "";
byId("collection").addEventListener("change", () => { choose(); show(); });
byId("question").addEventListener("submit", (event) => { event.preventDefault(); show(); });
byId("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await alyx.create(byId("collection").value, JSON.parse(byId("body").value));
    byId("answer").textContent = "Created.";
  } catch (error) {
    const faults = (error.details ?? []).map((each) => `${each.field} ${each.message}`).join("; ");
    byId("answer").textContent = [error.message, faults].filter(Boolean).join(" ");
  }
});
try {
  const answer = await fetch("/api/openapi.json");
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  describe(await answer.json());
  byId("collection").replaceChildren(...[...collections.keys()].map((name) => element("option", name)));
  let wanted = location.hash.slice(1);
  try { wanted = decodeURIComponent(wanted); } catch { /* then it names no collection */ }
  if (collections.has(wanted)) byId("collection").value = wanted;
  choose();
  const health = await (await fetch("/health")).json();
  if (health.components.realtime) show();
  else fail({ message: "Live queries are switched off here: realtime.enabled in alyx.yaml is false.", code: "NOT_FOUND" });
} catch (error) {
  fail({ message: `The collections could not be read: ${error.message}`, code: "NETWORK" });
}
