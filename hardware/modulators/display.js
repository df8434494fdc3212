"use strict";
// The page of a screen: asks for the next picture, shows it pixel by pixel, and says what stands.

const AGAIN = 1000; // ms until a server that did not answer is asked again
const PAGE = Array.from(crypto.getRandomValues(new Uint8Array(8)),
  (byte) => byte.toString(16).padStart(2, "0")).join("");

const $ = (id) => document.getElementById(id);
const canvas = $("canvas");
// Kept in memory, where reading back does not pass through a graphics card.
const context = canvas.getContext("2d",
  { alpha: false, colorSpace: "srgb", willReadFrequently: true });
let token = "";
let panel = null;

// What it measures

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? n >>> 1 ^ 0xedb88320 : n >>> 1;
  return n >>> 0;
});

function crc32(bytes) {
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = CRC[(crc ^ bytes[i]) & 255] ^ crc >>> 8;
  return ~crc >>> 0;
}

function geometry() {
  const pinch = window.visualViewport ? window.visualViewport.scale : 1;
  return { ratio: window.devicePixelRatio * pinch, columns: innerWidth, rows: innerHeight };
}

function fits({ ratio, columns, rows }) {
  return ratio === 1 && columns === panel.columns && rows === panel.rows;
}

// What it shows

function draw(bytes, planes) {
  const picture = new ImageData(panel.columns, panel.rows);
  const pixels = new Uint32Array(picture.data.buffer); // 0xAABBGGRR: all browsers' machines
  if (planes === 1) {
    for (let i = 0; i < pixels.length; i++) pixels[i] = 0xff000000 | bytes[i] * 0x010101;
  } else {
    for (let i = 0, j = 0; i < pixels.length; i++, j += 3) {
      pixels[i] = 0xff000000 | bytes[j + 2] << 16 | bytes[j + 1] << 8 | bytes[j];
    }
  }
  document.body.classList.add("showing");
  context.putImageData(picture, 0, 0);
}

const frame = () => new Promise((done) => requestAnimationFrame(done));

const covered = () => new Promise((done) => {
  document.addEventListener("visibilitychange", done, { once: true });
});

async function show(number, bytes, planes) {
  if (bytes.length === planes * panel.columns * panel.rows && fits(geometry()) && !document.hidden) {
    draw(bytes, planes);
    await Promise.race([frame().then(frame), covered()]); // a covered page has no frames
  }
  const held = context.getImageData(0, 0, canvas.width, canvas.height).data;
  await request("POST", "/shown", "", {
    ...geometry(), number, check: crc32(held),
    canvas: [canvas.width, canvas.height], hidden: document.hidden,
  });
}

function guide(words) {
  document.body.classList.remove("showing");
  $("state").textContent = words;
}

function measure() {
  if (!panel) return;
  const now = geometry();
  const full = now.columns === panel.columns && now.rows === panel.rows;
  $("move").classList.toggle("done", full);
  $("full").classList.toggle("done", full);
  $("scale").classList.toggle("done", now.ratio === 1);
  $("size").classList.toggle("fits", fits(now));
  $("size").textContent = fits(now) ? "Ready." :
    `This window has ${now.columns} × ${now.rows} pixels at ${Math.round(100 * now.ratio)} %; ` +
    `the panel has ${panel.columns} × ${panel.rows} at 100 %.`;
}

// What it asks

async function request(method, path, query = "", body) {
  const answer = await fetch(`${path}?page=${PAGE}${query}`, {
    method, cache: "no-store", body: body && JSON.stringify(body),
    headers: { "Authorization": `Bearer ${token}` },
  });
  if (answer.status === 401) throw new Error("token");
  if (answer.status === 409) throw new Error("taken");
  if (!answer.ok && answer.status !== 410) throw new Error(`answer ${answer.status}`);
  return answer;
}

async function serve() {
  panel = await (await request("GET", "/panel")).json();
  [canvas.width, canvas.height] = [panel.columns, panel.rows];
  sessionStorage.setItem("token", token);
  guide(`The panel has ${panel.columns} × ${panel.rows} pixels.`);
  measure();
  for (let last = 0; ;) {
    const answer = await request("GET", "/next", `&after=${last}`);
    if (answer.status === 204) continue;
    const bytes = new Uint8Array(await answer.arrayBuffer());
    last = Number(answer.headers.get("Veilens-Number"));
    await show(last, bytes, Number(answer.headers.get("Veilens-Planes")));
  }
}

async function run() {
  for (;;) {
    try {
      await serve();
    } catch (error) {
      panel = null;
      $("size").textContent = "";
      if (error.message === "taken") return guide("Another window shows the pictures now.");
      if (error.message === "token") {
        guide("The token is missing or wrong.");
        $("login").hidden = false;
        return;
      }
      guide("The program that sends pictures does not answer.");
      await new Promise((done) => setTimeout(done, AGAIN));
    }
  }
}

async function stayAwake() {
  try { await navigator.wakeLock.request("screen"); } catch { /* the desktop's settings decide */ }
}

addEventListener("resize", measure);
document.addEventListener("visibilitychange", stayAwake);
$("guide").addEventListener("click", (event) => {
  if (!event.target.closest("form")) document.documentElement.requestFullscreen().catch(() => {});
});
$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("login").hidden = true;
  run();
});

token = new URLSearchParams(location.hash.slice(1)).get("token") || sessionStorage.getItem("token") || "";
history.replaceState(null, "", location.pathname); // the token stays out of the address
stayAwake();
run();
