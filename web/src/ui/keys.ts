/** Keys that work anywhere on the page, but not while somebody types or a dialog is open. */
import { useEffect, useRef } from "preact/hooks";

/** `press` gets `Shift+ArrowLeft`, `?`, `m`; it returns whether the key was one of its own. */
export function useKeys(press: (key: string) => boolean): void {
  const latest = useRef(press);
  latest.current = press;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTaken(event)) return;
      const shifted = event.shiftKey && (event.key.length > 1 || /[a-z]/i.test(event.key));
      if (latest.current(shifted ? `Shift+${event.key}` : event.key)) event.preventDefault();
    };
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, []);
}

/** Whether the key belongs to what has the focus. */
function isTaken(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  if (document.querySelector("dialog[open]") || target.closest("input:not([type=radio]), select, textarea")) return true;
  return (event.key === " " || event.key === "Enter") && target.closest("button, a, [role=slider]") !== null && target.getAttribute("role") !== "slider";
}
