// Where things go in a drawing: along a line with arcs over it, or as a graph. Both answer the same questions.
const GRAPH_ASPECT = 1.5;
const below = (bond) => bond.kind !== 0;
const highest = (heights) => heights.reduce((most, height) => Math.max(most, height), 0);

class ArcLayout {
  constructor(molecule, corrections, stage, zoomed) {
    const count = molecule.atoms.length, room = stage.clientWidth - 2 * MARGIN;
    const fit = room / Math.max(count - 1, 1);
    this.molecule = molecule;
    this.longest = stage.clientWidth / 2 - MARGIN;
    this.spacing = zoomed ? Math.max(fit, ZOOM_SPACING) : fit;
    this.canZoom = fit < ZOOM_SPACING;
    this.numbered = this.spacing >= 11 + 5 * String(count).length;
    const rises = (test) => molecule.bonds.filter(test).map((bond) => this.rise(bond));
    const correction = highest(corrections.map((pair) => 0.8 * this.rise(pair)));
    this.baseline = highest(rises((bond) => !below(bond))) + 22;
    this.height = this.baseline + Math.max(highest(rises(below)), correction, 12) + 30;
    this.width = Math.max(stage.clientWidth, 2 * MARGIN + this.spacing * (count - 1));
  }

  x(index) {
    return this.molecule.atoms.length === 1 ? this.width / 2 : MARGIN + index * this.spacing;
  }

  y() { return this.baseline; }

  radius(plain) { return Math.min(Math.max(this.spacing / 2.7, plain ? 0.6 : 3.4), 11); }

  trail() { return `M${MARGIN} ${this.baseline}H${this.width - MARGIN}`; }

  cursor(index) { return `M${this.x(index)} 4V${this.height - 22}`; }

  bond(bond) { return this.arc(bond, this.heightOf(bond)); }

  correction(pair) { return this.arc(pair, -0.8 * this.rise(pair)); }

  arc({ source, target }, height) {
    const left = this.x(source), right = this.x(target), sweep = height > 0 ? 1 : 0;
    return `M${left} ${this.baseline}A${(right - left) / 2} ${Math.abs(height)} 0 0 ${sweep} ${right} ${this.baseline}`;
  }

  // Half a circle while short, then as the root of its length, to spread long ones: as in the printed drawing.
  rise({ source, target }) {
    const radius = (target - source) * this.spacing / 2;
    return Math.min(radius, Math.min(ARC_HEIGHT, this.longest) * Math.sqrt(Math.min(radius / this.longest, 1)));
  }

  heightOf(bond) { return this.rise(bond) * (below(bond) ? -1 : 1); }

  tick(index) { return { x: this.x(index), y: this.height - 8 }; }

  tickStep() { return 44 / this.spacing; }

  atomAt({ x, y }, anywhere) {
    if (!anywhere && Math.abs(y - this.baseline) > 11) return null;
    return Math.max(0, Math.min(Math.round((x - MARGIN) / this.spacing), this.molecule.atoms.length - 1)) || 0;
  }

  // How far the pointer is from a bond's arc.
  away(bond, { x, y }) {
    const height = this.heightOf(bond), up = this.baseline - y;
    if (height * up <= 0) return Infinity;
    const radius = (bond.target - bond.source) * this.spacing / 2, middle = (this.x(bond.source) + this.x(bond.target)) / 2;
    return Math.abs(Math.hypot((x - middle) / radius, up / height) - 1) * Math.min(radius, Math.abs(height));
  }
}

// The places come with the data; here they are only stretched to the room there is.
class GraphLayout {
  constructor(molecule, corrections, stage, zoomed) {
    const count = molecule.atoms.length, grow = zoomed ? 2.2 : 1;
    this.molecule = molecule;
    this.width = stage.clientWidth * grow;
    this.height = Math.max(160, Math.min(this.width / GRAPH_ASPECT, 680 * grow));
    const room = Math.sqrt((this.width - 2 * MARGIN) * (this.height - 2 * MARGIN) / count);
    this.size = Math.min(Math.max(0.2 * room, 2.2), 11);
    this.numbered = this.size >= 4 + 1.7 * String(count).length;
    this.canZoom = count > 24;
  }

  x(index) { return MARGIN + this.molecule.places[index][0] * (this.width - 2 * MARGIN); }

  y(index) { return MARGIN + this.molecule.places[index][1] * (this.height - 2 * MARGIN); }

  radius(plain) { return Math.max(this.size, plain ? 0 : 3.6); }

  trail() { return `M${this.molecule.atoms.map((_, i) => `${this.x(i)} ${this.y(i)}`).join("L")}`; }

  cursor() { return "M0 0"; }

  // Bonds of two kinds between two steps bend to either side.
  bond(bond) { return this.edge(bond, BENDS[bond.kind]); }

  correction(pair) { return this.edge(pair, -0.2); }

  edge(pair, bend) {
    const [[x1, y1], [cx, cy], [x2, y2]] = this.points(pair, bend);
    return `M${x1} ${y1}Q${cx} ${cy} ${x2} ${y2}`;
  }

  points({ source, target }, bend) {
    const [x1, y1, x2, y2] = [this.x(source), this.y(source), this.x(target), this.y(target)];
    return [[x1, y1], [(x1 + x2) / 2 + 2 * bend * (y2 - y1), (y1 + y2) / 2 - 2 * bend * (x2 - x1)], [x2, y2]];
  }

  tick(index) { return { x: this.x(index), y: this.y(index) - this.size - 3 }; }

  tickStep() { return this.molecule.atoms.length / 16; }

  atomAt({ x, y }, anywhere) {
    let best = null, least = anywhere ? Infinity : Math.max(this.size, 8);
    this.molecule.atoms.forEach((_, index) => {
      const away = Math.hypot(x - this.x(index), y - this.y(index));
      if (away < least) [best, least] = [index, away];
    });
    return best;
  }

  away(bond, { x, y }) {
    const [[x1, y1], [cx, cy], [x2, y2]] = this.points(bond, BENDS[bond.kind]);
    let least = Infinity;
    for (let i = 1; i < 24; i++) {
      const t = i / 24, a = (1 - t) * (1 - t), b = 2 * t * (1 - t), c = t * t;
      least = Math.min(least, Math.hypot(x - a * x1 - b * cx - c * x2, y - a * y1 - b * cy - c * y2));
    }
    return least;
  }
}
