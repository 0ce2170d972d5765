/** A place that the page does not have: mistyped, or cut off on its way. */
export function Nowhere({ path }: { path: string }) {
  return (
    <section class="nowhere">
      <h1>There is nothing here</h1>
      <p>
        This page has no place called <code>#{path}</code>. Perhaps the link was cut off.
      </p>
      <a class="button primary" href="#/">All recordings</a>
    </section>
  );
}
