// Keeps a page up to date. Everything works without it, by reloading.
"use strict";

(() => {
  const address = document.body.dataset.stream;
  const bar = document.getElementById("live");
  if (!address || !bar || !window.EventSource) return;

  const state = document.getElementById("live-state");
  const button = document.getElementById("live-pause");
  let source = null;
  let failures = 0;

  const say = (text) => {
    if (state.textContent !== text) state.textContent = text;
  };

  // Somebody who reads with the keyboard, or has marked text, must not lose the place.
  const isInUse = (part) => {
    const marked = document.getSelection();
    const holdsMark = marked && !marked.isCollapsed && part.contains(marked.anchorNode);
    return holdsMark || (part.contains(document.activeElement) && document.activeElement !== part);
  };

  const waiting = new Map();

  const show = (id, html) => {
    const part = document.getElementById(id);
    if (!part) return;
    if (isInUse(part)) {
      waiting.set(id, html);
      return;
    }
    waiting.delete(id);
    part.innerHTML = html;
  };

  const showWaiting = () => {
    for (const [id, html] of [...waiting]) show(id, html);
  };

  const listen = () => {
    source = new EventSource(address);
    source.addEventListener("open", () => {
      failures = 0;
      say("live");
    });
    source.addEventListener("parts", (event) => {
      for (const [id, html] of Object.entries(JSON.parse(event.data))) show(id, html);
      showWaiting();
    });
    source.addEventListener("error", () => {
      say("connecting again");
      if (source && source.readyState === EventSource.CLOSED) {
        failures += 1;
        source = null;
        setTimeout(() => { if (!source && !isPaused()) listen(); }, Math.min(60000, 3000 * 2 ** failures));
      }
    });
  };

  const leave = () => {
    if (source) source.close();
    source = null;
  };

  const isPaused = () => button.getAttribute("aria-pressed") === "true";

  button.addEventListener("click", () => {
    const pause = !isPaused();
    button.setAttribute("aria-pressed", String(pause));
    button.textContent = pause ? "Go on" : "Pause";
    if (pause) {
      leave();
      say("paused");
    } else {
      listen();
    }
  });

  // Who does not look asks for nothing.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) leave();
    else if (!source && !isPaused()) listen();
  });
  window.addEventListener("pagehide", leave);

  bar.hidden = false;
  if (!document.hidden) listen();
})();
