/** A sentence at the foot of the page, with one thing to do about it. */
import { Store, useStore } from "../store";

interface Toast {
  id: number;
  text: string;
  action?: { label: string; run(): void };
}

const toasts = new Store<{ all: Toast[] }>({ all: [] });
let count = 0;

/** Shows a sentence for `ms`. Returns what takes it away sooner. */
export function toast(text: string, action?: Toast["action"], ms = 5_000): () => void {
  count += 1;
  const id = count;
  const dismiss = () => toasts.set({ all: toasts.get().all.filter((each) => each.id !== id) });
  toasts.set({ all: [...toasts.get().all.slice(-2), { id, text, action }] });
  setTimeout(dismiss, ms);
  return dismiss;
}

/** An error, for long enough to be read. */
export function complain(error: unknown): void {
  toast(error instanceof Error ? error.message : String(error), undefined, 8_000);
}

export function Toasts() {
  const { all } = useStore(toasts);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {all.map(({ id, text, action }) => (
        <div class="toast" key={id}>
          <span>{text}</span>
          {action && (
            <button type="button" class="button quiet" onClick={action.run}>
              {action.label}
            </button>
          )}
        </div>
      ))}
    </div>
  );
}
