// Asks the management API. The login is kept for as long as the tab is open; nothing else is kept.

const KEY = "leveret-login";

export function loggedIn() {
  return sessionStorage.getItem(KEY) !== null;
}

export function logIn(user, password) {
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  sessionStorage.setItem(KEY, btoa(String.fromCharCode(...bytes)));
}

export function logOut() {
  sessionStorage.removeItem(KEY);
}

export class ApiError extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

// The JSON of an answer; null where there is none.
export async function ask(method, path, body) {
  let response;
  try {
    response = await fetch(`api/${path}`, {
      method,
      // The browser must not ask for a password of its own.
      credentials: "omit",
      headers: { authorization: `Basic ${sessionStorage.getItem(KEY)}`, "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, "The broker does not answer.");
  }
  const text = await response.text();
  let json = null;
  try {
    json = text === "" ? null : JSON.parse(text);
  } catch {
    json = null;
  }
  if (!response.ok) {
    const reason = json?.reason ?? json?.error ?? response.statusText;
    throw new ApiError(response.status, typeof reason === "string" ? reason : JSON.stringify(reason));
  }
  return json;
}

export const get = (path) => ask("GET", path);

// Names as segments of a path.
export const path = (...names) => names.map(encodeURIComponent).join("/");
