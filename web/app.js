// The page's views and buttons.

import { onExchange } from "./api.js";
import * as session from "./session.js";
import { signatureState, takenApart } from "./token.js";

const MOST_EXCHANGES = 50;
const TIMES = new Set(["exp", "iat", "nbf"]);

const byId = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const time = (seconds) => new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });

function notice(text, bad = false) {
  const line = byId("notice");
  line.textContent = text;
  line.classList.toggle("bad", bad);
  line.hidden = text === "";
}

// ---------------------------------------------------------------- Forms

/** Disables the button while `work` runs, and shows an error next to it. */
async function working(button, error, work) {
  button.disabled = true;
  error.textContent = "";
  try {
    await work();
    return true;
  } catch (problem) {
    error.textContent = problem.message;
    return false;
  } finally {
    button.disabled = false;
  }
}

/** The first field without a value is named, and gets the focus. */
function isFilled(form, error) {
  const fields = [...form.querySelectorAll("input[required]")];
  for (const field of fields) field.removeAttribute("aria-invalid");
  const empty = fields.find((field) => field.value === "");
  if (!empty) return true;
  empty.setAttribute("aria-invalid", "true");
  error.textContent = `${form.querySelector(`label[for="${empty.id}"]`).textContent} is missing.`;
  empty.focus();
  return false;
}

function onSubmit(id, work) {
  const form = byId(id);
  const error = byId(`${id}-error`);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!isFilled(form, error)) return;
    const button = form.querySelector("button");
    const done = await working(button, error, () => work(form.elements));
    if (done) form.reset();
    else (form.querySelector("input[type=password]") ?? button).focus();
  });
}

onSubmit("login", async ({ username, password }) => {
  await session.logIn(username.value, password.value);
  notice("");
});

onSubmit("register", async ({ username, password }) => {
  await session.register(username.value, password.value);
  notice("The account was created, and you are signed in.");
});

onSubmit("password", async ({ current_password, new_password }) => {
  await session.changePassword(current_password.value, new_password.value);
  notice("The password was changed. You stay signed in here; everywhere else you are signed out.");
  await showSessions();
});

for (const [id, everywhere] of [["logout", false], ["logout-everywhere", true]]) {
  const button = byId(id);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await session.logOut(everywhere);
      notice(everywhere ? "You are signed out everywhere." : "You are signed out.");
    } catch (problem) {
      notice(problem.message, true);
    } finally {
      button.disabled = false;
    }
  });
}

byId("storage").addEventListener("change", ({ target }) => {
  session.store(target.checked);
  target.checked = session.stored();
});

// ---------------------------------------------------------------- Routes

byId("routes").addEventListener("click", async ({ target }) => {
  const path = target.dataset.path;
  if (!path) return;
  target.disabled = true;
  let lines;
  try {
    const answer = await session.authorized("GET", path);
    lines = [element("p", { className: "good", textContent: answer.message ?? `${path} answered.` })];
    lines.push(element("pre", { textContent: JSON.stringify(answer.claims ?? answer, null, 2) }));
  } catch (problem) {
    lines = [element("p", { className: "wrong", textContent: problem.message })];
  } finally {
    target.disabled = false;
  }
  byId("answer").replaceChildren(...lines);
});

// ---------------------------------------------------------------- Sessions

/** A program's name for itself in short: `Firefox 140 on Linux`. Unknown ones are not changed. */
function programOf(userAgent) {
  if (!userAgent) return "Unknown client";
  const [, name, version] = /(Edg|OPR|Firefox|(?:Headless)?Chrome)\/(\d+)/.exec(userAgent) ?? /(Version)\/(\d+).*Safari/.exec(userAgent) ?? [];
  const [system] = /iPhone|iPad|Android|Windows|Mac OS|Linux/.exec(userAgent) ?? [];
  if (!name || !system) return userAgent;
  const browser = { Edg: "Edge", OPR: "Opera", HeadlessChrome: "Chrome", Version: "Safari" }[name] ?? name;
  return `${browser} ${version} on ${system === "Mac OS" ? "macOS" : system}`;
}

function sessionLine({ sid, current, created_at, last_used_at, source_address, user_agent }) {
  const program = programOf(user_agent);
  const about = element("div", {}, element("p", { textContent: program }));
  const details = `${source_address || "unknown address"}, since ${time(created_at)}, last used ${time(last_used_at)}`;
  about.append(element("small", { textContent: details }));
  if (current) return element("li", {}, about, element("strong", { textContent: "here" }));
  const button = element("button", { type: "button", textContent: "End" });
  button.setAttribute("aria-label", `End the session of ${program}, since ${time(created_at)}`);
  button.addEventListener("click", async () => {
    const ended = await working(button, byId("sessions-error"), () => session.authorized("DELETE", `/sessions/${sid}`));
    if (!ended) return;
    notice("That session was ended.");
    await showSessions();
    byId("reload-sessions").focus();
  });
  return element("li", {}, about, button);
}

async function showSessions() {
  await working(byId("reload-sessions"), byId("sessions-error"), async () => {
    const { sessions } = await session.authorized("GET", "/sessions");
    byId("sessions").replaceChildren(...sessions.map(sessionLine));
  });
}

byId("reload-sessions").addEventListener("click", showSessions);

// ---------------------------------------------------------------- Token

function fact(name, value) {
  const shown = element("dd", { textContent: typeof value === "string" ? value : JSON.stringify(value) });
  if (TIMES.has(name)) shown.append(element("small", { textContent: time(value) }));
  return [element("dt", { textContent: name }), shown];
}

async function showToken(token) {
  const { header, claims } = takenApart(token);
  byId("token-header").replaceChildren(...Object.entries(header).flatMap(([name, value]) => fact(name, value)));
  byId("token-claims").replaceChildren(...Object.entries(claims).flatMap(([name, value]) => fact(name, value)));
  byId("token-raw").textContent = token;
  const line = byId("signature");
  const { good, text } = await signatureState(token);
  if (session.current()?.access !== token) return;
  line.textContent = text;
  line.className = good === null ? "" : good ? "good" : "wrong";
}

function showExpiry() {
  const tokens = session.current();
  if (tokens === null) return;
  const seconds = Math.ceil((tokens.expiresAt - Date.now()) / 1000);
  const minutes = Math.floor(seconds / 60);
  byId("expiry").textContent =
    seconds <= 0 ? "now" : minutes > 0 ? `in ${minutes} min ${seconds % 60} s` : `in ${seconds} s`;
}

setInterval(showExpiry, 1000);

// ---------------------------------------------------------------- Exchanges

function part(title, value) {
  if (value === null) return [];
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return [element("h3", { textContent: title }), element("pre", { textContent: text })];
}

onExchange(({ method, path, authorization, sent, received, status, milliseconds }) => {
  const answered = element("span", { textContent: status ?? "no answer" });
  if (status === null || status >= 400) answered.className = "refused";
  const summary = element(
    "summary",
    {},
    element("span", { textContent: method }),
    element("span", { textContent: path }),
    answered,
    element("span", { textContent: milliseconds === null ? "" : `${milliseconds} ms` }),
  );
  const parts = [part("Authorization", authorization), part("Sent", sent), part("Received", received)].flat();
  if (parts.length === 0) parts.push(element("p", { className: "hint", textContent: "No body and no token." }));
  byId("exchanges").prepend(element("li", {}, element("details", {}, summary, ...parts)));
  byId("exchanges").children[MOST_EXCHANGES]?.remove();
});

// ---------------------------------------------------------------- Signed in or out

let wasSignedIn = null;

session.onChange((tokens, reason) => {
  const isSignedIn = tokens !== null;
  if (isSignedIn) {
    const { claims } = takenApart(tokens.access);
    byId("who").textContent = `Signed in as ${claims.username}`;
    byId("signed-in-title").textContent = `Hello, ${claims.username}`;
    byId("password").elements.username.value = claims.username;
    showToken(tokens.access);
    showExpiry();
  } else {
    byId("who").textContent = "Signed out";
    byId("answer").replaceChildren();
    byId("sessions").replaceChildren();
  }
  if (reason) notice(reason, true);
  if (isSignedIn === wasSignedIn) return;
  const first = wasSignedIn === null;
  wasSignedIn = isSignedIn;
  byId("signed-in").hidden = !isSignedIn;
  byId("signed-out").hidden = isSignedIn;
  byId("storage").checked = session.stored();
  // Tells users of screen readers where they are now; on arrival the browser does that.
  if (!first || isSignedIn) byId(isSignedIn ? "signed-in-title" : "signed-out-title").focus();
  if (isSignedIn) showSessions();
});

await session.resume();
