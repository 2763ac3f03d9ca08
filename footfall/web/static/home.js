// The home page: shows how the server is, how to send an event, and what arrives. Asks nothing of any other server.

const EVERY_MS = 2000;
const PATIENCE_MS = 10000;
const KEY = "footfall.key";
const PATHS = ["/", "/products", "/pricing", "/blog/hello", "/about"];

const at = (id) => document.getElementById(id);
const number = new Intl.NumberFormat();
const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };

/** GET a JSON answer of the API, with the key if there is one. */
async function ask(path) {
  const key = sessionStorage.getItem(KEY);
  const response = await fetch(path, {
    headers: key ? { authorization: `Bearer ${key}` } : {},
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  return { status: response.status, body: await response.json() };
}

// -- how it is

const SAID = { ok: "Everything works", degraded: "Needs a look", down: "Not accepting events" };
const HELLO = { ok: "It is running.", degraded: "It is running, with a limp.", down: "It can not take events now." };

function showHealth(health) {
  at("state").dataset.state = health.status;
  put(at("state-text"), SAID[health.status] ?? health.status);
  put(at("hello"), HELLO[health.status] ?? "It is running.");
  at("tiles").hidden = !health.queue;
  if (!health.queue) return;
  const { queue, store, worker } = health;
  tile("queue", queue.status === "ok" ? queue.kind : "down", queue.status === "ok" ? "" : "bad");
  put(at("queue-note"), queue.status === "ok" ? jobs(queue) : queue.message);
  tile("store", store.status === "ok" ? store.kind : "down", store.status === "ok" ? "" : "bad");
  put(at("store-note"), store.status === "ok" ? `answers in ${store.latency_ms.toFixed(1)} ms` : store.message);
  tile("worker", worker.status, { stopped: "warn", failing: "bad" }[worker.status] ?? "");
  put(at("worker-note"), worker.lag_seconds > 1 ? `${duration(worker.lag_seconds)} behind` : "up to date");
  put(at("version"), health.version);
  put(at("uptime"), `up for ${duration(health.uptime_seconds)}`);
}

function tile(id, text, state) {
  put(at(id), text);
  at(id).dataset.state = state;
}

function jobs(queue) {
  const waiting = queue.waiting + queue.active + queue.delayed;
  const said = waiting ? `${number.format(waiting)} waiting` : "empty";
  return queue.failed ? `${said}, ${number.format(queue.failed)} failed` : said;
}

function duration(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60]];
  for (const [unit, size] of units) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.floor(seconds)} s`;
}

function showUnreachable() {
  at("state").dataset.state = "down";
  put(at("state-text"), "Not reachable");
  put(at("hello"), "Nothing answers.");
  put(at("lead"), "The server was stopped, or the way to it is broken. This page keeps trying.");
}

// -- what arrives

const seen = new Map();

function showSites({ sites, total }) {
  const isEmpty = sites.length === 0;
  at("waiting").hidden = !isEmpty;
  at("sites").hidden = isEmpty;
  put(at("waiting-text"), "Waiting for the first event …");
  put(at("more"), total > sites.length ? `The ${sites.length} latest of ${number.format(total)} sites.` : "");
  if (!isEmpty) put(at("lead"), "Numbers of today, as they come in.");
  const rows = new Map([...at("sites").children].map((row) => [row.dataset.id, row]));
  sites.forEach((site, place) => {
    const row = rows.get(site.id) ?? newRow(site.id);
    rows.delete(site.id);
    fill(row, site);
    if (at("sites").children[place] !== row) at("sites").insertBefore(row, at("sites").children[place] ?? null);
  });
  for (const row of rows.values()) row.remove();
}

function newRow(id) {
  const row = document.createElement("li");
  row.dataset.id = id;
  const link = document.createElement("a");
  link.className = "card site";
  link.href = `/api/stats?site_id=${encodeURIComponent(id)}`;
  link.append(part("span", "who", part("span", "name", id), part("span", "note when")));
  for (const name of ["views", "visitors"]) link.append(part("span", `figure ${name}`, part("b"), part("span", "note")));
  link.addEventListener("click", (event) => { if (sessionStorage.getItem(KEY)) openWithKey(event, link); });
  row.append(link);
  return row;
}

function part(kind, className = "", ...inside) {
  const node = document.createElement(kind);
  node.className = className;
  node.append(...inside);
  return node;
}

function fill(row, site) {
  const { total_views: views, unique_users_count: visitors } = site.today;
  const link = row.firstElementChild;
  put(link.querySelector(".when"), when(site.last_event_at));
  figure(link.querySelector(".views"), views, "view", "views");
  figure(link.querySelector(".visitors"), visitors, "visitor", "visitors");
  const before = seen.get(site.id);
  const now = `${views} ${visitors} ${site.last_event_at}`;
  seen.set(site.id, now);
  if (before !== undefined && before === now) return;
  if (before !== undefined || hasLooked) {
    link.classList.remove("fresh");
    void link.offsetWidth; // so that the animation starts again
    link.classList.add("fresh");
    put(at("arrived"), `${site.id}: ${number.format(views)} views, ${number.format(visitors)} visitors today`);
  }
}

function figure(node, count, one, many) {
  put(node.querySelector("b"), number.format(count));
  put(node.querySelector(".note"), count === 1 ? one : many);
}

function when(iso) {
  if (!iso) return "no events yet";
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  return seconds < 10 ? "just now" : `${duration(seconds)} ago`;
}

/** A link can not carry the key, so the answer is fetched and shown in its place. */
async function openWithKey(event, link) {
  event.preventDefault();
  const { body } = await ask(link.getAttribute("href"));
  const url = URL.createObjectURL(new Blob([JSON.stringify(body, null, 2)], { type: "application/json" }));
  location.assign(url);
}

let hasLooked = false;

function showLock(isLocked, message = "") {
  at("locked").hidden = !isLocked;
  at("forget").hidden = isLocked || !sessionStorage.getItem(KEY);
  put(at("key-error"), message);
  at("waiting").classList.toggle("locked-out", isLocked);
  if (!isLocked) return;
  at("sites").hidden = true;
  at("waiting").hidden = false;
  put(at("waiting-text"), "The numbers show here once there is a key.");
  put(at("more"), "");
}

async function look() {
  const health = await ask("/api/health");
  if (health.status === 401) {
    sessionStorage.removeItem(KEY);
    showLock(true, health.body.error);
    return;
  }
  showHealth(health.body);
  const sites = await ask("/api/sites?limit=12");
  if (sites.status === 401 || sites.status === 403) {
    if (sites.status === 403) sessionStorage.removeItem(KEY);
    showLock(true, sites.status === 403 || sessionStorage.getItem(KEY) ? sites.body.error : at("key-error").textContent);
  } else if (sites.status === 200) {
    showLock(false);
    showSites(sites.body.data);
    hasLooked = true;
  }
}

let timer;

async function keepLooking() {
  clearTimeout(timer);
  if (!document.hidden) {
    try {
      await look();
    } catch (error) {
      console.warn("the server did not answer", error);
      showUnreachable();
    }
  }
  clearTimeout(timer);
  timer = setTimeout(keepLooking, EVERY_MS);
}

// -- sending

const event = { site_id: "my-website", event_type: "pageview", path: "/products", user_id: "user-123" };
put(at("curl"), `curl -X POST ${location.origin}/api/event \\
  -H "Content-Type: application/json" \\
  -d '${JSON.stringify(event, null, 2).replaceAll("\n", "\n  ")}'`);
put(at("js"), `await fetch("${location.origin}/api/event", {
  method: "POST",
  keepalive: true,
  body: JSON.stringify({
    site_id: "my-website",
    event_type: "pageview",
    path: location.href,
    referrer: document.referrer,
    title: document.title,
  }),
});`);

at("send").addEventListener("click", async () => {
  at("send").disabled = true;
  const path = PATHS[Math.floor(Math.random() * PATHS.length)];
  try {
    const response = await fetch("/api/event", {
      method: "POST",
      body: JSON.stringify({ site_id: "my-website", event_type: "pageview", path, title: "Sent from the home page" }),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const body = await response.json();
    const dropped = response.headers.get("x-footfall-dropped");
    if (!response.ok) put(at("sent"), `${response.status}: ${body.details?.[0]?.message ?? body.error}`);
    else if (dropped) put(at("sent"), `Accepted, and not counted: ${dropped}.`);
    else put(at("sent"), `A view of ${path} was safe on disk after ${body.processing_time_ms} ms.`);
  } catch (error) {
    console.warn("the event was not sent", error);
    put(at("sent"), "The server did not answer.");
  }
  at("send").disabled = false;
  setTimeout(keepLooking, 600);
});

// -- keys, tabs, copying

at("key-form").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  sessionStorage.setItem(KEY, at("key").value.trim());
  at("key").value = "";
  keepLooking();
});

at("forget").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  keepLooking();
});

const tabs = [...document.querySelectorAll("[role=tab]")];

function choose(tab) {
  for (const each of tabs) {
    const isChosen = each === tab;
    each.setAttribute("aria-selected", String(isChosen));
    each.tabIndex = isChosen ? 0 : -1;
    at(each.getAttribute("aria-controls")).hidden = !isChosen;
  }
}

tabs.forEach((tab, place) => {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (pressed) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[pressed.key];
    if (!step) return;
    const next = tabs[(place + step + tabs.length) % tabs.length];
    choose(next);
    next.focus();
  });
});

for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", async () => {
    const code = at(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(code.textContent);
      put(button, "Copied");
    } catch {
      // Without a secure context (a plain http address in the network) there is no clipboard: select, so that a key does it.
      getSelection().selectAllChildren(code);
      put(button, "Selected");
    }
    setTimeout(() => put(button, "Copy"), 1600);
  });
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) keepLooking(); });
keepLooking();
