/** Line drawings on a grid of 20, in the colour of the text around them. */
import type { ComponentChildren } from "preact";

function icon(children: ComponentChildren) {
  return () => (
    <svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
      {children}
    </svg>
  );
}

export const Play = icon(<path class="solid" d="M6 4.2v11.6c0 .6.7 1 1.2.7l9-5.8c.5-.3.5-1 0-1.4l-9-5.8c-.5-.3-1.2.1-1.2.7z" />);
export const Pause = icon(<path class="solid" d="M5.5 4h3v12h-3zM11.5 4h3v12h-3z" />);
export const Stop = icon(<rect class="solid" x="5" y="5" width="10" height="10" rx="1.5" />);
export const Flag = icon(<path d="M5 17V3.5h9.5l-2 3.5 2 3.5H5" />);
export const Back = icon(<path d="M12 4.5 6.5 10l5.5 5.5" />);
export const Search = icon(<><circle cx="9" cy="9" r="5" /><path d="m13 13 4 4" /></>);
export const Download = icon(<path d="M10 3v9.5M6 9l4 4 4-4M4 16.5h12" />);
export const Trash = icon(<path d="M4 5.5h12M8 5V3.5h4V5M5.5 5.5l.7 11h7.6l.7-11M8.5 8.5v5M11.5 8.5v5" />);
export const Link = icon(<path d="M8.5 11.5a3 3 0 0 0 4.3 0l2.6-2.6a3 3 0 0 0-4.3-4.3l-1 1M11.5 8.5a3 3 0 0 0-4.3 0l-2.6 2.6a3 3 0 0 0 4.3 4.3l1-1" />);
export const Sun = icon(<><circle cx="10" cy="10" r="3.2" /><path d="M10 2.5v1.7M10 15.8v1.7M2.5 10h1.7M15.8 10h1.7M4.7 4.7l1.2 1.2M14.1 14.1l1.2 1.2M4.7 15.3l1.2-1.2M14.1 5.9l1.2-1.2" /></>);
export const Moon = icon(<path d="M16.2 12A6.8 6.8 0 0 1 8 3.8 6.8 6.8 0 1 0 16.2 12z" />);
export const Help = icon(<><circle cx="10" cy="10" r="7" /><path d="M8 8a2 2 0 1 1 2.7 1.9c-.5.2-.7.6-.7 1.1v.4M10 13.7v.1" /></>);
export const Copy = icon(<><rect x="7" y="7" width="9" height="9" rx="1.5" /><path d="M13 4.5A1.5 1.5 0 0 0 11.5 4h-6A1.5 1.5 0 0 0 4 5.500v6A1.5 1.5 0 0 0 4.5 13" /></>);
export const Leave = icon(<path d="M8 3.5H4.5v13H8M8.5 10h8M13.5 6.8l3.2 3.2-3.2 3.2" />);
export const Stored = icon(<><circle cx="10" cy="10" r="7" /><path d="m7 10.3 2.2 2.2 4-4.5" /></>);
export const Moving = icon(<><circle cx="10" cy="10" r="7" /><path d="M10 13.5V7M7.3 9.5 10 6.8l2.7 2.7" /></>);
export const Away = icon(<><circle cx="10" cy="10" r="7" /><path d="M10 6.5v4.5M10 13.5v.1" /></>);
export const Close = icon(<path d="m5 5 10 10M15 5 5 15" />);
export const Rewind = icon(<><path d="M5.2 6.700A6.5 6.5 0 1 1 3.5 11" /><path d="M5 3v4h4" /></>);
export const Forward = icon(<><path d="M14.8 6.700A6.5 6.5 0 1 0 16.5 11" /><path d="M15 3v4h-4" /></>);
export const Mic = icon(<><rect x="7.5" y="2.5" width="5" height="9" rx="2.5" /><path d="M4.5 9.500a5.5 5.5 0 0 0 11 0M10 15v2.5" /></>);

/** Two reels and the tape below them. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 28 20" width="28" height="20" aria-hidden="true">
      <circle cx="8" cy="8" r="5.2" />
      <circle cx="20" cy="8" r="5.2" />
      <path class="tape" d="M2 18h24" />
    </svg>
  );
}
