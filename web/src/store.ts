/** State that several views look at. */
import { useLayoutEffect, useState } from "preact/hooks";

export class Store<T extends object> {
  private readonly watchers = new Set<() => void>();

  constructor(private value: T) {}

  get(): T {
    return this.value;
  }

  set(change: Partial<T>): void {
    this.value = { ...this.value, ...change };
    for (const watcher of this.watchers) watcher();
  }

  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }
}

export function useStore<T extends object>(store: Store<T>): T {
  const [, redraw] = useState(0);
  // Before anything else can happen: a change between drawing and watching would be missed.
  useLayoutEffect(() => store.watch(() => redraw((count) => count + 1)), [store]);
  return store.get();
}
