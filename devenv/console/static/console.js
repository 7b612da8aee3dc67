// Questions before what cannot be undone, and logs that follow. All else works without scripts.
"use strict";

const MOST_LINES = 3000;

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.ask;
  if (question && !window.confirm(question)) event.preventDefault();
});

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
