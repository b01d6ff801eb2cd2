// Keys, live parts and tidy addresses. Every page works without this script.
"use strict";

const at = (selector) => document.querySelector(selector);
const follow = (selector) => at(selector)?.click();
const help = at("#help");

// Rows: the first link of each; the one that has the focus is the current one.
function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!rows.length) return follow(by > 0 ? "[rel=next]" : "[rel=prev]");
  const here = rows.findIndex((row) => row.contains(document.activeElement));
  const link = rows[here < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, here + by))].querySelector("a");
  link.focus();
  link.scrollIntoView({ block: "nearest" });
}

const keys = {
  j: () => step(1),
  k: () => step(-1),
  n: () => follow("[data-page=next]"),
  p: () => follow("[data-page=previous]"),
  u: () => follow("[rel=up]"),
  "/": () => { const search = at("input[type=search]"); search?.focus(); search?.select(); },
  "?": () => help.showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape" && typing) typing.blur();
  if (event.ctrlKey || event.metaKey || event.altKey || typing || help.open || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});
at("[data-help]").addEventListener("click", () => help.showModal());

// A form leaves what is empty out of the address, and goes as soon as something is chosen.
for (const form of document.querySelectorAll("form.filters")) {
  form.addEventListener("submit", () => {
    for (const field of form.elements) if (!field.value) field.disabled = true;
  });
  form.addEventListener("change", (event) => { if (event.target.matches("select")) form.requestSubmit(); });
}
addEventListener("pageshow", () => document.querySelectorAll("form.filters :disabled").forEach((field) => { field.disabled = false; }));

// What a running run does: the part of the page is fetched again while somebody looks at it.
async function refresh() {
  const live = at("#live[data-live]");
  if (!live) return;
  if (!document.hidden && !live.contains(document.activeElement)) {
    try {
      const reply = await fetch(location.href, { headers: { accept: "text/html" } });
      const part = reply.ok && new DOMParser().parseFromString(await reply.text(), "text/html").querySelector("#live");
      if (part) live.replaceWith(document.importNode(part, true));
    } catch { /* The server is away for a moment; the next time tells. */ }
  }
  setTimeout(refresh, 1000 * Number(live.dataset.live));
}
setTimeout(refresh, 3000);

const login = at("#login");
login?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const reply = await fetch("/session", { headers: { authorization: `Bearer ${login.elements.key.value.trim()}` } });
  if (!reply.ok) {
    at("#complaint").textContent = reply.status === 401 ? "This key opens nothing here." : `The server answered with ${reply.status}.`;
    return;
  }
  const next = new URL(new URLSearchParams(location.search).get("next") ?? "/", location.origin);
  location.assign(next.origin === location.origin ? next : "/");
});
