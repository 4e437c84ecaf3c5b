"use strict";

async function startStream() {
  const body = asked();
  const { broker, speed } = form.elements;
  if (broker.value) body.to = broker.value;
  if (speed.value) body.speed = speed.value;
  await ask("api/streams", { method: "POST", body: JSON.stringify(body) });
  await followStreams();
}

const streams = {}; // by id: what shows a stream, made once so that what is being typed stays
async function followStreams() {
  const found = await ask("api/streams");
  at("streams").hidden = found.length === 0;
  for (const id of Object.keys(streams)) {
    if (!found.some((s) => s.id === id)) {
      streams[id].item.remove();
      delete streams[id];
    }
  }
  for (const stream of found) {
    if (streams[stream.id]) continue;
    streams[stream.id] = streamItem(stream);
    at("streamlist").prepend(streams[stream.id].item);
    watch(stream.id);
  }
}

async function watch(id) {
  while (streams[id]) {
    let stream;
    try {
      stream = await ask(`api/streams/${id}`);
    } catch (error) {
      return; // it was deleted
    }
    if (!streams[id]) return;
    streams[id].show(stream);
    if (stream.state !== "queued" && stream.state !== "running") return;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

function streamItem(stream) {
  const { domain, size, seed } = stream.asked;
  const name = `${domain} ${stream.id}`;
  const said = make("span", { className: "said" });
  const problem = make("p", { role: "alert" });
  const button = (text, act) => {
    const made = make("button", { type: "button" }, text);
    made.setAttribute("aria-label", `${text} ${name}`);
    made.addEventListener("click", async () => {
      made.disabled = true;
      problem.textContent = "";
      try {
        await act();
      } catch (error) {
        problem.textContent = error.message;
      }
      made.disabled = false;
    });
    return made;
  };
  const tell = async (told) => show({ ...stream, state: "running", status: await ask(`api/streams/${stream.id}/control`, { method: "POST", body: JSON.stringify(told) }) });
  const known = domains.find((d) => d.name === domain);
  const scenario = make("select", {}, ...known.scenarios.map((s) => make("option", { value: s.name }, s.title)));
  const speed = make("input", { placeholder: "600x", autocomplete: "off" });
  const prior = make("input", { placeholder: "purchase.void=0.05", autocomplete: "off" });
  const shift = () => {
    const [key, value] = prior.value.split("=").map((part) => part.trim());
    if (!key || !value) throw new Error("expected NAME=VALUE");
    return { action: "change", set: { [key]: Number.isNaN(Number(value)) ? value : Number(value) } };
  };
  const pause = button("Pause", () => tell({ action: "pause" }));
  const resume = button("Resume", () => tell({ action: "resume" }));
  const controls = make("div", { className: "row" },
    pause, resume, button("Stop", () => tell({ action: "stop" })),
    make("label", {}, "Speed", speed), button("Set speed", () => tell({ action: "pace", speed: speed.value })),
    make("label", {}, "Scenario", scenario), button("Start now", () => tell({ action: "change", scenario: [scenario.value] })),
    make("label", {}, "Prior", prior), button("Shift", () => tell(shift())),
  );
  const remove = button("Delete", async () => {
    await ask(`api/jobs/${stream.id}`, { method: "DELETE" });
    await followStreams();
  });
  const link = make("a", { href: `api/streams/${stream.id}/events`, download: "events.ndjson" }, "Download the events");
  const item = make("li", { id: `stream-${stream.id}` }, make("strong", {}, `${domain}, size ${size.toLocaleString()}, seed ${seed}`), remove, said, controls, problem);

  function show(now) {
    const account = now.status || (now.result && now.result.account);
    const plays = now.state === "running" && now.status;
    controls.hidden = !plays;
    const changes = (now.status && now.status.changes) || (now.result && now.result.changes) || [];
    const told = account ? `${account.confirmed.toLocaleString()} of ${account.messages.toLocaleString()} confirmed, ${account.retried} again` : "";
    const state = plays ? (now.status.paused ? "paused" : "plays") : now.state;
    const parts = [state, told, changes.length ? `${changes.length} changed on the way` : "", now.error || ""];
    said.replaceChildren(`${parts.filter(Boolean).join(", ")}. `);
    if (!now.asked.to && account && account.confirmed) said.append(link);
    if (plays) {
      pause.hidden = now.status.paused;
      resume.hidden = !now.status.paused;
    }
  }
  show(stream);
  return { item, show };
}
