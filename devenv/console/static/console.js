// Questions before what cannot be undone, and logs that follow. All else works without scripts.
"use strict";

const MOST_LINES = 3000;

const LAST_FORM = "last form";

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.ask && !window.confirm(form.dataset.ask)) return event.preventDefault();
  if (form.getAttribute("method") !== "post") return; // a field may be called "method"
  const typed = [...new FormData(form)].filter(([, value]) => typeof value === "string");
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
    if (field && field.type !== "hidden") field.value = value;
  }
  if (page === location.pathname) scrollTo(0, top);
  const button = id ? document.getElementById(id) ?? counterpart(action) : form?.querySelector("button");
  button?.setAttribute("aria-describedby", notice.id);
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
    if ("whole" in log.dataset) source.onopen = () => log.replaceChildren();
    source.onmessage = (message) => {
      const stays = isAtEnd();
      for (const [level, text] of JSON.parse(message.data)) {
        const line = document.createElement("div");
        line.dataset.level = level;
        line.textContent = text;
        log.append(line);
      }
      while (log.childElementCount > MOST_LINES) log.firstElementChild.remove();
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

// Lists that grow while they follow forget their last entries.
document.addEventListener("htmx:after:swap", () => {
  for (const list of document.querySelectorAll("[data-most]"))
    while (list.childElementCount > Number(list.dataset.most)) list.lastElementChild.remove();
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
