"use strict";

const INTERVAL_MS = 1000;
const sources = new WeakMap();

function openWithLink() {
  // The code of a link follows the #, which browsers do not send. The form posts it once.
  const secret = location.hash.slice(1);
  if (!secret) return;
  history.replaceState(null, "", location.pathname);
  const form = document.getElementById("login");
  if (!form) return;
  document.getElementById("secret").value = decodeURIComponent(secret);
  form.submit();
}

function updateList(now, next) {
  // Unchanged results stay where they are, so that a playing sound goes on.
  let place = now.firstElementChild;
  function skip() {
    const skipped = place;
    place = place.nextElementSibling;
    return skipped;
  }
  for (const wanted of Array.from(next.children)) {
    const source = wanted.outerHTML;
    const known = document.getElementById(wanted.id);
    if (known && known.parentElement === now && sources.get(known) === source) {
      while (place && place !== known) skip().remove();
      place = known.nextElementSibling;
    } else {
      if (known === place && place) skip();
      if (known) known.remove();
      now.insertBefore(wanted, place);
      sources.set(wanted, source);
    }
  }
  while (place) skip().remove();
}

function update(text) {
  const next = new DOMParser().parseFromString(text, "text/html");
  for (const section of Array.from(next.querySelectorAll("section"))) {
    const now = document.getElementById(section.id);
    if (section.id === "ended") {
      updateList(document.getElementById("results"), section.querySelector("#results"));
    } else if (now.innerHTML !== section.innerHTML) {
      now.innerHTML = section.innerHTML;
    }
  }
}

function startUpdates() {
  const live = document.getElementById("live");
  if (!live) return;
  const connection = document.getElementById("connection");
  let tag = "";
  for (const each of document.getElementById("results").children) sources.set(each, each.outerHTML);

  function say(text, isLost) {
    if (connection.textContent !== text) connection.textContent = text;
    connection.classList.toggle("lost", isLost);
  }

  async function poll() {
    try {
      const response = await fetch("/live", { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
      if (response.status === 401) {
        location.reload();
        return;
      }
      if (response.ok) {
        tag = response.headers.get("ETag");
        update(await response.text());
      } else if (response.status !== 304) {
        throw new Error(await response.text());
      }
      say("Live", false);
    } catch {
      say("The server is not responding. Retrying …", true);
    }
  }

  async function run() {
    for (;;) {
      if (!document.hidden) await poll();
      await new Promise((resume) => setTimeout(resume, INTERVAL_MS));
    }
  }

  run();
}

openWithLink();
addEventListener("hashchange", openWithLink);
startUpdates();
