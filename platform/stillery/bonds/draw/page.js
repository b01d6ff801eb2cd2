// Start-up: the filters, the views, and the keys.
const molecules = JSON.parse(document.getElementById("molecules").textContent);
const views = [];
let active = null;

function activate(view) {
  active = view;
  for (const other of views) other.article.classList.toggle("active", other === view);
}

function refresh() { views.forEach((view) => view.mark()); }

function filters() {
  const counts = KINDS.map((_, kind) => molecules.map((m) => m.bonds.filter((bond) => bond.kind === kind).length).join(" | "));
  const boxes = KINDS.map((name, kind) => {
    const box = make("input", { type: "checkbox", checked: true, onchange: () => { shown[kind] = box.checked; refresh(); } });
    return make("label", {}, box, make("span", { class: `line kind-${kind}` }), `${name} (${counts[kind]})`);
  });
  const conflict = make("input", { type: "checkbox", checked: true, onchange: () => { showConflicts.on = conflict.checked; refresh(); } });
  return make("fieldset", { class: "filters", "aria-label": "Shown" }, ...boxes,
    make("label", {}, conflict, make("span", { class: "dot" }), "conflicts (ring: corrected)"));
}

function key(event) {
  const typing = event.target instanceof HTMLInputElement && event.target.type === "range";
  if (event.ctrlKey || event.metaKey || event.altKey || typing || !active) return;
  const actions = {
    ArrowRight: () => active.move(1), ArrowLeft: () => active.move(-1),
    Home: () => active.select(0), End: () => active.select(active.molecule.atoms.length - 1), Escape: () => active.select(null),
    1: () => boxes[0].click(), 2: () => boxes[1].click(), 3: () => boxes[2].click(), 4: () => boxes[3].click(),
  };
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}

const chosen = filters(), boxes = chosen.querySelectorAll("input");
views.push(...molecules.map((molecule) => new View(molecule)));
const pair = make("div", { class: molecules.length === 1 ? "pair single" : "pair" }, ...views.map((view) => view.article));
const keys = (names) => names.flatMap((name) => [make("kbd", {}, name), " "]);
document.querySelector("main").append(chosen, pair, make("p", { class: "help" },
  ...keys(["←", "→"]), "step, ", ...keys(["Home", "End"]), "first and last, ", ...keys(["Esc"]), "no step, ", ...keys(["1", "2", "3", "4"]),
  "show or hide a kind. Derivations run above the line, reflection and exploration below; the width of an arc is its strength; squares are inserted steps. The graph puts bonded steps near each other; the grey line is the trace's order."), tip);
activate(views[0]);
views.forEach((view) => view.render());
document.addEventListener("keydown", key);
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; views.forEach((view) => view.render()); } });
