// Dropping a file on a form: the page works without this, by the file chooser.
for (const zone of document.querySelectorAll("[data-drop]")) {
  const input = zone.querySelector("input[type=file]");
  const title = zone.querySelector("[data-drop-title]");
  const show = () => {
    if (input.files.length) title.textContent = input.files[0].name;
  };
  input.addEventListener("change", show);
  for (const kind of ["dragenter", "dragover"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) {
    zone.addEventListener(kind, () => zone.classList.remove("over"));
  }
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    input.files = event.dataTransfer.files;
    show();
  });
}

// Menus close with Escape and when something else gets the focus or a click.
const closeMenus = (except) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (menu !== except) menu.open = false;
  }
};
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.activeElement.closest("details.menu");
  closeMenus();
  if (menu) menu.querySelector("summary").focus();
});
for (const kind of ["click", "focusin"]) {
  document.addEventListener(kind, (event) => closeMenus(event.target.closest("details.menu")));
}

// A download that was waited for starts as soon as its link is on the page.
document.addEventListener("htmx:load", (event) => {
  event.detail.elt.querySelector("a[data-start]")?.click();
});

// A change of a step is tried at once, but only where there is something to try it on.
document.addEventListener("htmx:beforeRequest", (event) => {
  const file = document.getElementById("trial-file");
  const isChange = event.detail.requestConfig.triggeringEvent?.type === "change";
  const hasDocument = file?.files.length || document.getElementById("trial-sample");
  if (file && isChange && !hasDocument) event.preventDefault();
});

// On a phone the links at the side are one row: the current one may be outside of the screen.
document.querySelector(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// Copying: the button appears only where there is this script.
for (const button of document.querySelectorAll("[data-copies]")) {
  button.hidden = false;
  const text = button.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
    button.textContent = button.dataset.copied;
    setTimeout(() => (button.textContent = text), 2000);
  });
}

// The rows of a formset: a new one is a copy of its template; a removed one that is stored is marked
// for deletion; ORDER follows the place on the page.
const number = (set) => {
  set.querySelectorAll("[data-row]:not([hidden]) [name$=-ORDER]").forEach((input, index) => {
    input.value = index + 1;
  });
};
const showRowActions = (row) => {
  for (const name of ["ORDER", "DELETE"]) {
    const field = row.querySelector(`[name$=-${name}]`)?.closest(".field");
    if (field) field.hidden = true;
  }
  row.querySelector("[data-row-actions]").hidden = false;
};
for (const set of document.querySelectorAll("[data-formset]")) {
  const rows = set.querySelector("[data-rows]");
  const total = set.querySelector(`[name="${set.dataset.formset}-TOTAL_FORMS"]`);
  const add = set.querySelector("[data-add-row]");
  rows.querySelectorAll("[data-row]").forEach(showRowActions);
  add.hidden = false;
  add.addEventListener("click", () => {
    const html = set.querySelector("template").innerHTML.replaceAll("__prefix__", total.value);
    rows.insertAdjacentHTML("beforeend", html);
    total.value = Number(total.value) + 1;
    showRowActions(rows.lastElementChild);
    number(set);
    rows.lastElementChild.querySelector("input:not([type=hidden]), select, textarea").focus();
  });
  rows.addEventListener("click", (event) => {
    const row = event.target.closest("[data-row]");
    if (event.target.matches("[data-remove-row]")) {
      row.querySelector("[name$=-DELETE]").checked = true;
      row.hidden = true;
      add.focus();
    } else if (event.target.matches("[data-move='-1']")) {
      row.previousElementSibling?.before(row);
      event.target.focus();
    } else if (event.target.matches("[data-move='1']")) {
      row.nextElementSibling?.after(row);
      event.target.focus();
    } else return;
    number(set);
  });
}

// The steps of a workflow: dragging one to another place sends their new order.
for (const form of document.querySelectorAll("[data-sorted]")) {
  form.querySelector("[data-sort-hint]").hidden = false;
  let dragged = null;
  for (const item of form.querySelectorAll("[data-sortable]")) {
    item.draggable = true;
    item.addEventListener("dragstart", (event) => {
      dragged = item;
      event.dataTransfer.effectAllowed = "move";
    });
    item.addEventListener("dragover", (event) => {
      if (!dragged) return;
      event.preventDefault();
      if (item === dragged) return;
      const box = item.getBoundingClientRect();
      if (event.clientY < box.top + box.height / 2) item.before(dragged);
      else item.after(dragged);
    });
    item.addEventListener("drop", (event) => event.preventDefault());
    item.addEventListener("dragend", () => {
      dragged = null;
      form.requestSubmit();
    });
  }
}

// Names in expressions: while one types a name, those of the page's list that fit are offered below the
// field. Arrow keys choose, Enter or a click takes a name, Escape closes; Ctrl+Space opens the list.
const offered = document.querySelector("[data-completion]");
if (offered) {
  const listed = (list) =>
    [...document.querySelectorAll(`#${list} dt`)].map((term) => ({
      text: term.textContent.trim(),
      note: term.nextElementSibling.textContent.replace(/\s+/g, " ").trim(),
    }));
  // Read each time: a list changes when an FMU has been read. A row has no document and no outputs.
  const lists = {
    scope: () => listed("names-in-scope"),
    model: () => listed("names-of-model"),
    row: () => [
      ...listed("names-of-row"),
      ...listed("names-in-scope").filter((name) => !/^(p|payload|o|output)\b/.test(name.text)),
    ],
  };
  const isModel = () => field.dataset.names === "model";
  const status = document.querySelector("[data-completion-status]");
  let field = null;
  const close = () => {
    offered.hidden = true;
    status.textContent = "";
    field?.removeAttribute("aria-activedescendant");
  };
  // The name of a variable may have any character; it is a whole line of its field.
  const typed = () => {
    const before = field.value.slice(0, field.selectionStart);
    return before.match(isModel() ? /[^\n]*$/ : /[A-Za-z_][\w.[\]'"]*$/)?.[0] ?? "";
  };
  const show = (all) => {
    const names = lists[field.dataset.names]();
    const word = typed().toLowerCase();
    const fits = (name, test) => name.text.toLowerCase() !== word && test(name.text.toLowerCase());
    const first = names.filter((name) => fits(name, (text) => text.startsWith(word)));
    const inside = names.filter((name) => fits(name, (text) => text.indexOf(word) > 0));
    const fitting = word ? [...first, ...(word.length > 1 ? inside : [])].slice(0, 8) : [];
    const found = all ? names : fitting;
    close();
    if (!found.length) return;
    offered.replaceChildren(
      ...found.map((name, index) => {
        const option = document.createElement("li");
        option.id = `completion-${index}`;
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        const code = document.createElement("code");
        code.textContent = name.text;
        const note = document.createElement("small");
        note.textContent = name.note;
        option.append(code, " ", note);
        return option;
      }),
    );
    field.after(offered);
    field.setAttribute("aria-autocomplete", "list");
    field.setAttribute("aria-controls", offered.id);
    offered.hidden = false;
    status.textContent = offered.dataset.found.replace("0", found.length);
  };
  const choose = (by) => {
    const options = [...offered.children];
    const now = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
    const next = now < 0 && by < 0 ? options.length - 1 : (now + by + options.length) % options.length;
    options.forEach((option, index) => option.setAttribute("aria-selected", index === next));
    options[next].scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", options[next].id);
  };
  const take = (option) => {
    const end = field.selectionStart;
    field.setRangeText(option.querySelector("code").textContent, end - typed().length, end, "end");
    close();
    field.dispatchEvent(new Event("change", { bubbles: true }));
  };
  document.addEventListener("input", (event) => {
    if (!event.target.matches("[data-names]")) return;
    field = event.target;
    show(false);
  });
  document.addEventListener("keydown", (event) => {
    if (!event.target.matches("[data-names]")) return;
    field = event.target;
    const chosen = offered.querySelector("[aria-selected=true]");
    if (event.key === " " && event.ctrlKey) show(true);
    else if (offered.hidden) return;
    else if (event.key === "ArrowDown") choose(1);
    else if (event.key === "ArrowUp") choose(-1);
    else if (event.key === "Enter" && chosen) take(chosen);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
  document.addEventListener("focusout", close);
  // The field keeps the focus.
  offered.addEventListener("mousedown", (event) => event.preventDefault());
  offered.addEventListener("click", (event) => take(event.target.closest("[role=option]")));
}
