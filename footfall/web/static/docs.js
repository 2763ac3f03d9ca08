// The page that describes the API: openapi.json, readable, with nothing loaded from anywhere else.

const at = (id) => document.getElementById(id);
const ORDER = ["Events", "Reports", "Health"];
let schemas = {};

function part(kind, className, ...inside) {
  const node = document.createElement(kind);
  if (className) node.className = className;
  node.append(...inside);
  return node;
}

const resolved = (schema) => (schema?.$ref ? schemas[schema.$ref.split("/").pop()] : schema) ?? {};

function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return kind(resolved(schema)) || schema.$ref.split("/").pop();
  const either = schema.oneOf ?? schema.anyOf;
  if (either) return [...new Set(either.map(kind))].join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${kind(schema.items) || "values"}`;
  return [schema.type ?? ""].flat().join(" or ") + (schema.format ? ` (${schema.format})` : "");
}

function limits(schema) {
  const said = [];
  if (schema.minimum !== undefined) said.push(`${schema.minimum} to ${schema.maximum}`);
  if (schema.maxLength !== undefined) said.push(`at most ${schema.maxLength} characters`);
  if (schema.maxProperties !== undefined) said.push(`at most ${schema.maxProperties}`);
  if (schema.default !== undefined) said.push(`default ${schema.default}`);
  return said.length ? `(${said.join("; ")})` : "";
}

/** An example of what fits *schema*: its own, or one made of its parts. */
function example(schema, depth = 0) {
  const found = resolved(schema);
  if (found.example !== undefined) return found.example;
  const either = found.oneOf ?? found.anyOf;
  if (either) return example(either.find((each) => each.type !== "null") ?? either[0], depth);
  if (found.enum) return found.enum[0];
  if (depth > 6) return null;
  if (found.type === "array") return [example(found.items, depth + 1)];
  if (found.properties) {
    return Object.fromEntries(Object.entries(found.properties).map(([name, each]) => [name, example(each, depth + 1)]));
  }
  const type = [found.type].flat()[0];
  if (found.format === "date-time") return "2024-01-15T10:30:00Z";
  if (found.format === "date") return "2024-01-15";
  return { integer: 0, number: 0, boolean: true, string: "", object: {} }[type] ?? null;
}

function table(head, rows) {
  const body = part("tbody", "", ...rows.map((row) => part("tr", "", ...row.map((cell) => part("td", "", cell)))));
  const titles = head.map((title) => {
    const cell = part("th", "", title);
    cell.scope = "col";
    return cell;
  });
  return part("div", "wide", part("table", "", part("thead", "", part("tr", "", ...titles)), body));
}

const code = (text) => part("code", "", text);

function fields(schema) {
  const { properties = {}, required = [] } = resolved(schema);
  return table(["Field", "Type", "Meaning"], Object.entries(properties).map(([name, each]) => {
    const said = [required.includes(name) ? "Required." : "", each.description ?? "", limits(each)];
    return [code(name), kind(each), said.filter(Boolean).join(" ")];
  }));
}

function block(value) {
  const pre = part("pre", "", code(typeof value === "string" ? value : JSON.stringify(value, null, 2)));
  pre.tabIndex = 0;
  return pre;
}

function inside(operation) {
  const nodes = [];
  if (operation.description) nodes.push(part("p", "", operation.description));
  if (operation.parameters?.length) {
    nodes.push(part("h3", "", "Parameters"), table(["Name", "Type", "Meaning"], operation.parameters.map((each) => {
      const said = [each.required ? "Required." : "", each.description, limits(each.schema)];
      return [code(each.name), kind(each.schema), said.filter(Boolean).join(" ")];
    })));
  }
  for (const [type, content] of Object.entries(operation.requestBody?.content ?? {})) {
    nodes.push(part("h3", "", "Body, ", code(type)));
    if (resolved(content.schema).properties) nodes.push(fields(content.schema));
    nodes.push(block(content.example ?? example(content.schema)));
  }
  for (const [status, answer] of Object.entries(operation.responses)) {
    if (status >= "300") continue;
    for (const [type, content] of Object.entries(answer.content ?? {})) {
      nodes.push(part("h3", "", `Answer ${status}, `, code(type)));
      if (type === "application/json") nodes.push(block(example(content.schema)));
      else nodes.push(part("p", "note", "Text."));
    }
  }
  const errors = Object.entries(operation.responses).filter(([status]) => status >= "300");
  if (errors.length) {
    nodes.push(part("h3", "", "Errors"), table(["Status", "Meaning"], errors.map(([status, each]) => [code(status), each.description])));
  }
  return part("div", "inside", ...nodes);
}

function show(document_) {
  schemas = document_.components.schemas;
  at("about").textContent = document_.info.description;
  at("version").textContent = `Version ${document_.info.version}`;
  const groups = new Map(ORDER.map((name) => [name, []]));
  for (const [path, item] of Object.entries(document_.paths)) {
    for (const [verb, operation] of Object.entries(item)) {
      const summary = part("summary", "", part("span", "verb", verb.toUpperCase()), code(path), part("span", "note", operation.summary));
      const box = part("details", "card operation", summary, inside(operation));
      box.id = operation.operationId;
      box.open = location.hash === `#${box.id}`;
      const tag = operation.tags?.[0] ?? "Other";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(box);
    }
  }
  for (const [name, boxes] of groups) if (boxes.length) at("groups").append(part("section", "", part("h2", "", name), ...boxes));
}

try {
  const response = await fetch("/openapi.json");
  show(await response.json());
} catch (error) {
  console.warn("openapi.json could not be read", error);
  at("about").textContent = "openapi.json could not be read; reload the page to try again.";
}
