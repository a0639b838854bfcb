// Shows /api/openapi.json to people, and lets them try it. Every text goes in through textContent, never as HTML, so a name or a
// description from schema.yaml cannot become markup. Parts are built when they are opened: recursion and long schemas cost nothing.
"use strict";

(async () => {
  const METHODS = ["get", "post", "patch", "put", "delete"];
  const byId = (id) => document.getElementById(id);
  let spec;

  // element("td", {class: "name"}, "text", child) -> a new element; attributes are set by name, children are text or nodes.
  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== undefined && child !== null && child !== ""));
    return made;
  }

  // Paragraphs, lists of "- " and `code`: all of Markdown that descriptions here use.
  function prose(text) {
    const box = element("div", { class: "text" });
    for (const block of (text || "").split(/\n{2,}/)) {
      const lines = block.split("\n").filter((line) => line.trim());
      if (!lines.length) continue;
      if (lines.every((line) => line.startsWith("- "))) {
        box.append(element("ul", {}, ...lines.map((line) => element("li", {}, ...inline(line.slice(2))))));
      } else {
        box.append(element("p", {}, ...inline(lines.join(" "))));
      }
    }
    return box;
  }

  function inline(text) {
    return text.split(/(`[^`]+`)/).map((part) =>
      part.length > 2 && part.startsWith("`") && part.endsWith("`") ? element("code", {}, part.slice(1, -1)) : part);
  }

  function resolve(schema) {
    const name = schema && schema.$ref ? schema.$ref.split("/").pop() : undefined;
    return name !== undefined ? { ...(spec.components.schemas[name] || {}), $name: name } : schema || {};
  }

  // A type in a few words: `string <uuid> | null`, `list of posts`.
  function typeOf(schema) {
    const found = resolve(schema);
    if (found.$name) return found.$name;
    if (found.anyOf) return [...new Set(found.anyOf.map(typeOf))].join(" | ");
    if (found.allOf) return found.allOf.map(typeOf).filter((word) => word !== "any").join(" & ");
    if ([found.type].flat().includes("array")) return "list of " + typeOf(found.items) + (found.type === "array" ? "" : " | null");
    const kind = Array.isArray(found.type) ? found.type.join(" | ") : found.type;
    if (!kind) return "any";
    const detail = found.format || found.contentEncoding || found.contentMediaType;
    return detail ? `${kind} <${detail}>` : kind;
  }

  function limitsOf(schema) {
    const words = [];
    const say = (name, text) => { if (schema[name] !== undefined) words.push(`${text} ${JSON.stringify(schema[name])}`); };
    if (schema.enum) words.push("one of " + schema.enum.map((value) => JSON.stringify(value)).join(", "));
    say("minLength", "at least"); say("maxLength", "at most"); say("minimum", "from"); say("maximum", "to");
    say("minItems", "items from"); say("maxItems", "items to"); say("pattern", "pattern"); say("default", "default");
    return words.join(" · ");
  }

  function rows(schema) {
    const found = resolve(schema);
    const required = new Set(found.required || []);
    const word = found.additionalProperties === false ? "required" : "always";
    const table = element("table", { class: "rows" });
    for (const [name, member] of Object.entries(found.properties || {})) {
      table.append(element("tr", {},
        element("td", {}, element("span", { class: "name" }, name), " ", required.has(name) ? element("span", { class: "must" }, word) : "",
          element("span", { class: "type" }, typeOf(member))),
        element("td", {}, prose(member.description), element("div", { class: "limits" }, limitsOf(member)), ...nested(member))));
    }
    return table;
  }

  // What can be opened inside a schema: its objects, one by one, each built when it is opened.
  function nested(schema) {
    const found = resolve(schema);
    if (found.items) return nested(found.items);
    const parts = found.anyOf || found.allOf;
    if (parts) return [...new Map(parts.flatMap(nested).map((part) => [part.firstChild.textContent, part])).values()];
    if (!found.properties) return [];
    return [later(element("details", { class: "nested" }, element("summary", {}, found.$name || "members")), () => [rows(found)])];
  }

  function later(details, build) {
    details.addEventListener("toggle", () => {
      if (details.open && !details.dataset.built) {
        details.dataset.built = "yes";
        details.append(...build());
      }
    });
    return details;
  }

  function exampleOf(schema) {
    const found = resolve(schema);
    if (found.examples) return found.examples[0];
    if (found.anyOf) return exampleOf(found.anyOf[0]);
    return undefined;
  }

  function parameterRow(parameter, inputs) {
    const several = parameter.schema.type === "array";
    const example = several && parameter.example ? parameter.example[0] : parameter.example;
    const input = element(several ? "textarea" : "input", {
      "aria-label": parameter.name, spellcheck: "false", autocomplete: "off", rows: several ? "2" : undefined,
      placeholder: example !== undefined ? String(example) : several ? "one on each line" : "",
    });
    inputs.push({ parameter, input });
    return element("tr", {},
      element("td", {}, element("span", { class: "name" }, parameter.name), " ",
        parameter.required ? element("span", { class: "must" }, "required") : "",
        element("span", { class: "type" }, parameter.in + ", " + typeOf(parameter.schema))),
      element("td", {}, prose(parameter.description), element("div", { class: "limits" }, limitsOf(parameter.schema))),
      element("td", { class: "entry" }, input));
  }

  function operationInside(method, path, operation) {
    const inputs = [];
    const parts = [prose(operation.description)];
    if (operation.parameters) {
      const given = operation.parameters.map((item) => item.$ref ? spec.components.parameters[item.$ref.split("/").pop()] : item);
      parts.push(element("h3", {}, "Parameters"),
        element("table", { class: "rows" }, ...given.map((parameter) => parameterRow(parameter, inputs))));
    }
    let body;
    if (operation.requestBody) {
      const schema = operation.requestBody.content["application/json"].schema;
      body = element("textarea", { rows: "6", spellcheck: "false", "aria-label": "Body" });
      const example = exampleOf(schema);
      body.value = example === undefined ? "{}" : JSON.stringify(example, null, 2);
      parts.push(element("h3", {}, "Body"), body, ...nested(schema));
    }
    parts.push(tryOut(method, path, inputs, body));
    parts.push(element("h3", {}, "Answers"), element("div", { class: "answers" },
      ...Object.entries(operation.responses).map(([status, answer]) => answerPart(status, answer))));
    return [element("div", { class: "inside" }, ...parts)];
  }

  function answerPart(status, given) {
    const answer = given.$ref ? spec.components.responses[given.$ref.split("/").pop()] : given;
    const kind = status < "300" ? "good" : status < "400" ? "other" : "bad";
    const codes = (answer.description.match(/^- `[A-Z_]+`/gm) || []).map((line) => line.slice(2));
    const first = codes.length ? codes.join(", ") : answer.description;
    return later(element("details", {}, element("summary", {}, element("span", { class: "status " + kind }, status), ...inline(first))), () => {
      const headers = Object.entries(answer.headers || {}).map(([name, header]) => {
        const found = header.$ref ? spec.components.headers[header.$ref.split("/").pop()] : header;
        return element("tr", {}, element("td", {}, element("span", { class: "name" }, name)), element("td", {}, prose(found.description)));
      });
      const content = Object.values(answer.content || {})[0];
      const shown = content ? exampleOf(content.schema) : undefined;
      return [codes.length ? prose(answer.description) : "", headers.length ? element("table", { class: "rows" }, ...headers) : "",
        ...(content ? nested(content.schema) : []), shown !== undefined ? element("pre", {}, JSON.stringify(shown, null, 2)) : ""];
    });
  }

  function tryOut(method, path, inputs, body) {
    const button = element("button", { type: "button" }, "Send");
    const note = element("span", { class: "limits", role: "status" });
    const result = element("div", { class: "result", hidden: true });
    button.addEventListener("click", async () => {
      const request = compose(method, path, inputs, body);
      if (request.missing) { note.textContent = request.missing + " is needed"; return; }
      button.disabled = true;
      note.textContent = "";
      result.hidden = false;
      try {
        result.replaceChildren(element("pre", {}, request.curl), ...(await send(request)));
      } catch (error) {
        result.replaceChildren(element("p", { class: "bad" }, "No answer: " + error.message));
      }
      button.disabled = false;
    });
    return element("div", {}, element("div", { class: "try" }, button, note), result);
  }

  // As encodeURIComponent, but what may stand in a query as it is stays readable.
  function encode(text) {
    return encodeURIComponent(text).replace(/%(3A|2C|40|2F)/g, decodeURIComponent);
  }

  function compose(method, path, inputs, body) {
    const query = [];
    const headers = {};
    let url = path;
    for (const { parameter, input } of inputs) {
      const values = input.value.split("\n").map((text) => text.trim()).filter(Boolean);
      if (!values.length) {
        if (parameter.required) return { missing: parameter.name };
        continue;
      }
      if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, () => encodeURIComponent(values[0]));
      else if (parameter.in === "query") query.push(...values.map((value) => `${parameter.name}=${encode(value)}`));
      else headers[parameter.name] = values[0];
    }
    if (query.length) url += "?" + query.join("&");
    const token = byId("token").value.trim();
    if (token) headers.Authorization = "Bearer " + token;
    if (body) headers["Content-Type"] = "application/json";
    const quote = (text) => "'" + text.replaceAll("'", "'\\''") + "'";
    const curl = ["curl", method === "get" ? "" : "-X " + method.toUpperCase(), quote(location.origin + url),
      ...Object.entries(headers).map(([name, value]) => "-H " + quote(`${name}: ${name === "Authorization" ? "Bearer $TOKEN" : value}`).replace(/^'(Authorization.*)'$/, '"$1"')),
      body ? "-d " + quote(body.value) : ""].filter(Boolean).join(" ");
    return { url, curl, options: { method: method.toUpperCase(), headers, body: body ? body.value : undefined, cache: "no-store" } };
  }

  async function send(request) {
    const started = performance.now();
    const answer = await fetch(request.url, request.options);
    const text = await answer.text();
    const kind = answer.status < 300 ? "good" : answer.status < 400 ? "other" : "bad";
    const shown = ["etag", "location", "retry-after", "x-request-id"].filter((name) => answer.headers.has(name))
      .map((name) => `${name}: ${answer.headers.get(name)}`).join("\n");
    let pretty = text;
    try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
    // JSON.parse rounds integers beyond 2^53; then the text as sent is the honest one.
    if (/[0-9]{16,}/.test(text)) pretty = text;
    return [element("p", {}, element("span", { class: "status " + kind }, String(answer.status)),
      element("span", { class: "limits" }, `${Math.round(performance.now() - started)} ms`)),
    element("pre", {}, shown + (pretty ? "\n\n" + pretty : ""))];
  }

  function show() {
    document.title = spec.info.title + " API";
    byId("title").textContent = spec.info.title;
    byId("version").textContent = "Version " + spec.info.version + " ·";
    byId("about").replaceChildren(prose(spec.info.description));
    const sections = new Map(spec.tags.map((tag) => [tag.name, {
      links: element("div", {}, element("h2", {}, tag.name)),
      section: element("section", {}, element("h2", {}, tag.name), prose(tag.description)),
    }]));
    for (const [path, item] of Object.entries(spec.paths)) {
      for (const method of METHODS.filter((name) => item[name])) {
        const operation = item[method];
        const part = sections.get(operation.tags[0]);
        const words = [method, path, operation.summary, operation.operationId].join(" ").toLowerCase();
        const verb = () => element("span", { class: "verb " + method }, method.toUpperCase());
        const details = later(element("details", { class: "operation", id: operation.operationId, "data-words": words },
          element("summary", {}, verb(), element("span", { class: "path" }, path), element("span", { class: "what" }, operation.summary))),
        () => operationInside(method, path, operation));
        part.section.append(details);
        part.links.append(element("a", { href: "#" + encodeURIComponent(operation.operationId), "data-words": words },
          verb(), element("span", {}, operation.summary)));
      }
    }
    byId("links").replaceChildren(...[...sections.values()].map((part) => part.links));
    byId("operations").replaceChildren(...[...sections.values()].map((part) => part.section));
  }

  function openTarget() {
    const target = byId(decodeURIComponent(location.hash.slice(1)));
    if (target && target.classList.contains("operation")) {
      target.open = true;
      target.scrollIntoView();
    }
  }

  function find(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of document.querySelectorAll("[data-words]")) {
      item.hidden = !words.every((word) => item.dataset.words.includes(word));
    }
    for (const group of [...byId("links").children, ...byId("operations").children]) {
      group.hidden = !group.querySelector("[data-words]:not([hidden])");
    }
  }

  const token = byId("token");
  token.value = sessionStorage.getItem("alyx.token") || "";
  token.addEventListener("input", () => sessionStorage.setItem("alyx.token", token.value.trim()));
  byId("find").addEventListener("input", (event) => find(event.target.value));
  addEventListener("hashchange", openTarget);
  try {
    const answer = await fetch("/api/openapi.json");
    if (!answer.ok) throw new Error("the server answered " + answer.status);
    spec = await answer.json();
    show();
    openTarget();
  } catch (error) {
    byId("state").textContent = "The description could not be read: " + error.message;
  }
})();
