/** All recordings: those that are being made first, then the rest, newest first. */
import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Recording, isLive, list } from "../api";
import { plural } from "../format";
import { StoreLine, useStoreStatus } from "../storage/line";
import { moodOf } from "../storage/words";
import { useStore } from "../store";
import { DownloadDialog } from "../ui/download";
import { Search } from "../ui/icons";
import { deleteLater, doomed } from "./deletions";
import { Empty } from "./empty";
import { Pages } from "./pages";
import { Blank, Row } from "./row";
import { VirtualList } from "./virtual";

/** Milliseconds between looks at what is live. */
const LOOK = 1_500;
/** Every so many looks the rest is looked at as well, whether or not a live one has ended. */
const SELDOM = 8;

/** Of what is not in the store, so many are shown: the newest. */
const MOST = 100;

const narrow = matchMedia("(max-width: 640px)");

export function Library() {
  const [search, setSearch] = useState("");
  const { begun, pages } = useRecordings(search);
  const sought = pages.search;
  const status = useStoreStatus();
  const [wanted, setWanted] = useState<Recording>();
  const { ids } = useStore(doomed);
  const rowHeight = useRowHeight();
  // What has ended is stored in a moment; where it is not, it is told apart from what is live.
  const away = status !== undefined && moodOf(status) === "away";
  const isWaiting = ({ state }: Recording) => away && state === "ending";
  const [live, waiting] = [begun.filter((each) => !isWaiting(each)), begun.filter(isWaiting)];
  const onDelete = (recording: Recording) => deleteLater(recording, () => void pages.refresh());
  const row = (recording: Recording) => (
    <Row recording={recording} waiting={isWaiting(recording)} doomed={ids.has(recording.id)} onDownload={setWanted} onDelete={onDelete} />
  );
  const total = pages.total ?? 0;
  const nothing = pages.total === 0 && begun.length === 0;

  return (
    <div class="library">
      <header class="library-head">
        <h1>Recordings</h1>
        <div class="head-line">
          <p class="count" role="status">{told(pages, live.length)}</p>
          {status && !(nothing && !away) && <StoreLine status={status} />}
        </div>
        {!(nothing && !sought) && (
          <a class="button primary" href="#/record">
            <span class="dot" /> Record
          </a>
        )}
      </header>
      {!(nothing && !search && !sought) && <SearchField value={search} onChange={setSearch} />}
      {pages.error && <p class="banner" role="alert">{pages.error.message}</p>}
      {live.length > 0 && (
        <section aria-label="Being recorded now">
          <Rows label="Being recorded now" recordings={live} row={row} />
        </section>
      )}
      {waiting.length > 0 && (
        <section class="waiting" aria-labelledby="waiting-title">
          <h2 id="waiting-title">Waiting for the store</h2>
          <Rows label="Waiting for the store" recordings={waiting} row={row} />
          {begun.length === MOST && !sought && <p class="more">The newest of {plural(status?.backlog.recordings ?? 0, "recording")} that wait</p>}
        </section>
      )}
      {total > 0 && (
        <VirtualList
          label="Recordings, newest first"
          count={total}
          rowHeight={rowHeight}
          onView={(first, last) => pages.need(first, last)}
          keyAt={(index) => pages.keyAt(index)}
          row={(index) => {
            const recording = pages.at(index);
            return recording ? row(recording) : <Blank />;
          }}
        />
      )}
      {nothing && (sought ? <p class="nothing">No call or participant is called “{sought}”.</p> : <Empty />)}
      {wanted && <DownloadDialog recording={wanted} onClose={() => setWanted(undefined)} />}
    </div>
  );
}

interface RowsProps {
  label: string;
  recordings: Recording[];
  row(recording: Recording): ComponentChildren;
}

function Rows({ label, recordings, row }: RowsProps) {
  return (
    <ul class="rows" role="list" aria-label={label}>
      {recordings.map((recording) => (
        <li key={recording.id}>{row(recording)}</li>
      ))}
    </ul>
  );
}

function told(pages: Pages, live: number): string {
  const { search } = pages;
  if (pages.total === 0 && !live && !search) return "";
  if (pages.total === undefined) return pages.error ? "" : "Looking…";
  const ended = search ? `${plural(pages.total, "match").replace("matchs", "matches")}` : plural(pages.total, "recording");
  return live ? `${live} live · ${ended}` : ended;
}

function SearchField({ value, onChange }: { value: string; onChange(text: string): void }) {
  const timer = useRef<number>(undefined);
  const typed = (event: Event) => {
    const text = (event.target as HTMLInputElement).value.trim();
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => onChange(text), 180);
  };
  return (
    <div class="search">
      <Search />
      <input
        id="search"
        type="search"
        placeholder="Search calls and participants"
        aria-label="Search calls and participants"
        autocomplete="off"
        spellcheck={false}
        defaultValue={value}
        onInput={typed}
      />
      <kbd aria-hidden="true">/</kbd>
    </div>
  );
}

function useRowHeight(): number {
  const [phone, setPhone] = useState(narrow.matches);
  useEffect(() => {
    const changed = () => setPhone(narrow.matches);
    narrow.addEventListener("change", changed);
    return () => narrow.removeEventListener("change", changed);
  }, []);
  return phone ? 88 : 64;
}

interface Shown {
  /** What is not in the store yet. */
  begun: Recording[];
  /** What is. */
  pages: Pages;
}

/** What is found, looked at again and again. What was found before is shown until there is an answer: rows do not vanish under a hand. */
function useRecordings(search: string): Shown {
  const [, redraw] = useState(0);
  const changed = useCallback(() => redraw((count) => count + 1), []);
  const ref = useRef<Shown>(undefined);
  const shown = (ref.current ??= { begun: [], pages: new Pages(search, changed) });

  useEffect(() => {
    const pages = ref.current?.pages.search === search ? ref.current.pages : new Pages(search, changed);
    let looks = 0;
    let over = false;
    let timer: number;
    const look = async () => {
      if (!document.hidden) {
        const before = ref.current?.pages === pages ? ref.current.begun : [];
        const query = { q: search, state: "in_progress", page_size: String(MOST) };
        const found = await list(query).then((page) => page.items.filter(isLive), () => undefined);
        const ended = found && before.some((old) => !found.some((each) => each.id === old.id));
        if (looks % SELDOM === 0 || ended || !found) await pages.refresh();
        if (over) return;
        if (ref.current?.pages !== pages) ref.current?.pages.close();
        ref.current = { begun: found ?? before, pages };
        looks += 1;
        changed();
      }
      if (!over) timer = window.setTimeout(look, LOOK);
    };
    void look();
    return () => {
      over = true;
      clearTimeout(timer);
      if (ref.current?.pages !== pages) pages.close();
    };
  }, [search]);
  useEffect(() => () => ref.current?.pages.close(), []);
  return shown;
}
