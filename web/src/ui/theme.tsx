/** Light or dark: as the system has it, until the reader says otherwise. */
import { useState } from "preact/hooks";
import { Moon, Sun } from "./icons";

const STORED = "reeltime.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function stored(): string | null {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

export function isDark(): boolean {
  return (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
}

/** Before anything is drawn. */
export function applyTheme(): void {
  const theme = stored();
  if (theme) document.documentElement.dataset.theme = theme;
}

/** Calls back when light becomes dark, or dark light. */
export function watchTheme(changed: () => void): () => void {
  const observer = new MutationObserver(changed);
  observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  system.addEventListener("change", changed);
  return () => {
    observer.disconnect();
    system.removeEventListener("change", changed);
  };
}

export function ThemeToggle() {
  const [dark, setDark] = useState(isDark());
  const toggle = () => {
    const theme = dark ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem(STORED, theme);
    } catch {
      // Then it lasts as long as the page.
    }
    setDark(!dark);
  };
  return (
    <button type="button" class="button icon-only quiet" aria-label={dark ? "Light theme" : "Dark theme"} onClick={toggle}>
      {dark ? <Sun /> : <Moon />}
    </button>
  );
}
