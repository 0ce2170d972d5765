import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { PAGE, Pages } from "../src/library/pages";

/** A server with so many recordings, and the pages that it was asked for. */
let count = 0;
let asked: number[] = [];

beforeEach(() => {
  asked = [];
  globalThis.fetch = async (path) => {
    const page = Number(new URLSearchParams(String(path).split("?")[1]).get("page"));
    asked.push(page);
    const first = (page - 1) * PAGE;
    const items = Array.from({ length: Math.max(0, Math.min(PAGE, count - first)) }, (_, i) => ({ id: `${count - first - i}` }));
    return Response.json({ items, page, page_size: PAGE, total: count });
  };
});

const settled = () => new Promise((resolve) => setTimeout(resolve));

test("only the pages in view are asked for, each once", async () => {
  count = 1_000;
  const pages = new Pages("", () => undefined);
  await pages.refresh();
  pages.need(250, 320);
  pages.need(255, 325);
  await settled();
  assert.deepEqual(asked, [1, 3, 4]);
  assert.deepEqual([pages.at(0)?.id, pages.at(299)?.id, pages.at(400)], ["1000", "701", undefined]);
});

test("where nothing has changed nothing is asked for again, however far down the list one is", async () => {
  count = 10_000;
  const pages = new Pages("", () => undefined);
  await pages.refresh();
  for (let page = 1; page < 60; page += 1) {
    pages.need(page * PAGE, page * PAGE);
    await settled();
  }
  asked = [];
  await pages.refresh();
  pages.need(59 * PAGE, 59 * PAGE);
  await settled();
  assert.deepEqual(asked, [1]);
});

test("after a change what is in view stays until it is there anew", async () => {
  count = 500;
  const pages = new Pages("", () => undefined);
  await pages.refresh();
  pages.need(200, 210);
  await settled();
  count = 501;
  await pages.refresh();
  assert.deepEqual([pages.total, pages.at(0)?.id, pages.at(200)?.id], [501, "501", "300"]);
  pages.need(200, 210);
  await settled();
  assert.equal(pages.at(200)?.id, "301");
});

test("a server that is away is said, and forgotten once it is back", async () => {
  count = 1;
  const pages = new Pages("", () => undefined);
  const working = globalThis.fetch;
  globalThis.fetch = async () => Promise.reject(new TypeError("away"));
  await pages.refresh();
  assert.match(pages.error?.message ?? "", /cannot be reached/);
  globalThis.fetch = working;
  await pages.refresh();
  assert.deepEqual([pages.error, pages.total], [undefined, 1]);
});
