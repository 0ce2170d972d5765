/** The page: a bar on top, one view below it, and what goes on in every view. */
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { access, keepIn } from "./access";
import { Library } from "./library/library";
import { PlayerPage } from "./player/page";
import { Dock } from "./record/dock";
import { RecordPage } from "./record/page";
import { type Route, adoptPath, useRoute } from "./route";
import { useStore } from "./store";
import "./styles/main.css";
import { Help } from "./ui/help";
import { Help as HelpIcon, Mark } from "./ui/icons";
import { useKeys } from "./ui/keys";
import { Nowhere } from "./ui/nowhere";
import { SignIn, SignOut } from "./ui/signin";
import { ThemeToggle, applyTheme } from "./ui/theme";
import { Toasts } from "./ui/toast";

function App() {
  const route = useRoute();
  const [help, setHelp] = useState(false);
  const { out, keyNeeded } = useStore(access);
  useEffect(() => scrollTo(0, 0), [route.view]);
  useKeys((key) => {
    if (key === "?") setHelp(true);
    else if (key === "r") location.hash = "#/record";
    else if (key === "/") focusSearch();
    else return false;
    return true;
  });
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>Skip to content</a>
      <header class="bar">
        <a class="brand" href="#/">
          <Mark />
          <span>Reeltime</span>
        </a>
        <nav aria-label="Page">
          <a class="bar-link" href="/api/docs/">API</a>
          <button type="button" class="button icon-only quiet" aria-label="Keys" onClick={() => setHelp(true)}>
            <HelpIcon />
          </button>
          <ThemeToggle />
          {keyNeeded && !out && <SignOut />}
        </nav>
      </header>
      <main id="main" tabIndex={-1}>
        {out ? <SignIn /> : <View route={route} />}
      </main>
      {(out || route.view !== "record") && <Dock />}
      <Toasts />
      {help && <Help onClose={() => setHelp(false)} />}
    </>
  );
}

function View({ route }: { route: Route }) {
  if (route.view === "library") return <Library />;
  if (route.view === "record") return <RecordPage />;
  if (route.view === "nowhere") return <Nowhere path={route.path} />;
  return <PlayerPage key={route.id} id={route.id} at={route.at} />;
}

function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function focusSearch(): void {
  location.hash = "#/";
  requestAnimationFrame(() => document.querySelector<HTMLInputElement>("#search")?.focus());
}

applyTheme();
adoptPath();
keepIn();
const root = document.getElementById("app");
if (root) render(<App />, root);
