// Requests to the API, each with a record that contains no secret.

/** An error response of the API. Its message is a sentence for people. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const SECRETS = new Set(["password", "current_password", "new_password", "device_token"]);
const TOKENS = new Set(["access_token", "refresh_token", "token"]);

/** Enough of a token to recognise it. */
export function shortened(token) {
  return `${token.slice(0, 12)}… (${token.length} characters)`;
}

function withoutSecrets(value) {
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => {
      if (SECRETS.has(name)) return [name, "•••"];
      if (TOKENS.has(name) && typeof member === "string") return [name, shortened(member)];
      return [name, withoutSecrets(member)];
    }),
  );
}

let record = () => {};

/** Calls `listener` with every exchange from now on. */
export function onExchange(listener) {
  record = listener;
}

/**
 * Sends a request and gives the answer's JSON, or `null` where there is no body.
 * `json` and `form` are bodies, `token` is an access token.
 */
export async function request(method, path, { json, form, token } = {}) {
  const headers = {};
  let body;
  if (json) {
    headers["content-type"] = "application/json";
    body = JSON.stringify(json);
  }
  if (form) {
    body = new URLSearchParams(form);
  }
  if (token) headers.authorization = `Bearer ${token}`;
  const exchange = {
    method,
    path,
    authorization: token ? `Bearer ${shortened(token)}` : null,
    sent: withoutSecrets(json ?? form ?? null),
    received: null,
    status: null,
    milliseconds: null,
  };
  const started = performance.now();
  let response;
  let text;
  try {
    response = await fetch(path, { method, headers, body, cache: "no-store", credentials: "omit", redirect: "error" });
    text = await response.text();
  } catch {
    record(exchange);
    throw new ApiError(0, "unreachable", "The API does not answer. Check your connection and try again.");
  }
  exchange.milliseconds = Math.round(performance.now() - started);
  exchange.status = response.status;
  let answer = null;
  try {
    answer = text === "" ? null : JSON.parse(text);
  } catch {
    answer = null;
  }
  exchange.received = withoutSecrets(answer);
  record(exchange);
  if (!response.ok) throw new ApiError(response.status, answer?.error ?? null, sentence(response, answer));
  return answer;
}

/** The message for a person. Functions send a sentence; API Gateway sends a word. */
function sentence(response, answer) {
  if (answer?.error && answer.message) return answer.message;
  switch (response.status) {
    case 401:
      return "The request was not authenticated.";
    case 403:
      return "The access token is no longer valid.";
    case 404:
      return "This API has no such route.";
    case 429:
      return "Too many requests. Wait a moment and try again.";
    default:
      return `Something went wrong on the server (status ${response.status}). Try again in a moment.`;
  }
}
