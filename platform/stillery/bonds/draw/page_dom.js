"use strict";
// Making elements, texts and the tooltip.
// What a trace says reaches the page through textContent and attributes of ours alone, never as markup.
const KINDS = ["strong logic", "reflection, verification", "exploration, association"];
const SVG = "http://www.w3.org/2000/svg";
const MARGIN = 16, ARC_HEIGHT = 140, ZOOM_SPACING = 30;
const BENDS = [0, 0.13, -0.13];

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function draw(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const shorten = (text, length) => {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > length ? line.slice(0, length) + "…" : line;
};

const tip = make("div", { class: "tip", hidden: true });

function showTip(event, kind, head, body) {
  tip.className = kind === null ? "tip" : `tip kind-${kind}`;
  tip.replaceChildren(make("strong", {}, head), body);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
  const under = event.clientY + 18;
  tip.style.top = `${under + box.height > innerHeight ? Math.max(8, event.clientY - box.height - 12) : under}px`;
}
