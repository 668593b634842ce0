// The page: unpack the data, make the panel, listen to mouse, touch and keys, draw when something changed.

const byId = (id) => document.getElementById(id);

async function unpack(text, kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new kind(await new Response(stream).arrayBuffer());
}

async function unpackLayer(packed) {
  const cells = await unpack(packed.pos, Uint16Array), pos = new Float32Array(cells.length);
  for (let i = 0; i < cells.length; i++) pos[i] = packed.low[i % 3] + cells[i] / 65535 * packed.span[i % 3];
  const colours = {};
  for (const [way, text] of Object.entries(packed.colours)) colours[way] = await unpack(text, Uint8Array);
  const triangles = packed.triangles && await unpack(packed.triangles, Uint32Array);
  return { ...packed, pos, colours, triangles };
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function showLegend({ ramp, low, high, entries }) {
  const parts = ramp
    ? [element("div", { className: "ramp", style: `background: linear-gradient(90deg, ${ramp.join(", ")})` }),
       element("div", { className: "ends" }, element("span", {}, low), element("span", {}, high))]
    : entries.map(([colour, name]) => element("div", {},
        element("span", { className: "swatch", style: `background: ${colour}` }), name));
  byId("legend").replaceChildren(...parts);
}

function makePanel(renderer, legends, redraw) {
  const boxes = renderer.layers.map((layer) => {
    const box = element("input", { type: "checkbox", checked: layer.shown });
    box.onchange = () => { layer.shown = box.checked; redraw(); };
    const many = element("span", {}, ` ${(layer.pos.length / 3).toLocaleString("en")}${layer.triangles ? " vertices" : ""}`);
    byId("layers").append(element("label", {}, box, ` ${layer.name}`, many));
    return box;
  });
  const choose = (way) => { renderer.colourBy(way); showLegend(legends[way]); redraw(); };
  Object.keys(legends).forEach((way, number) => {
    const box = element("input", { type: "radio", name: "way", checked: number === 0 });
    box.onchange = () => choose(way);
    byId("ways").append(element("label", {}, box, ` ${way}`));
  });
  choose(Object.keys(legends)[0]);
  return boxes;
}

function listenToPointers(canvas, camera, redraw) {
  const places = new Map();
  let apart = 0;
  const spread = () => { const [a, b] = [...places.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
  canvas.oncontextmenu = (event) => event.preventDefault();
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    places.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (places.size === 2) apart = spread();
  };
  canvas.onpointerup = canvas.onpointercancel = (event) => places.delete(event.pointerId);
  canvas.onpointermove = (event) => {
    const before = places.get(event.pointerId);
    if (!before) return;
    const [right, up] = [event.clientX - before.x, event.clientY - before.y].map((d) => d / canvas.clientHeight);
    places.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (places.size === 2) {
      camera.move(right / 2, -up / 2);
      camera.zoom(apart / spread());
      apart = spread();
    } else if (event.shiftKey || event.buttons & 2) camera.move(0.75 * right, -0.75 * up);
    else camera.turn(5 * right, 5 * up);
    redraw();
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    camera.zoom(Math.exp(event.deltaY * (event.deltaMode ? 0.04 : 0.0012)));
    redraw();
  }, { passive: false });
}

function listenToKeys(camera, boxes, redraw) {
  const deeds = {
    ArrowLeft: () => camera.turn(-0.08, 0), ArrowRight: () => camera.turn(0.08, 0),
    ArrowUp: () => camera.turn(0, 0.08), ArrowDown: () => camera.turn(0, -0.08),
    a: () => camera.move(0.04, 0), d: () => camera.move(-0.04, 0),
    w: () => camera.move(0, -0.04), s: () => camera.move(0, 0.04),
    "+": () => camera.zoom(0.9), "=": () => camera.zoom(0.9), "-": () => camera.zoom(1.1),
    r: () => camera.reset(), t: () => camera.fromAbove(), f: () => camera.fromSide(),
  };
  const press = (key) => {
    const deed = deeds[key] ?? deeds[key.toLowerCase()];
    if (deed) deed();
    else if (boxes[Number(key) - 1]) boxes[Number(key) - 1].click();
    redraw();
    return Boolean(deed);
  };
  addEventListener("keydown", (event) => {
    // Arrows in the list of colours choose one there; the browser's own shortcuts stay its own.
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "INPUT") return;
    if (press(event.key)) event.preventDefault();
  });
  for (const button of document.querySelectorAll("button[data-key]")) button.onclick = () => press(button.dataset.key);
}

// Of a narrow window the panel hides the top instead, and can be closed.
function covered() {
  const panel = document.querySelector("aside").getBoundingClientRect();
  return innerWidth > 700 && document.querySelector("details").open ? panel.right : 0;
}

function background() {
  const hex = getComputedStyle(document.documentElement).getPropertyValue("--page").trim();
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);
}

async function main() {
  const data = JSON.parse(byId("data").textContent);
  const canvas = byId("view"), renderer = new Renderer(canvas), camera = new Camera(data.target);
  for (const packed of data.layers) renderer.add(await unpackLayer(packed));
  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; renderer.draw(camera, background(), covered()); });
  };
  // On a telephone the panel would hide what it explains.
  document.querySelector("details").open = innerWidth > 700;
  const boxes = makePanel(renderer, data.legends, redraw);
  listenToPointers(canvas, camera, redraw);
  listenToKeys(camera, boxes, redraw);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  byId("theme").onclick = () => {
    const { classList } = document.documentElement;
    const now = classList.contains("dark") || (!classList.contains("light") && dark.matches);
    classList.remove("dark", "light");
    classList.add(now ? "light" : "dark");
    redraw();
  };
  dark.onchange = document.querySelector("details").ontoggle = redraw;
  addEventListener("resize", redraw);
  renderer.draw(camera, background(), covered());
  byId("message").textContent = "";
  document.body.dataset.drawn = renderer.layers.map((layer) => layer.pos.length / 3).join(" ");
}

main().catch((error) => { byId("message").textContent = `Cannot be shown: ${error.message}`; });
