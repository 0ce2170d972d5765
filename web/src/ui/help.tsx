/** The sheet of keys. */
import { Dialog } from "./dialog";

const KEYS: [string, [string[], string][]][] = [
  ["Everywhere", [
    [["?"], "This sheet"],
    [["/"], "Search"],
    [["r"], "Record"],
  ]],
  ["Listening", [
    [["Space"], "Play or pause"],
    [["←", "→"], "5 seconds back, on"],
    [["⇧ ←", "⇧ →"], "30 seconds back, on"],
    [["Home", "End"], "Beginning, end"],
    [["m", "⇧ m"], "Next mark, the one before"],
    [["1 – 9"], "Solo a speaker"],
    [["0"], "Hear everyone"],
    [["<", ">"], "Slower, faster"],
    [["c"], "Copy a link to this moment"],
  ]],
];

export function Help({ onClose }: { onClose(): void }) {
  return (
    <Dialog title="Keys" onClose={onClose}>
      {KEYS.map(([title, keys]) => (
        <section key={title} class="keys">
          <h3>{title}</h3>
          <dl>
            {keys.map(([names, what]) => (
              <div key={what}>
                <dt>
                  {names.map((name) => (
                    <kbd key={name}>{name}</kbd>
                  ))}
                </dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
    </Dialog>
  );
}
