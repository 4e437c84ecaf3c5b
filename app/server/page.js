"use strict";

const at = (id) => document.getElementById(id);
const form = at("asked");
let domains = [];
let targets = []; // databases and brokers that the server lets us fill
const isDatabase = (target) => /^(duckdb|sqlite|postgres|postgresql|mysql|mariadb):/.test(target);
let chosen = null; // the domain
let cast = []; // scenarios as asked for: { scenario, parameters }

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

async function ask(path, options = {}) {
  const answer = await fetch(path, {
    ...options,
    headers: options.body ? { "Content-Type": "application/json" } : {},
  });
  if (answer.status === 204) return null;
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const detail = Array.isArray(body.detail) ? body.detail.map((d) => `${d.loc.slice(1).join(".")}: ${d.msg}`).join("; ") : null;
    throw new Error(body.error || detail || `the server answers ${answer.status}`);
  }
  return body;
}

function say(problem) {
  at("problem").textContent = problem;
}

function choose(name) {
  chosen = domains.find((d) => d.name === name);
  cast = [];
  at("about").textContent = chosen.doc;
  at("root").textContent = `${chosen.root}s, at most ${chosen.most.toLocaleString()}`;
  form.elements.size.value = chosen.size;
  form.elements.size.max = chosen.most;
  form.elements.start.value = chosen.start;
  form.elements.end.value = chosen.end;
  const shown = { parquet: "Parquet", csv: "CSV", ndjson: "NDJSON", json: "JSON" };
  const forms = [...chosen.formats.map((f) => [f, shown[f] || f]), ...Object.keys(chosen.views).map((v) => [v, v]), ...targets.filter(isDatabase).map((t) => [t, `into ${t}`])];
  const brokers = [["", "here, to be read"], ...targets.filter((t) => !isDatabase(t)).map((t) => [t, t])];
  form.elements.broker.replaceChildren(...brokers.map(([value, text]) => make("option", { value }, text)));
  form.elements.form.replaceChildren(...forms.map(([value, text]) => make("option", { value }, text)));
  showScenarios();
  showCast();
}

function showScenarios() {
  const words = at("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = chosen.scenarios.filter((s) => words.every((w) => `${s.name} ${s.title} ${s.doc}`.toLowerCase().includes(w)));
  at("scenarios").replaceChildren(
    ...found.map((scenario, n) => {
      const add = make("button", { type: "button", tabIndex: n ? -1 : 0 }, "Add");
      add.setAttribute("aria-label", `Add ${scenario.title}`);
      add.addEventListener("click", () => {
        const parameters = Object.fromEntries([["count", 1], ...scenario.parameters.map((p) => [p.name, p.default])]);
        cast.push({ scenario, parameters });
        showCast();
      });
      return make("li", {}, make("span", {}, make("strong", {}, scenario.title), " ", make("span", { className: "soft" }, scenario.doc)), add);
    }),
  );
}

// one stop of the Tab key for the whole list: arrow keys move within it
at("scenarios").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const buttons = [...at("scenarios").querySelectorAll("button")];
  const here = buttons.indexOf(document.activeElement);
  if (!step || here < 0) return;
  event.preventDefault();
  const next = buttons[(here + step + buttons.length) % buttons.length];
  buttons[here].tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});

function showCast() {
  at("cast").replaceChildren(
    ...cast.map((entry, n) => {
      const remove = make("button", { type: "button" }, "Remove");
      remove.setAttribute("aria-label", `Remove ${entry.scenario.title}`);
      remove.addEventListener("click", () => {
        cast.splice(n, 1);
        showCast();
      });
      const all = [{ name: "count", type: "int", doc: "How many instances.", min: 1 }, ...entry.scenario.parameters];
      return make("li", {}, make("strong", {}, entry.scenario.title), remove, make("div", { className: "row" }, ...all.map((p) => field(entry, p))));
    }),
  );
}

function field(entry, p) {
  let input;
  if (p.choices && p.choices.length) {
    input = make("select", {}, ...p.choices.map((c) => make("option", { value: c }, String(c))));
  } else if (p.type === "bool") {
    input = make("input", { type: "checkbox", checked: entry.parameters[p.name] });
  } else {
    const kind = { int: "number", float: "number", date: "date" }[p.type] || "text";
    input = make("input", { type: kind });
    if (kind === "number") input.step = p.type === "int" ? 1 : "any";
    if (p.min !== null && p.min !== undefined) input.min = p.min;
    if (p.max !== null && p.max !== undefined) input.max = p.max;
  }
  if (p.type !== "bool") input.value = entry.parameters[p.name] ?? "";
  input.addEventListener("change", () => {
    const number = p.type === "int" || p.type === "float";
    entry.parameters[p.name] = p.type === "bool" ? input.checked : number ? Number(input.value) : input.value;
  });
  const label = make("label", {}, p.name, input);
  label.title = p.doc || "";
  return label;
}

function asked() {
  const scenarios = cast.map((entry) => {
    const given = Object.entries(entry.parameters).filter(([name, value]) => {
      const known = entry.scenario.parameters.find((p) => p.name === name);
      return value !== null && value !== "" && (name === "count" || value !== known.default);
    });
    return { name: entry.scenario.name, parameters: Object.fromEntries(given) };
  });
  const { size, seed, start, end } = form.elements;
  return { domain: chosen.name, size: Number(size.value), seed: Number(seed.value), start: start.value, end: end.value, scenarios };
}

async function preview() {
  const body = asked();
  const most = 200;
  if (body.size > most) body.size = most;
  const found = await ask("api/preview", { method: "POST", body: JSON.stringify(body) });
  at("pictures").replaceChildren(
    ...found.pictures.map((p) => {
      // an image knows nothing of the page that it stands on: its ink is the page's, told here
      const svg = p.svg.replaceAll("currentColor", getComputedStyle(document.body).color);
      const picture = make("img", { alt: `${p.title}. ${p.caption}`, src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}` });
      return make("figure", {}, make("h3", {}, p.title), picture, make("figcaption", { className: "soft" }, p.caption));
    }),
  );
  const names = Object.keys(found.tables);
  const tabs = names.map((name) => {
    const tab = make("button", { type: "button", role: "tab" }, `${name} (${found.tables[name].rows.toLocaleString()})`);
    tab.addEventListener("click", () => show(name));
    return tab;
  });
  function show(name) {
    tabs.forEach((tab, n) => {
      tab.setAttribute("aria-selected", names[n] === name);
      tab.tabIndex = names[n] === name ? 0 : -1;
    });
    const { columns, head } = found.tables[name];
    const rows = head.map((row) => {
      const cells = columns.map((c) => make("td", {}, row[c] === undefined ? "" : String(row[c])));
      const why = make("button", { type: "button", className: "why" }, "why?");
      why.setAttribute("aria-label", `Why is there ${name} ${row[columns[0]]}?`);
      why.addEventListener("click", () => explain({ ...body, table: name, key: row[columns[0]] }));
      return make("tr", {}, make("td", {}, why), ...cells);
    });
    at("explained").hidden = true;
    // labels are about rows: they have no story of their own
    const told = name !== "label";
    if (!told) rows.forEach((row) => row.firstChild.replaceChildren());
    const titles = make("tr", {}, make("th", { scope: "col" }, told ? make("span", { className: "soft" }, "story") : ""), ...columns.map((c) => make("th", { scope: "col" }, c)));
    at("table").replaceChildren(make("table", {}, make("thead", {}, titles), make("tbody", {}, ...rows)));
  }
  at("tabs").replaceChildren(...tabs);
  at("tabs").onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length;
    show(names[next]);
    tabs[next].focus();
  };
  show(names[0]);
  at("command").textContent = found.command;
  at("python").textContent = found.python;
  at("preview").hidden = false;
  at("preview-title").focus();
}

async function explain(body) {
  at("explained").hidden = false;
  at("explained").textContent = "…";
  try {
    at("explained").textContent = (await ask("api/explain", { method: "POST", body: JSON.stringify(body) })).text;
  } catch (error) {
    at("explained").textContent = error.message;
  }
  at("explained").focus();
}

async function start() {
  const kind = form.elements.form.value;
  const body = asked();
  if (chosen.formats.includes(kind)) body.format = kind;
  else if (kind.includes("://")) body.to = kind;
  else body.view = kind;
  await ask("api/jobs", { method: "POST", body: JSON.stringify(body) });
  await follow();
}

let following = 0;
async function follow() {
  const turn = ++following;
  for (;;) {
    const jobs = await ask("api/jobs");
    if (turn !== following) return;
    at("jobs").hidden = jobs.length === 0;
    at("joblist").replaceChildren(...jobs.map(jobItem));
    if (!jobs.some((j) => j.state === "queued" || j.state === "running")) return;
    await new Promise((resolve) => setTimeout(resolve, 700));
  }
}

function jobItem(job) {
  const { domain, size, seed } = job.asked;
  const remove = make("button", { type: "button" }, job.state === "running" || job.state === "queued" ? "Cancel" : "Delete");
  remove.setAttribute("aria-label", `${remove.textContent} ${domain} ${job.id}`);
  remove.addEventListener("click", async () => {
    await ask(`api/jobs/${job.id}`, { method: "DELETE" });
    await follow();
  });
  const parts = [make("strong", {}, `${domain}, size ${size.toLocaleString()}, seed ${seed}`), remove];
  if (job.state === "running" || job.state === "queued") {
    const bar = make("progress", { max: 1, value: job.progress });
    bar.setAttribute("aria-label", `${domain}: ${job.state}`);
    parts.push(bar);
  } else if (job.state === "done") {
    const rows = Object.values(job.result.tables).reduce((sum, t) => sum + t.rows, 0);
    const checked = job.result.validation ? `, ${job.result.validation.checks} checks, ${job.result.validation.violations.length} violations` : "";
    const link = make("a", { href: `api/jobs/${job.id}/download`, download: "" }, "Download");
    const said = make("span", { className: "said" }, `${rows.toLocaleString()} rows${checked}. `, job.asked.to ? job.asked.to : link);
    parts.push(said);
    if (job.result.validation) parts.push(judging(job));
  } else {
    parts.push(make("span", { className: "said" }, job.error || job.state));
  }
  return make("li", { id: `job-${job.id}` }, ...parts);
}

const judged = {};
function judging(job) {
  const place = make("span", { className: "said", role: "status" });
  const show = () => place.replaceChildren(`${judged[job.id]} `, make("a", { href: `api/jobs/${job.id}/report`, target: "_blank" }, "Read the report"));
  if (judged[job.id]) {
    show();
    return place;
  }
  const button = make("button", { type: "button" }, "Evaluate");
  button.setAttribute("aria-label", `Evaluate ${job.asked.domain} ${job.id}`);
  button.addEventListener("click", async () => {
    place.textContent = "Measuring …";
    try {
      judged[job.id] = (await ask(`api/jobs/${job.id}/evaluate`, { method: "POST" })).summary;
      show();
    } catch (error) {
      place.textContent = error.message;
    }
  });
  place.append(button);
  return place;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const buttons = form.querySelectorAll("button[type=submit]");
  buttons.forEach((b) => (b.disabled = true));
  say("");
  try {
    const acts = { make: start, stream: startStream };
    await (acts[event.submitter && event.submitter.value] || preview)();
  } catch (error) {
    say(error.message);
  } finally {
    buttons.forEach((b) => (b.disabled = false));
  }
});
at("find").addEventListener("input", showScenarios);
document.querySelectorAll("[data-copies]").forEach((button) => {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(at(button.dataset.copies).textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
});

(async () => {
  try {
    [domains, targets] = await Promise.all([ask("api/domains"), ask("api/targets")]);
    at("domains").replaceChildren(
      ...domains.map((d, n) => {
        const input = make("input", { type: "radio", name: "domain", value: d.name, checked: n === 0 });
        input.addEventListener("change", () => choose(d.name));
        return make("label", {}, input, d.name);
      }),
    );
    choose(domains[0].name);
    await follow();
    await followStreams();
  } catch (error) {
    say(error.message);
  }
})();
