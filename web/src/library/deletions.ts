/** Deleting with a while to think it over. The server is asked only after it, or when the page is left. */
import { type Recording, remove } from "../api";
import { callName } from "../format";
import { Store } from "../store";
import { complain, toast } from "../ui/toast";

const GRACE = 6_000;

/** Recordings that are about to go. */
export const doomed = new Store<{ ids: ReadonlySet<string> }>({ ids: new Set() });
const timers = new Map<string, number>();

export function deleteLater(recording: Recording, gone: () => void): void {
  const { id } = recording;
  if (timers.has(id)) return;
  const finish = async () => {
    timers.delete(id);
    try {
      await remove(id);
      gone();
    } catch (error) {
      complain(error);
    }
    spare(id);
  };
  timers.set(id, window.setTimeout(finish, GRACE));
  doomed.set({ ids: new Set([...doomed.get().ids, id]) });
  const dismiss = toast(`${callName(recording)} will be deleted.`, {
    label: "Undo",
    run() {
      dismiss();
      clearTimeout(timers.get(id));
      timers.delete(id);
      spare(id);
    },
  }, GRACE);
}

function spare(id: string): void {
  doomed.set({ ids: new Set([...doomed.get().ids].filter((each) => each !== id)) });
}

addEventListener("pagehide", () => {
  for (const [id, timer] of timers) {
    clearTimeout(timer);
    void remove(id, true).catch(() => undefined);
  }
  timers.clear();
});
