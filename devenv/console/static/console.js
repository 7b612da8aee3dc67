// Questions before what cannot be undone, and logs that follow. All else works without scripts.
"use strict";

const MOST_LINES = 3000;

const LAST_FORM = "last form";

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.ask && !window.confirm(form.dataset.ask)) return event.preventDefault();
  if (form.getAttribute("method") !== "post") return; // a field may be called "method"
  const typed = [...new FormData(form)].filter(
    ([name, value]) => typeof value === "string" && form.elements[name]?.type !== "hidden");
  const { id } = event.submitter ?? {};
  const action = form.getAttribute("action");
  sessionStorage.setItem(LAST_FORM, JSON.stringify({ action, id, typed, page: location.pathname, top: scrollY }));
});

// "Pause" becomes "Resume": the button beside it that is about the same thing, /tasks/runs/ for example.
function counterpart(action) {
  const thing = action.slice(0, action.lastIndexOf("/") + 1);
  if (thing.split("/").length < 4) return null; // about no single thing
  const others = `form[action^="${CSS.escape(thing)}"]:not([action="${CSS.escape(action)}"])`;
  return document.querySelector(`${others} button[id]`);
}

// The page that follows a form begins anew: it gets back its place and the focus, and after an error
// what was typed. The notice describes the button, so that it is read with it.
function comeBack(notice, { action, id, typed, page, top }) {
  const form = [...document.forms].find((one) => one.getAttribute("action") === action);
  const isError = notice.classList.contains("error");
  for (const [name, value] of isError && form ? typed : []) {
    const field = form.elements[name];
    if (field) field.value = value;
  }
  if (page === location.pathname) scrollTo(0, top);
  const button = id ? document.getElementById(id) ?? counterpart(action) : form?.querySelector("button");
  button?.setAttribute("aria-describedby", notice.id);
  button?.closest("details")?.setAttribute("open", "");
  (button ?? notice).focus({ preventScroll: true });
}

const notice = document.getElementById("notice");
const lastForm = sessionStorage.getItem(LAST_FORM);
sessionStorage.removeItem(LAST_FORM);
if (notice && lastForm) comeBack(notice, JSON.parse(lastForm));

function follow(log) {
  const button = document.querySelector(`[data-follow="${log.id}"]`);
  const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  let source = null;
  const open = () => {
    source = new EventSource(log.dataset.stream);
    let place = null; // of a person who reads, while the whole log comes again
    if ("whole" in log.dataset)
      source.onopen = () => {
        place = isAtEnd() ? null : log.scrollTop;
        log.replaceChildren();
      };
    source.onmessage = (message) => {
      const stays = place === null && isAtEnd();
      for (const [level, text] of JSON.parse(message.data)) {
        const line = document.createElement("div");
        line.dataset.level = level;
        line.textContent = text;
        log.append(line);
      }
      while (log.childElementCount > MOST_LINES) log.firstElementChild.remove();
      if (place !== null) log.scrollTop = place;
      place = null;
      if (stays) log.scrollTop = log.scrollHeight;
    };
  };
  log.scrollTop = log.scrollHeight;
  open();
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    if (on) {
      open();
      log.scrollTop = log.scrollHeight;
    } else source.close();
  });
}

// What a page shows stays while there is no answer, for example while a service restarts.
const offline = document.getElementById("offline");
const { away, gone } = offline.dataset;
function tell(text) {
  if (offline.textContent !== text) offline.textContent = text;
  offline.hidden = !text;
}
document.addEventListener("htmx:error", () => tell(away));
document.addEventListener("htmx:after:request", (event) => {
  const { status } = event.detail.ctx.response;
  tell(status === 404 ? gone : status >= 400 ? away : "");
});

// What is followed is replaced in place. So that a new first row does not take over the focus, the selection
// and the open details of the old one, rows and links have names: by what they lead to or say, not by place.
const NAMED = "tr, li, table, details, pre, p, a[href], dt, dd, h2";
const live = () => document.querySelector("#live, #entries");

function nameOf(node) {
  if (node.dataset.key) return node.dataset.key;
  if (node.matches("p")) return node.className;
  if (node.matches("a")) return node.getAttribute("href");
  if (node.matches("dd")) return node.previousElementSibling?.textContent;
  const said = node.matches("tr, li, details")
    ? node.querySelector('a[href], [action], [id]:not([id^="~"])') ?? node.querySelector("th, summary") ?? node.firstElementChild
    : node.querySelector("caption, th") ?? (node.matches("dt, h2") ? node : null);
  return said?.getAttribute("href") ?? (said?.id || said?.textContent.replace(/\d+/g, ""));
}

function giveNames(root, taken = new Map()) {
  for (const node of root.querySelectorAll(NAMED)) {
    if (node.id && !node.id.startsWith("~")) continue;
    const name = `~${node.localName} ${nameOf(node)}`;
    taken.set(name, (taken.get(name) ?? 0) + 1);
    node.id = `${name} ${taken.get(name)}`;
  }
}

// The place of what the person is at, or else of the first row in sight, on the screen.
function placeKept() {
  const { anchorNode, isCollapsed } = getSelection();
  const selected = isCollapsed || anchorNode instanceof Element ? anchorNode : anchorNode.parentElement;
  const chosen = document.activeElement === document.body && !isCollapsed ? selected : document.activeElement;
  const inSight = (node) => node.getBoundingClientRect().bottom > 0 && node.getBoundingClientRect().top < innerHeight;
  const rows = scrollY > 0 && live()?.getBoundingClientRect().top < 0 ? live().querySelectorAll(NAMED) : [];
  const kept = chosen?.closest("main > *") && inSight(chosen) ? chosen : [...rows].find(inSight);
  const before = kept?.getBoundingClientRect().top;
  return () => kept?.isConnected && scrollBy(0, kept.getBoundingClientRect().top - before);
}

function selectionKept() {
  const { anchorNode, anchorOffset, focusNode, focusOffset, isCollapsed } = getSelection();
  const most = (node) => (node instanceof Text ? node.length : node.childNodes.length);
  return () => {
    if (isCollapsed || !anchorNode.isConnected || !focusNode.isConnected) return;
    getSelection().setBaseAndExtent(anchorNode, Math.min(anchorOffset, most(anchorNode)),
      focusNode, Math.min(focusOffset, most(focusNode)));
  };
}

// A browser that cannot move an element in the page without taking it out loses both.
function focusAndScrollKept() {
  const focus = document.activeElement;
  const scrolled = [...(live()?.querySelectorAll("*") ?? [])].filter((one) => one.scrollTop || one.scrollLeft)
    .map((one) => [one, one.scrollTop, one.scrollLeft]);
  return () => {
    if (focus !== document.activeElement && focus.isConnected) focus.focus({ preventScroll: true });
    for (const [one, top, left] of scrolled) one.scrollTo(left, top);
  };
}

let giveBack = [];
document.addEventListener("htmx:before:swap", ({ detail: { tasks } }) => {
  giveBack = [focusAndScrollKept(), selectionKept(), placeKept()];
  const followed = document.getElementById("live");
  if (followed) [followed, ...tasks.map((task) => task.fragment)].forEach((root) => giveNames(root));
});
// Lists that grow while they follow forget their last entries.
document.addEventListener("htmx:after:swap", () => {
  for (const list of document.querySelectorAll("[data-most]"))
    while (list.childElementCount > Number(list.dataset.most)) list.lastElementChild.remove();
  giveBack.splice(0).forEach((one) => one());
});

// On a narrow screen the navigation is behind a button; Escape closes it.
const menu = document.querySelector(".menu");
function showMenu(on) {
  document.getElementById("nav").classList.toggle("open", on);
  menu.setAttribute("aria-expanded", String(on));
}
menu?.addEventListener("click", () => showMenu(menu.getAttribute("aria-expanded") !== "true"));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || menu?.getAttribute("aria-expanded") !== "true") return;
  showMenu(false);
  menu.focus();
});
document.querySelectorAll("[data-stream]").forEach(follow);
