// The session of this page: its tokens, and how they are renewed. All tabs of the page share one session.
//
// A refresh token is single-use, so two tabs must not use it at the same time: a lock that all tabs share lets one of them refresh,
// and the others get the new tokens.

import { ApiError, request } from "./api.js";

const STORAGE_KEY = "latchkey.tokens";
const DEVICE_KEY = "latchkey.device";
const LOCK = "latchkey.refresh";
/** Long enough for a message to reach the other tabs before one of them gets the lock. */
const HAND_OVER_MILLISECONDS = 150;
/** How long a new tab waits for another one that is signed in. */
const GREETING_MILLISECONDS = 200;

const channel = new BroadcastChannel("latchkey");

/** `{ access, refresh, expiresAt }`, with the time in milliseconds of this clock; `null` when signed out. */
let tokens = null;
let isStored = false;
let timer = null;
let changed = () => {};

export const current = () => tokens;
export const stored = () => isStored;

/** `listener(tokens, reason)`: the tokens have changed. `reason` is a sentence if the user did not cause the change. */
export function onChange(listener) {
  changed = listener;
}

/** Restores the session after a reload, or takes over that of another tab. */
export async function resume() {
  try {
    const text = sessionStorage.getItem(STORAGE_KEY);
    if (text !== null) {
      isStored = true;
      take(JSON.parse(text));
      return;
    }
  } catch {
    // No storage, or unexpected content: treated as empty.
  }
  channel.postMessage({ kind: "greeting" });
  await new Promise((resolve) => setTimeout(resolve, GREETING_MILLISECONDS));
}

/** Whether the tokens outlive a reload of this tab. */
export function store(wanted) {
  isStored = wanted;
  persist();
}

function persist() {
  try {
    if (isStored && tokens) sessionStorage.setItem(STORAGE_KEY, JSON.stringify(tokens));
    else sessionStorage.removeItem(STORAGE_KEY);
  } catch {
    isStored = false;
  }
}

function take(next, reason = null) {
  tokens = next;
  persist();
  schedule();
  changed(tokens, reason);
}

/**
 * The device token of the last login in this browser, as a member of the next login's body. It authenticates nobody: it
 * keeps other people's failed attempts from locking this browser's users out.
 */
function device() {
  try {
    const device_token = localStorage.getItem(DEVICE_KEY);
    // Anything else is rejected by the API.
    return /^[\w-]{21}[AQgw]$/.test(device_token) ? { device_token } : {};
  } catch {
    return {};
  }
}

function rememberDevice(device_token) {
  try {
    localStorage.setItem(DEVICE_KEY, device_token);
  } catch {
    // No storage: this browser is not known at the next login.
  }
}

function took(answer) {
  if (answer.device_token) rememberDevice(answer.device_token);
  const next = {
    access: answer.access_token,
    refresh: answer.refresh_token,
    lifetime: answer.expires_in * 1000,
    expiresAt: Date.now() + answer.expires_in * 1000,
  };
  take(next);
  channel.postMessage({ kind: "tokens", tokens: next });
}

/** Signed out, here and in the other tabs. */
function drop(reason = null) {
  take(null, reason);
  channel.postMessage({ kind: "tokens", tokens: null, reason });
}

channel.onmessage = ({ data }) => {
  if (data.kind === "greeting" && tokens) channel.postMessage({ kind: "tokens", tokens });
  if (data.kind === "tokens" && data.tokens?.access !== tokens?.access) take(data.tokens, data.reason ?? null);
};

/** Refreshes the tokens when a fifth of their lifetime is left. */
function schedule() {
  clearTimeout(timer);
  if (tokens === null) return;
  const wait = Math.max(0, tokens.expiresAt - tokens.lifetime / 5 - Date.now());
  // A refresh that fails for lack of a response is tried again by the next request.
  timer = setTimeout(() => refresh(tokens?.access).catch(() => {}), wait);
}

// A machine that was asleep has missed its timers.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") schedule();
});

const exclusively = (work) => (navigator.locks ? navigator.locks.request(LOCK, work) : work());

/** Refreshes the tokens, unless that has happened since `access` was current. */
function refresh(access) {
  return exclusively(async () => {
    if (tokens === null || tokens.access !== access) return;
    try {
      took(await request("POST", "/token", { form: { grant_type: "refresh_token", refresh_token: tokens.refresh } }));
    } catch (error) {
      if (error instanceof ApiError && error.code === "invalid_grant") {
        drop("Your session has ended. Sign in again.");
      }
      throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, HAND_OVER_MILLISECONDS));
  });
}

/** A request with the access token. If the token is rejected, it is refreshed and the request sent once more. */
export async function authorized(method, path, options = {}) {
  if (tokens === null) throw new ApiError(401, null, "You are signed out.");
  const access = tokens.access;
  try {
    return await request(method, path, { ...options, token: access });
  } catch (error) {
    // A function's error has a code. Without one it is the authorizer's, which rejected the token.
    const isTokens = error instanceof ApiError && (error.status === 401 || error.status === 403) && error.code === null;
    if (!isTokens) throw error;
    try {
      await refresh(access);
    } catch (refused) {
      if (refused.code === "invalid_grant") throw new ApiError(401, null, "Your session has ended. Sign in again.");
      throw refused;
    }
    if (tokens === null) throw error;
    return request(method, path, { ...options, token: tokens.access });
  }
}

export async function logIn(username, password) {
  const attempt = (device) => request("POST", "/login", { json: { username, password, ...device } });
  try {
    took(await attempt(device()));
  } catch (error) {
    if (error.code !== "device_attempts_used_up") throw error;
    // As on a new device. Only a success replaces the token: a success elsewhere makes it worth something again.
    took(await attempt({}));
  }
}

export async function register(username, password) {
  await request("POST", "/register", { json: { username, password } });
  await logIn(username, password);
}

export async function changePassword(current_password, new_password) {
  took(await authorized("POST", "/password", { json: { current_password, new_password, ...device() } }));
}

/** Ends this session, or all of the user's. */
export async function logOut(everywhere) {
  try {
    await authorized("POST", everywhere ? "/logout?everywhere=true" : "/logout");
  } catch (error) {
    // A session that has already ended is fine. If the API cannot be reached, the user is told so and stays signed in.
    if (error.status !== 401) throw error;
  }
  drop();
}
