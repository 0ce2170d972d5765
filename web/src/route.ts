/** Places of the page: `#/`, `#/record`, `#/r/{id}?t=12.5`; `/r/{id}?t=12.5` leads to the latter. */
import { useLayoutEffect, useState } from "preact/hooks";

export type Route =
  | { view: "library" }
  | { view: "record" }
  | { view: "player"; id: string; at?: number }
  | { view: "nowhere"; path: string };

export function parse(hash: string): Route {
  const [path = "", query] = hash.replace(/^#/, "").split("?");
  const id = /^\/r\/([^/]+)$/.exec(path)?.[1];
  if (id) {
    const at = Number.parseFloat(new URLSearchParams(query).get("t") ?? "");
    return { view: "player", id: decoded(id), at: at >= 0 ? at : undefined };
  }
  if (path === "/record") return { view: "record" };
  return path === "" || path === "/" ? { view: "library" } : { view: "nowhere", path };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Turns a place given as a path into the same place behind the hash. */
export function adoptPath(): void {
  if (location.pathname !== "/" && !location.hash) {
    history.replaceState(null, "", `/#${location.pathname}${location.search}`);
  }
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parse(location.hash));
  // Before anything is painted: a link that is followed at once is not missed.
  useLayoutEffect(() => {
    const changed = () => setRoute(parse(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}

/** The link to a moment of a recording, as somebody else can open it. */
export function momentLink(id: string, seconds: number): string {
  return `${location.origin}/#/r/${id}?t=${Math.round(seconds * 10) / 10}`;
}
