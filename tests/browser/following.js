// Lets the world change while a page of the console follows, and tells what a person has before and after.
"use strict";

(() => {
  let swaps = 0;
  const LISTS = "tbody, ol, ul, dl";
  const ROWS = "tbody > tr, ol > li, ul > li";
  const FIELDS = "main :is(input:not([type=hidden], [type=file], [type=checkbox]), textarea)";

  function rename(node) {
    for (const one of [node, ...node.querySelectorAll("*")])
      for (const name of ["id", "href", "action", "data-key"])
        if (one.hasAttribute(name)) one.setAttribute(name, `${one.getAttribute(name)}-new`);
    const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) if (texts.currentNode.data.trim()) texts.currentNode.data = `new ${texts.currentNode.data}`;
    return node;
  }

  // Each list has a new first row, each time another text, and above all stands a sentence.
  function change(html) {
    const page = new DOMParser().parseFromString(html, "text/html");
    const live = page.getElementById("live");
    if (!live) return html;
    for (const list of [live, ...live.querySelectorAll(LISTS)].filter((one) => one.matches(LISTS))) {
      if (!list.firstElementChild) continue;
      const count = list.localName === "dl" ? 2 : 1;
      list.prepend(...[...list.children].slice(0, count).map((one) => rename(one.cloneNode(true))));
    }
    for (const time of live.querySelectorAll("time")) time.textContent += ` ${swaps}`;
    if (!live.matches(LISTS)) live.insertAdjacentHTML("afterbegin", '<p class="message">A sentence.</p>');
    return page.documentElement.outerHTML;
  }

  const fetched = window.fetch;
  window.fetch = async (url, options) => {
    // Entries that are there already arrive again.
    const answer = await fetched(String(url).replace(/(\/logs\/new\?after=)\d+/, "$10"), options);
    return new Response(change(await answer.text()), { status: answer.status, headers: answer.headers });
  };
  let tell = null;
  document.addEventListener("htmx:after:swap", () => {
    swaps += 1;
    tell?.();
  });

  const main = () => document.querySelector("main");
  // The words of an element without its times, which change.
  function text(node) {
    const copy = node.cloneNode(true);
    copy.querySelectorAll("time").forEach((time) => time.remove());
    return copy.textContent.replace(/\s+/g, " ").trim().slice(0, 80);
  }
  const inner = () => [...main().querySelectorAll("*")].filter((one) =>
    one.matches(".log, pre, .scroll") && one.scrollHeight > one.clientHeight + 9);

  window.person = {
    expect: () => void (window.person.swapped = new Promise((done) => (tell = done))),

    // Fill in fields, open details, scroll, focus a link and select a time in the last row that is followed.
    act() {
      main().style.paddingBottom = "200vh"; // there is room to scroll
      for (const field of main().querySelectorAll(FIELDS)) field.value = field.type === "datetime-local" ? "2030-01-31T12:00" : "typed";
      for (const box of main().querySelectorAll("[type=checkbox]")) box.checked = !box.checked;
      for (const select of main().querySelectorAll("select")) select.selectedIndex = select.options.length - 1;
      for (const one of main().querySelectorAll("details")) one.open = true;
      for (const one of inner()) one.scrollTop = 7;
      const rows = [...document.querySelectorAll("#live, #entries")].flatMap((one) => [...one.querySelectorAll(ROWS)]);
      const row = rows[Math.min(rows.length - 1, 5)] ?? main().querySelector("#live :is(dd, p, pre)");
      row.scrollIntoView({ block: "center" });
      row.querySelector("a, button, summary")?.focus({ preventScroll: true });
      const words = row.querySelector("time") ?? row;
      getSelection().setBaseAndExtent(words, 0, words, words.childNodes.length);
    },

    // Leave the focus, and read at another place.
    read() {
      document.activeElement.blur();
      getSelection().removeAllRanges();
      scrollTo(0, document.documentElement.scrollHeight / 2);
    },

    has() {
      const focus = document.activeElement;
      const selection = getSelection();
      const { anchorNode } = selection;
      const chosen = anchorNode instanceof Element ? anchorNode : anchorNode?.parentElement;
      const reading = focus === document.body && selection.isCollapsed && scrollY > document.getElementById("live")?.offsetTop;
      const point = reading ? document.elementFromPoint(innerWidth / 2, 40)?.closest(ROWS + ", p, pre, dd") : null;
      return {
        typed: [...main().querySelectorAll(FIELDS)].map((one) => `${one.name}=${one.value}`),
        chosen: [...main().querySelectorAll("select")].map((one) => `${one.name}=${one.value}`),
        checked: [...main().querySelectorAll(":checked:not(option)")].map((one) => one.name),
        open: [...main().querySelectorAll("details[open] > summary")].map(text),
        focus: focus === document.body ? "" : `${focus.localName} ${focus.getAttribute("href") ?? focus.id} ${text(focus).slice(0, 12)}`,
        place: focus === document.body ? 0 : focus.getBoundingClientRect().top,
        selected: selection.isCollapsed ? "" : text(chosen.closest(ROWS) ?? chosen).slice(0, 9),
        scrolled: inner().filter((one) => one.scrollTop).map((one) => one.scrollTop),
        reading: point ? text(point) : "",
        line: point ? point.getBoundingClientRect().top : 0,
      };
    },
  };
})();
