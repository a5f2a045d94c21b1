// The service, as the page sees it.

const KEY = "mvector-key";
let key = null;
try { key = sessionStorage.getItem(KEY); } catch { /* storage may be forbidden */ }

/** A failure that the service answered with: `kind`, `message`, `retryAfter` in seconds. */
export class ServiceError extends Error {
  constructor(kind, message, retryAfter) {
    super(message);
    this.kind = kind;
    this.retryAfter = retryAfter;
  }
}

export function useKey(text) {
  key = text;
  try { sessionStorage.setItem(KEY, text); } catch { /* then it lasts as long as the page */ }
}

export const hasKey = () => Boolean(key);

export const about = () => ask("GET", "v1/about");
export const listPeople = (offset, limit) => ask("GET", `v1/people?offset=${offset}&limit=${limit}`);
export const removePerson = (name) => ask("DELETE", `v1/people?name=${encodeURIComponent(name)}`);

/** task: identify, verify or enroll. sound: a Blob or File. */
export function send(task, name, sound) {
  const form = new FormData();
  if (task !== "identify") form.append("name", name); // first: a name that cannot be one is then refused sooner
  form.append("audio", sound, "recording");
  return ask("POST", `v1/${task}`, form);
}

async function ask(method, address, body) {
  const headers = { "Accept-Language": document.documentElement.lang };
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(address, { method, headers, body, cache: "no-store", credentials: "omit" });
  } catch {
    throw new ServiceError("unreachable", "");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const wait = Number(response.headers.get("Retry-After"));
    throw new ServiceError(answer.error ?? "internal", answer.message ?? `HTTP ${response.status}`, wait);
  }
  return answer;
}
