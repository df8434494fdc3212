"use strict";
// The live page: shows what the agent reports, and asks it for what the person in front wants.
// Quantities travel in SI units; only what is shown is in ms, mm and mrad.

const STATE_EVERY = 250;    // ms between questions for the state; they are the heartbeat too
const ANSWER_WITHIN = 1500; // ms until the connection counts as lost
const TRACE_SPAN = 60000;   // ms of sharpness that are drawn
const CLIENT = Array.from(crypto.getRandomValues(new Uint8Array(16)),
  (byte) => byte.toString(16).padStart(2, "0")).join("");
const COLOURS = { R: "#ff6b60", G: "#6cc08b", B: "#6aa5ff", Y: "#d5dde4" };
const STEPS = {
  m: [[1e-6, "1 µm"], [1e-5, "10 µm"], [1e-4, "100 µm"], [1e-3, "1 mm"], [1e-2, "10 mm"]],
  rad: [[1e-5, "10 µrad"], [1e-4, "100 µrad"], [1e-3, "1 mrad"], [1e-2, "10 mrad"], [1e-1, "100 mrad"]],
};

const $ = (id) => document.getElementById(id);
let token = "";
let info = null;
let state = null;
let live = null;
let mine = false;
let trace = [];
let best = 0;
let drag = null;
let rate = 0;

// Talking to the agent

async function request(method, path, body, within = ANSWER_WITHIN) {
  const options = {
    method,
    cache: "no-store",
    signal: within ? AbortSignal.timeout(within) : undefined,
    headers: { "Authorization": `Bearer ${token}`, "Veilens-Client": CLIENT, "Veilens-Version": "1" },
  };
  if (body !== undefined) options.body = JSON.stringify(body);
  options.keepalive = path === "/api/release"; // it is sent while the page closes
  const answer = await fetch(path, options);
  if (answer.ok) return answer;
  let found = null;
  try { found = (await answer.json()).error; } catch { /* not an agent */ }
  const error = new Error(found ? found.message : `the agent answered ${answer.status}`);
  error.refused = true;
  error.status = answer.status;
  throw error;
}

const ask = async (path) => (await request("GET", path)).json();

async function tell(path, body = {}, within = ANSWER_WITHIN) {
  try {
    const answer = await (await request("POST", path, body, within)).json();
    say("");
    return answer;
  } catch (error) {
    say(error.message);
    return null;
  }
}

function say(text) {
  if ($("message").textContent !== text) $("message").textContent = text;
}

async function emergencyStop() {
  $("estop").classList.add("latched");
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const done = await (await request("POST", "/api/emergency-stop", { reason: "the live page" }, 1000)).json();
      const failed = Object.entries(done.failed);
      say(failed.length ? `NOT STOPPED: ${failed.map(([name, why]) => `${name}: ${why}`).join("; ")}` : "");
      return;
    } catch (error) {
      say(`THE STOP WAS NOT CONFIRMED (${error.message}): use the switch of the rig`);
    }
  }
}

// The state

async function pollState() {
  try {
    state = await ask("/api/state");
    $("lost").hidden = true;
    document.body.classList.remove("stale");
    showState();
  } catch (error) {
    if (error.status === 401) { logOut(); return; }
    $("lost").hidden = false;
    document.body.classList.add("stale");
  }
  setTimeout(pollState, STATE_EVERY);
}

function showState() {
  const latched = state.stopped !== null;
  mine = state.mine;
  $("stopped").hidden = !latched;
  $("why").textContent = latched ? `Reason: ${state.stopped.reason}.` : "";
  $("clear").disabled = !mine;
  $("clear").title = mine ? "" : "Take control first";
  $("estop").classList.toggle("latched", latched);
  $("holder").textContent = mine ? "this page" : state.control ?? "nobody";
  $("take").textContent = mine ? "Give back" : "Take control";
  $("take").classList.toggle("held", mine);
  $("take").disabled = !mine && state.control !== null;
  for (const set of document.querySelectorAll("fieldset.needs-control")) set.disabled = !mine;
  for (const set of document.querySelectorAll("fieldset.still")) {
    set.disabled = !mine || latched || state.moving;
  }
  for (const [name, stage] of Object.entries(state.stages)) showStage(name, stage);
  for (const [name, levels] of Object.entries(state.lights)) showLight(name, levels);
  fill("exposure", shortest(state.view.exposure * 1e3));
  fill("gain", shortest(state.view.gain));
  const roi = state.view.roi ?? wholeFrame();
  if (roi) for (const key of ["column", "row", "width", "height"]) fill(`roi-${key}`, roi[key]);
}

function fill(id, value) {
  const input = $(id);
  if (document.activeElement !== input) input.value = value;
}

const shortest = (value) => String(Number(value.toPrecision(5)));

function wholeFrame() {
  const granted = state?.camera.granted;
  if (granted) return granted.roi;
  return info ? { row: 0, column: 0, height: info.camera.shape[0], width: info.camera.shape[1] } : null;
}

function showStage(name, stage) {
  const box = document.querySelector(`[data-stage="${CSS.escape(name)}"]`);
  const word = stage.error ? stage.error.message
    : `${stage.moving ? "moving" : stage.homed ? "homed" : "not homed"} · ${stage.state}`;
  box.querySelector(".state").textContent = word;
  for (const [axis, position] of Object.entries(stage.position)) {
    const value = box.querySelector(`[data-axis="${CSS.escape(axis)}"]`);
    value.firstChild.textContent = (position * 1e3).toFixed(value.dataset.digits);
    value.classList.toggle("unsure", !stage.homed);
  }
}

function showLight(name, levels) {
  for (const [channel, level] of Object.entries(levels)) {
    const lamp = document.querySelector(
      `[data-light="${CSS.escape(name)}"][data-channel="${CSS.escape(channel)}"]`);
    const slider = lamp.querySelector("input");
    if (document.activeElement !== slider) slider.value = level;
    lamp.querySelector("output").textContent = `${(level * 100).toFixed(0)} %`;
    lamp.querySelector("label").classList.toggle("lit", level > 0);
  }
}

// The picture and its measures: a record of hardware.agent.wire

async function pollLive() {
  let after = 0;
  let before = 0;
  while (token) {
    try {
      const answer = await request("GET", `/api/live?after=${after}`, undefined, 20000);
      const found = unpack(await answer.arrayBuffer());
      after = found.header.number;
      if (found.header.kind === "error") {
        say(`Camera: ${found.header.error.message}`);
      } else if (found.header.kind === "live") {
        live = found;
        const now = performance.now();
        if (before) rate += 0.2 * (1000 / (now - before) - rate);
        before = now;
        if (live.header.measures.sharpness !== null) trace.push([now, live.header.measures.sharpness]);
        trace = trace.filter(([time]) => now - time < TRACE_SPAN);
        requestAnimationFrame(showLive);
      }
    } catch (error) {
      if (error.status === 401) return;
      after = 0;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { header, payload: new Uint8Array(buffer, 4 + length, header.bytes) };
}

function showLive() {
  const { header, payload } = live;
  const [height, width] = header.picture;
  const [zoomHeight, zoomWidth] = header.region;
  draw($("picture"), payload.subarray(0, height * width * 3), height, width);
  draw($("zoom"), payload.subarray(height * width * 3), zoomHeight, zoomWidth);
  outline();
  const measures = header.measures;
  const temperature = header.temperature === null ? "" : `, ${header.temperature.toFixed(0)} °C`;
  $("size").textContent = `${header.frame.shape[1]} × ${header.frame.shape[0]} px${temperature}`;
  $("rate").textContent = rate ? `· ${rate.toFixed(1)} frames/s` : "";
  $("sharpness").textContent = measures.sharpness === null ? "–" : measures.sharpness.toFixed(4);
  if (measures.sharpness !== null) best = Math.max(best, measures.sharpness);
  $("best").textContent = best ? best.toFixed(4) : "–";
  $("centroid").textContent = measures.centroid === null ? "–"
    : `${measures.centroid[0].toFixed(2)}, ${measures.centroid[1].toFixed(2)} px`;
  showLevels(measures.channels);
  showHistogram(header);
  showTrace();
}

function draw(canvas, bytes, height, width) {
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const factor = 2 ** Number($("display").value);
  const mark = $("zebra").checked;
  const out = image.data;
  for (let i = 0, j = 0; i < bytes.length; i += 3, j += 4) {
    const clipped = mark && (bytes[i] === 255 || bytes[i + 1] === 255 || bytes[i + 2] === 255);
    out[j] = clipped ? 255 : bytes[i] * factor;
    out[j + 1] = clipped ? 40 : bytes[i + 1] * factor;
    out[j + 2] = clipped ? 200 : bytes[i + 2] * factor;
    out[j + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function outline() {
  const { frame, measures, picture, step } = live.header;
  const canvas = $("marks");
  const density = devicePixelRatio;
  const scale = canvas.clientWidth / (picture[1] * step);
  canvas.width = canvas.clientWidth * density; // clears it too
  canvas.height = canvas.clientHeight * density;
  const context = canvas.getContext("2d");
  context.scale(density, density);
  const roi = drag?.roi ?? measures.roi;
  if (drag || roi.width < frame.shape[1] || roi.height < frame.shape[0]) {
    context.strokeStyle = "#d5dde4";
    context.strokeRect((roi.column - frame.origin[1]) * scale, (roi.row - frame.origin[0]) * scale,
      roi.width * scale, roi.height * scale);
  }
  if (measures.centroid !== null && !drag) {
    const x = (measures.centroid[0] - frame.origin[1] + 0.5) * scale;
    const y = (measures.centroid[1] - frame.origin[0] + 0.5) * scale;
    context.strokeStyle = "#e0b15c";
    context.lineWidth = 1.5;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * 22, y + dy * 22);
      context.lineTo(x + dx * 34, y + dy * 34);
    }
    context.stroke();
  }
}

function showLevels(channels) {
  const body = $("levels");
  for (const [colour, level] of Object.entries(channels)) {
    let row = body.querySelector(`[data-colour="${colour}"]`);
    if (!row) {
      row = body.insertRow();
      row.dataset.colour = colour;
      const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
      swatch.style.background = COLOURS[colour];
      row.insertCell().append(swatch, colour === "Y" ? "mono" : colour);
      for (let i = 0; i < 3; i++) row.insertCell();
    }
    const [, peak, mean, clipped] = row.cells;
    peak.className = "peak";
    peak.style.setProperty("--colour", COLOURS[colour]);
    peak.style.setProperty("--share", `${Math.min(100, level.peak * 100)}%`);
    peak.textContent = `${(level.peak * 100).toFixed(1)} %`;
    mean.textContent = `${(level.mean * 100).toFixed(1)} %`;
    clipped.textContent = `${(level.clipped * 100).toFixed(3)} %`;
    clipped.className = level.clipped > 0 ? "over" : "";
  }
}

function showHistogram(header) {
  const canvas = $("histogram");
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  const all = Object.entries(header.measures.channels);
  const highest = Math.max(1, ...all.flatMap(([, level]) => level.histogram));
  context.globalCompositeOperation = "lighter";
  for (const [colour, level] of all) {
    const bin = width / level.histogram.length;
    context.fillStyle = `${COLOURS[colour]}99`;
    level.histogram.forEach((count, i) => {
      const tall = count ? Math.max(1, Math.sqrt(count / highest) * (height - 4)) : 0;
      context.fillRect(i * bin, height - tall, bin - 0.5, tall);
    });
  }
  context.globalCompositeOperation = "source-over";
  context.fillStyle = "#94a1ad";
  context.fillRect(header.black_level / header.values * width, 0, 1, height);
  $("highest").textContent = `${header.values - 1} DN`;
}

function showTrace() {
  const canvas = $("trace");
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  if (trace.length < 2) return;
  const now = trace.at(-1)[0];
  const top = Math.max(best, ...trace.map(([, value]) => value)) * 1.05;
  context.strokeStyle = "#2c353e";
  context.strokeRect(0, height - best / top * height, width, 0);
  context.strokeStyle = "#e0b15c";
  context.lineWidth = 1.5;
  context.beginPath();
  for (const [time, value] of trace) {
    context.lineTo(width * (1 - (now - time) / TRACE_SPAN), height - value / top * (height - 2));
  }
  context.stroke();
}

// What a person does

async function changeView(change) {
  const view = { exposure: state.view.exposure, gain: state.view.gain, roi: state.view.roi, ...change };
  if (view.roi === null) delete view.roi;
  const granted = await tell("/api/live/view", view, 5000);
  if (granted) state.view = granted;
}

function changeRoi() {
  const roi = {};
  for (const key of ["row", "column", "height", "width"]) roi[key] = Math.round(Number($(`roi-${key}`).value));
  changeView({ roi });
}

function pointed(event) {
  const box = $("picture").getBoundingClientRect();
  const { picture, step, frame: { shape, origin } } = live.header;
  const limit = (value, most) => Math.min(Math.max(value, 0), most);
  return [
    origin[1] + limit((event.clientX - box.left) / box.width * picture[1] * step, shape[1]),
    origin[0] + limit((event.clientY - box.top) / box.height * picture[0] * step, shape[0]),
  ];
}

function dragTo(event) {
  const [x, y] = pointed(event);
  const even = (value) => 2 * Math.round(value / 2);
  drag.roi = {
    column: even(Math.min(x, drag.x)), row: even(Math.min(y, drag.y)),
    width: even(Math.abs(x - drag.x)), height: even(Math.abs(y - drag.y)),
  };
}

function watchDrag() {
  const canvas = $("picture");
  canvas.addEventListener("pointerdown", (event) => {
    if (!live || !mine) { say("Take control to choose a region"); return; }
    const [x, y] = pointed(event);
    drag = { x, y };
    dragTo(event);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => { if (drag) { dragTo(event); showLive(); } });
  canvas.addEventListener("pointerup", () => {
    const roi = drag?.roi;
    drag = null;
    if (roi && roi.width >= 8 && roi.height >= 8) changeView({ roi });
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function button(text, label, action, className = "") {
  const made = element("button", { type: "button", textContent: text, onclick: action, className });
  made.setAttribute("aria-label", label);
  return made;
}

function buildStage(name, axes) {
  const home = button("Home", `Home ${name}`, () => tell("/api/stage/home", { stage: name }, 0));
  const box = element("div", { className: "device" });
  const word = element("p", { className: "state quiet" });
  const still = element("fieldset", { className: "still" });
  box.dataset.stage = name;
  box.append(element("div", { className: "head" }, element("h3", { textContent: name }), word), still);
  for (const [axis, limits] of Object.entries(axes)) {
    const unit = limits.unit === "m" ? "mm" : "mrad";
    const value = element("span", { className: "value" }, "–", element("small", { textContent: ` ${unit}` }));
    value.dataset.digits = limits.unit === "m" ? 4 : 3; // 0.1 µm, 1 µrad
    value.dataset.axis = axis;
    const step = element("select");
    step.setAttribute("aria-label", `Step of ${axis}`);
    for (const [size, text] of STEPS[limits.unit]) step.append(element("option", { value: size, textContent: text }));
    step.selectedIndex = 2;
    const jog = (sign) => () =>
      tell("/api/stage/jog", { stage: name, axis, distance: sign * Number(step.value) }, 0);
    const target = element("input", { type: "number", step: "any", className: "target" });
    target.setAttribute("aria-label", `Target of ${axis} in ${unit}`);
    target.placeholder = `${shortest(limits.low * 1e3)} to ${shortest(limits.high * 1e3)} ${unit}`;
    const go = () => {
      if (target.value !== "") tell("/api/stage/move", { stage: name, target: { [axis]: Number(target.value) / 1e3 } }, 0);
    };
    target.addEventListener("keydown", (event) => { if (event.key === "Enter") go(); });
    still.append(element("div", { className: "axis-row" },
      element("span", { className: "name", textContent: axis }), value, step,
      button("−", `${axis} minus`, jog(-1), "jog"), button("+", `${axis} plus`, jog(1), "jog"),
      target, button("Go", `Move ${axis}`, go, "go")));
  }
  const moving = element("fieldset", { className: "still" }, home);
  const halt = element("fieldset", { className: "needs-control" },
    button("Stop", `Stop ${name}`, () => tell("/api/stage/stop", { stage: name })));
  box.append(element("div", { className: "buttons" }, moving, halt));
  return box;
}

function buildLight(name, light) {
  const box = element("fieldset", { className: "device needs-control" });
  box.append(element("legend", { textContent: name }));
  for (const [channel, limits] of Object.entries(light.channels)) {
    const lamp = element("div", { className: "lamp" });
    Object.assign(lamp.dataset, { light: name, channel });
    const slider = element("input", { type: "range", min: 0, max: limits.max_level, step: 0.01, value: 0 });
    slider.id = `light-${name}-${channel}`;
    slider.addEventListener("change", () =>
      tell("/api/light/set", { light: name, channel, level: Number(slider.value) }).then(() => slider.blur()));
    const nm = limits.wavelength === null ? "" : ` ${(limits.wavelength * 1e9).toFixed(0)} nm`;
    const label = element("label", { textContent: `${channel}${nm}${limits.laser ? " (laser)" : ""}` });
    label.htmlFor = slider.id;
    lamp.append(label, slider, element("output"));
    box.append(lamp);
  }
  box.append(element("div", { className: "buttons" },
    button("Dark", `${name} dark`, () => tell("/api/light/off", { light: name }))));
  return box;
}

// Begin

function build() {
  document.title = info.rig;
  $("rig").textContent = info.rig;
  const { camera } = info;
  $("camera").textContent = `${camera.model}, ${camera.shape[1]} × ${camera.shape[0]} px of ${(camera.pixel_pitch * 1e6).toFixed(2)} µm`;
  $("stages").replaceChildren(...Object.entries(info.stages).map(([name, axes]) => buildStage(name, axes)));
  $("lights").replaceChildren(...Object.entries(info.lights).map(([name, light]) => buildLight(name, light)));
  for (const id of ["stages", "lights"]) $(id).closest("section").hidden = !$(id).children.length;
}

function logOut() {
  token = "";
  sessionStorage.removeItem("token");
  $("login").hidden = false;
  document.querySelector("main").hidden = true;
}

async function begin() {
  try {
    info = await ask("/api/info");
  } catch (error) {
    if (error.status === 401) { logOut(); return; }
    $("lost").hidden = false;
    setTimeout(begin, 1000);
    return;
  }
  sessionStorage.setItem("token", token);
  $("login").hidden = true;
  document.querySelector("main").hidden = false;
  build();
  pollState();
  pollLive();
}

function giveBack() {
  if (mine) request("POST", "/api/release", {}, 0).catch(() => { /* the agent will notice */ });
}

addEventListener("DOMContentLoaded", () => {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) history.replaceState(null, "", location.pathname); // it stays out of the history
  token = given ?? sessionStorage.getItem("token") ?? "";
  $("estop").onclick = emergencyStop;
  addEventListener("keydown", (event) => { if (event.key === "Escape") emergencyStop(); }, true);
  $("clear").onclick = () => tell("/api/clear", {}, 10000);
  $("take").onclick = () => (mine ? tell("/api/release") : tell("/api/control", { name: "the live page" }));
  $("reset").onclick = () => { best = 0; trace = []; };
  $("whole").onclick = () => changeView({ roi: null });
  $("display").oninput = () => { $("shown").textContent = shortest(2 ** Number($("display").value)); if (live) showLive(); };
  $("exposure").onchange = () => changeView({ exposure: Number($("exposure").value) / 1e3 });
  $("gain").onchange = () => changeView({ gain: Number($("gain").value) });
  $("half").onclick = () => changeView({ exposure: state.view.exposure / 2 });
  $("double").onclick = () => changeView({ exposure: state.view.exposure * 2 });
  for (const key of ["row", "column", "height", "width"]) $(`roi-${key}`).onchange = changeRoi;
  $("login").onsubmit = (event) => { event.preventDefault(); token = $("token").value; begin(); };
  addEventListener("pagehide", giveBack);
  // A page in the background is slowed down by the browser and would be taken for lost.
  document.addEventListener("visibilitychange", () => { if (document.hidden) giveBack(); });
  watchDrag();
  if (token) begin(); else logOut();
});
