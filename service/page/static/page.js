"use strict";
// Refreshes the content of the page in place every two seconds and while typing in the search box.

const EVERY = 2000;
const main = document.getElementById("main");
const live = document.getElementById("live");
let busy = false;
let wanted = false;

// Make `from` like `to`, touching only what differs, so that focus, selection and open details stay.
// Elements with a data-key are moved along; they lose the focus for a moment.
function morph(from, to) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
    from.replaceWith(to.cloneNode(true));
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  for (const { name } of [...from.attributes]) {
    if (name !== "open" && !to.hasAttribute(name)) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value && !from.hasAttribute("data-keep")) from.setAttribute(name, value);
  }
  const rows = new Map([...from.children].map((child) => [child.dataset.key, child]));
  [...to.childNodes].forEach((child, i) => {
    const at = from.childNodes[i] ?? null;
    const key = child.dataset?.key;
    const same = key === undefined ? at : rows.get(key);
    if (!same) {
      from.insertBefore(child.cloneNode(true), at);
      return;
    }
    if (same !== at) from.insertBefore(same, at);
    morph(same, child);
  });
  while (from.childNodes.length > to.childNodes.length) from.lastChild.remove();
}

function say(text, lost) {
  live.classList.toggle("lost", lost);
  const place = live.querySelector("[data-text]");
  if (place.textContent !== text) place.textContent = text;
}

async function refresh() {
  if (busy) {
    wanted = true;
    return;
  }
  busy = true;
  try {
    const address = new URL(location.href);
    address.searchParams.set("part", "1");
    const answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (answer.status === 401) location.reload();
    if (!answer.ok && answer.status !== 404) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(`<main>${await answer.text()}</main>`, "text/html");
    const target = page.querySelector("main");
    for (const { name, value } of main.attributes) target.setAttribute(name, value);
    const focused = document.activeElement;
    morph(main, target);
    if (focused.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
    say("live", false);
  } catch {
    say("no answer, trying again", true);
  } finally {
    busy = false;
    if (wanted) {
      wanted = false;
      refresh();
    }
  }
}

let typing;
main.addEventListener("input", (event) => {
  if (event.target.id !== "search") return;
  clearTimeout(typing);
  typing = setTimeout(() => {
    const address = new URL(location.href);
    address.searchParams.set("search", event.target.value);
    address.searchParams.delete("page");
    history.replaceState(null, "", address);
    refresh();
  }, 150);
});

document.addEventListener("keydown", (event) => {
  const search = document.getElementById("search");
  if (event.key === "/" && search && !/^(input|textarea)$/i.test(event.target.nodeName)) {
    event.preventDefault();
    search.focus();
  }
});

setInterval(() => document.hidden || refresh(), EVERY);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
