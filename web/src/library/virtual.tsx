/** A list of any length, of which only what is in view is in the document. The window scrolls it. */
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

/** Rows beyond the view's edges, so that a scroll finds them drawn. */
const MARGIN = 8;

interface Props {
  label: string;
  count: number;
  /** Pixels. */
  rowHeight: number;
  /** What stays with a row when its place changes. */
  keyAt(index: number): string;
  row(index: number): ComponentChildren;
  /** These rows come into view. */
  onView(first: number, last: number): void;
}

export function VirtualList({ label, count, rowHeight, keyAt, row, onView }: Props) {
  const box = useRef<HTMLUListElement>(null);
  const [view, setView] = useState({ first: 0, last: 20 });
  const measure = () => {
    const top = -(box.current?.getBoundingClientRect().top ?? 0);
    const first = Math.max(0, Math.floor(top / rowHeight) - MARGIN);
    const last = Math.ceil((top + innerHeight) / rowHeight) + MARGIN;
    setView((before) => (before.first === first && before.last === last ? before : { first, last }));
  };
  // Each time: what stands above the list may have come or gone.
  useLayoutEffect(measure);
  useEffect(() => {
    addEventListener("scroll", measure, { passive: true });
    addEventListener("resize", measure);
    return () => {
      removeEventListener("scroll", measure);
      removeEventListener("resize", measure);
    };
  }, [rowHeight]);

  const last = Math.min(view.last, count - 1);
  useEffect(() => {
    if (last >= view.first) onView(view.first, last);
  });
  const indices = Array.from({ length: Math.max(0, last - view.first + 1) }, (_, i) => view.first + i);
  return (
    <ul ref={box} class="rows virtual" role="list" aria-label={label} style={{ height: `${count * rowHeight}px` }} onKeyDown={moveFocus}>
      {indices.map((index) => (
        <li
          key={keyAt(index)}
          class="row-place"
          aria-setsize={count}
          aria-posinset={index + 1}
          style={{ height: `${rowHeight}px`, transform: `translateY(${index * rowHeight}px)` }}
        >
          {row(index)}
        </li>
      ))}
    </ul>
  );
}

/** Up and down go from recording to recording. */
function moveFocus(event: KeyboardEvent): void {
  const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
  const here = (event.target as HTMLElement).closest("li");
  const there = step && here?.parentElement?.querySelector<HTMLElement>(
    `li[aria-posinset="${Number(here.getAttribute("aria-posinset")) + step}"] a`,
  );
  if (!there) return;
  event.preventDefault();
  there.focus();
}
