// One molecule: its drawing, controls, the chosen step with its bonds, and the list of all steps.
// `shown` says which kinds of bond are to be seen, and `showConflicts.on` whether conflicts are; all views share them.
const shown = [true, true, true], showConflicts = { on: true };
const startLayout = document.querySelector("main").dataset.layout;

class View {
  constructor(molecule) {
    this.molecule = molecule;
    this.current = null;
    this.zoomed = false;
    this.building = false;
    this.graphed = startLayout === "force";
    this.into = molecule.atoms.map(() => []);
    this.outOf = molecule.atoms.map(() => []);
    molecule.bonds.forEach((bond) => { this.into[bond.target].push(bond); this.outOf[bond.source].push(bond); });
    this.corrections = molecule.atoms.flatMap((atom, source) =>
      [...new Set(atom.false.map((claim) => claim.by))].filter((by) => by !== null).map((target) => ({ source, target })));
    this.article = this.build();
  }

  build() {
    const last = this.molecule.atoms.length - 1;
    const button = (label, sign, run) => make("button", { type: "button", title: label, "aria-label": label, onclick: run }, sign);
    this.where = make("span", { class: "where", "aria-live": "polite" });
    this.slider = make("input", { type: "range", min: 0, max: last, value: 0, "aria-label": "Step", oninput: () => this.select(Number(this.slider.value)) });
    this.zoomButton = make("button", { type: "button", "aria-pressed": "false", onclick: () => this.zoom() }, "Enlarge");
    this.graphButton = make("button", { type: "button", "aria-pressed": String(this.graphed), title: "Lay the steps out as a graph, bonded ones near each other", onclick: () => this.toggleGraph() }, "Graph");
    const buildUp = make("input", { type: "checkbox", onchange: () => { this.building = buildUp.checked; this.mark(); } });
    this.stage = make("div", { class: "stage", tabindex: 0, role: "group", "aria-label": `Drawing: ${this.molecule.name}` });
    this.panel = make("div", { class: "panel" });
    this.items = this.molecule.atoms.map((atom, index) => make("li", { class: atom.state, onclick: () => this.select(index) },
      make("span", {}, String(index + 1)), make("span", {}, atom.text.trim())));
    this.trace = make("ol", { class: "trace", tabindex: 0, "aria-label": `Steps: ${this.molecule.name}` }, ...this.items);
    const article = make("article", { onpointerdown: () => activate(this), onfocusin: () => activate(this) },
      make("h2", {}, this.molecule.name), make("p", { class: "summary" }, this.molecule.summary), this.stage,
      make("div", { class: "controls" },
        button("First step (Home)", "|◀", () => this.select(0)),
        button("Previous step (←)", "◀", () => this.move(-1)),
        this.where,
        button("Next step (→)", "▶", () => this.move(1)),
        button("Last step (End)", "▶|", () => this.select(last)),
        this.slider, this.graphButton, this.zoomButton, make("label", {}, buildUp, "build up")),
      this.panel, this.trace);
    this.stage.addEventListener("pointermove", (event) => this.hover(event));
    this.stage.addEventListener("pointerleave", () => this.leave());
    this.stage.addEventListener("click", (event) => this.click(event));
    return article;
  }

  render() {
    const place = new (this.graphed ? GraphLayout : ArcLayout)(this.molecule, this.corrections, this.stage, this.zoomed);
    this.place = place;
    this.zoomButton.hidden = !place.canZoom;
    const svg = draw("svg", { width: place.width, height: place.height, role: "img", "aria-label": `${this.molecule.name}: ${this.molecule.summary}` });
    svg.append(draw("path", { class: "axis", d: place.trail() }));
    this.cursor = svg.appendChild(draw("path", { class: "cursor" }));
    // The weak bonds first, so that the strong ones lie on top; thinner lines in a crowd.
    const crowd = Math.min(1, 0.25 + Math.sqrt(30 * place.width / 760 / Math.max(this.molecule.bonds.length, 1)));
    this.paths = new Map();
    for (const bond of [...this.molecule.bonds].sort((a, b) => a.strength - b.strength)) {
      const width = Math.max((0.8 + 4 * Math.max(bond.strength - 0.3, 0)) * crowd, 0.5);
      const path = draw("path", { class: `bond kind-${bond.kind}`, d: place.bond(bond), "stroke-width": width });
      this.paths.set(bond, svg.appendChild(path));
    }
    this.correctionPaths = this.corrections.map((pair) => svg.appendChild(draw("path", {
      class: "correction", d: place.correction(pair) })));
    this.marks = this.molecule.atoms.map((atom, index) => this.drawAtom(atom, index));
    // Conflicts last, on top of their neighbours.
    const warns = (_, index) => this.molecule.atoms[index].state !== "plain";
    const ordered = [...this.marks.filter((mark, i) => !warns(mark, i)), ...this.marks.filter(warns)];
    ordered.forEach(({ shape, number }) => svg.append(shape, ...(number ? [number] : [])));
    if (!place.numbered) this.drawTicks(svg);
    this.stage.replaceChildren(svg);
    this.mark();
  }

  drawAtom(atom, index) {
    const plain = atom.state === "plain", radius = this.place.radius(plain);
    const x = this.place.x(index), y = this.place.y(index), small = radius < 2.5 && plain ? " small" : "";
    const shape = atom.inserted
      ? draw("rect", { x: x - radius, y: y - radius, width: 2 * radius, height: 2 * radius })
      : draw("circle", { cx: x, cy: y, r: radius });
    shape.setAttribute("class", `atom ${atom.state}${small}`);
    if (!this.place.numbered) return { shape, number: null };
    return { shape, number: draw("text", { class: "number", x, y: y + 3.5 }, String(index + 1)) };
  }

  drawTicks(svg) {
    const count = this.molecule.atoms.length, least = this.place.tickStep();
    const step = [5, 10, 20, 50, 100, 200, 500, 1000, 5000].find((size) => size >= least) || count;
    for (let number = step; number <= count; number += step) {
      svg.append(draw("text", { class: "tick", ...this.place.tick(number - 1) }, String(number)));
    }
  }

  // Bring classes up to date with the selection and the filters; nothing is laid out anew.
  mark() {
    const here = this.current, hidden = (index) => this.building && here !== null && index > here;
    this.stage.classList.toggle("focused", here !== null);
    for (const [bond, path] of this.paths) {
      path.classList.toggle("on", bond.source === here || bond.target === here);
      path.classList.toggle("later", !shown[bond.kind] || hidden(bond.target));
    }
    this.correctionPaths.forEach((path, i) => path.classList.toggle("later", !showConflicts.on || hidden(this.corrections[i].target)));
    const linked = new Set(here === null ? [] : [...this.into[here].map((b) => b.source), ...this.outOf[here].map((b) => b.target)]);
    this.molecule.atoms.forEach((atom, index) => {
      const { shape, number } = this.marks[index], conflict = showConflicts.on && atom.state !== "plain";
      shape.classList.toggle("here", index === here);
      shape.classList.toggle("later", hidden(index));
      shape.classList.toggle(atom.state, conflict || atom.state === "plain");
      if (number) number.setAttribute("class", `number${index === here || (conflict && atom.state === "false") ? " inverse" : ""}${hidden(index) ? " later" : ""}`);
      this.items[index].className = `${conflict ? atom.state : ""}${index === here ? " here" : linked.has(index) ? " linked" : ""}`;
    });
    this.cursor.setAttribute("d", here === null ? "M0 0" : this.place.cursor(here));
    this.where.textContent = here === null ? `${this.molecule.atoms.length} steps` : `Step ${here + 1} of ${this.molecule.atoms.length}`;
    this.fillPanel();
  }

  select(index) {
    this.current = index === null ? null : Math.max(0, Math.min(index, this.molecule.atoms.length - 1));
    this.slider.value = String(this.current ?? 0);
    this.mark();
    if (this.current === null) return;
    const item = this.items[this.current], x = this.place.x(this.current), y = this.place.y(this.current);
    // Scroll within the boxes only: the page itself must not jump under the reader.
    this.trace.scrollTop = item.offsetTop - this.trace.clientHeight / 2 + item.offsetHeight / 2;
    if (x < this.stage.scrollLeft + 40 || x > this.stage.scrollLeft + this.stage.clientWidth - 40) {
      this.stage.scrollLeft = x - this.stage.clientWidth / 2;
    }
    this.stage.scrollTop = y - this.stage.clientHeight / 2;
  }

  move(by) {
    this.select(this.current === null ? (by > 0 ? 0 : this.molecule.atoms.length - 1) : this.current + by);
  }

  zoom() {
    this.zoomed = !this.zoomed;
    this.zoomButton.setAttribute("aria-pressed", String(this.zoomed));
    this.render();
    if (this.current !== null) this.select(this.current);
  }

  toggleGraph() {
    this.graphed = !this.graphed;
    this.graphButton.setAttribute("aria-pressed", String(this.graphed));
    this.render();
    if (this.current !== null) this.select(this.current);
  }

  fillPanel() {
    if (this.current === null) {
      this.panel.replaceChildren(make("p", { class: "summary" }, "Choose a step: in the drawing, in the list, or with the arrow keys."));
      return;
    }
    const atom = this.molecule.atoms[this.current];
    const parts = [make("p", { class: "summary" }, `Step ${this.current + 1} · ${atom.kind}${atom.inserted ? " · inserted by reinforcement" : ""}`),
      make("p", { class: "step", tabindex: 0 }, atom.text.trim())];
    for (const claim of atom.false) {
      const fate = claim.by === null ? "false, never corrected: " : `false, corrected by step ${claim.by + 1}: `;
      parts.push(make("p", { class: "conflict" }, fate + claim.text));
    }
    if (atom.true.length) parts.push(make("p", { class: "summary" }, `Holds: ${shorten(atom.true.join("; "), 200)}`));
    parts.push(...this.links("Rests on", this.into[this.current], "source"), ...this.links("Leads to", this.outOf[this.current], "target"));
    this.panel.replaceChildren(...parts);
  }

  links(title, bonds, end) {
    const visible = bonds.filter((bond) => shown[bond.kind]).sort((a, b) => b.strength - a.strength);
    if (!visible.length) return [];
    const items = visible.map((bond) => make("li", {}, make("button", { type: "button", onclick: () => this.select(bond[end]) },
      make("span", { class: `line kind-${bond.kind}` }),
      make("span", {}, `Step ${bond[end] + 1}: ${KINDS[bond.kind]}, ${bond.strength.toFixed(2)}${bond.energy === null ? "" : `, attention energy ${bond.energy.toFixed(2)}`}`),
      make("small", {}, bond.evidence ? `${bond.evidence} (${bond.origin})` : bond.origin))));
    return [make("h3", {}, title), make("ul", { class: "links" }, ...items)];
  }

  position(event) {
    const box = this.stage.getBoundingClientRect();
    return { x: event.clientX - box.left + this.stage.scrollLeft, y: event.clientY - box.top + this.stage.scrollTop };
  }

  // The visible bond that passes nearest the pointer, within 7 pixels.
  bondAt(at) {
    let best = null, least = 7;
    for (const bond of this.molecule.bonds) {
      if (this.paths.get(bond).classList.contains("later")) continue;
      const away = this.place.away(bond, at);
      if (away < least) [best, least] = [bond, away];
    }
    return best;
  }

  hover(event) {
    this.near?.classList.remove("near");
    this.near = null;
    const at = this.position(event), index = this.place.atomAt(at, false), bond = index === null ? this.bondAt(at) : null;
    if (bond) {
      this.near = this.paths.get(bond);
      this.near.classList.add("near");
      const steps = `${bond.source + 1}: ${shorten(this.molecule.atoms[bond.source].text, 110)}\n${bond.target + 1}: ${shorten(this.molecule.atoms[bond.target].text, 110)}`;
      showTip(event, bond.kind, `${bond.source + 1} → ${bond.target + 1} · ${KINDS[bond.kind]} · ${bond.strength.toFixed(2)}`, `${bond.evidence}\n\n${steps}`);
    } else if (index !== null) {
      const atom = this.molecule.atoms[index], conflict = atom.false.map((claim) => `\n✗ ${claim.text}`).join("");
      showTip(event, null, `Step ${index + 1}`, shorten(atom.text, 320) + conflict);
    } else tip.hidden = true;
  }

  leave() {
    this.near?.classList.remove("near");
    tip.hidden = true;
  }

  click(event) {
    const at = this.position(event), bond = this.place.atomAt(at, false) === null ? this.bondAt(at) : null;
    this.select(bond ? bond.target : this.place.atomAt(at, true));
    if (event.pointerType === "touch") tip.hidden = true;
  }
}
