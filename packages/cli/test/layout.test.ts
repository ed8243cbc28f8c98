/** Where the nodes of a picture stand. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Box, type Layout, type Link, layOut } from '../src/inspect/layout.js';

const box: Box = { width: 80, height: 26 };

function overlaps(boxes: readonly Box[], { nodes }: Layout): boolean {
  return nodes.some((a, i) =>
    nodes.some((b, k) => {
      if (k <= i) return false;
      const close = 0.5;
      return (
        Math.abs(a.x - b.x) < (boxes[i].width + boxes[k].width) / 2 - close &&
        Math.abs(a.y - b.y) < (boxes[i].height + boxes[k].height) / 2 - close
      );
    }),
  );
}

/** Every link leaves the lower edge of its source and ends at the upper edge of its target. */
function expectAttached(boxes: readonly Box[], links: readonly Link[], { nodes, links: ways }: Layout): void {
  links.forEach(({ from, to }, i) => {
    const { points } = ways[i];
    const [first, last] = [points[0], points[points.length - 1]];
    expect(first.y).toBeCloseTo(nodes[from].y + boxes[from].height / 2, 3);
    expect(last.y).toBeCloseTo(nodes[to].y - boxes[to].height / 2, 3);
    expect(Math.abs(first.x - nodes[from].x)).toBeLessThanOrEqual(boxes[from].width / 2);
    expect(Math.abs(last.x - nodes[to].x)).toBeLessThanOrEqual(boxes[to].width / 2);
  });
}

describe('layout', () => {
  test('nodes do not overlap, links go downwards from node to node, all inside the page', () => {
    const graph = fc.integer({ min: 1, max: 24 }).chain((count) =>
      fc.record({
        boxes: fc.array(fc.record({ width: fc.integer({ min: 40, max: 200 }), height: fc.integer({ min: 26, max: 90 }) }), {
          minLength: count,
          maxLength: count,
        }),
        pairs: fc.array(fc.tuple(fc.nat(count - 1), fc.nat(count - 1)), { maxLength: 2 * count }),
      }),
    );
    fc.assert(
      fc.property(graph, ({ boxes, pairs }) => {
        const seen = new Set<string>();
        const links: Link[] = pairs.flatMap(([a, b]) => {
          const [from, to] = [Math.min(a, b), Math.max(a, b)];
          if (from === to || seen.has(`${from} ${to}`)) return [];
          seen.add(`${from} ${to}`);
          return [{ from, to, label: '1×64×8×8' }];
        });
        const result = layOut(boxes, links);
        expect(overlaps(boxes, result)).toBe(false);
        expectAttached(boxes, links, result);
        for (const { from, to } of links) expect(result.nodes[from].y).toBeLessThan(result.nodes[to].y);
        result.nodes.forEach(({ x, y }, i) => {
          expect(x - boxes[i].width / 2).toBeGreaterThanOrEqual(0);
          expect(x + boxes[i].width / 2).toBeLessThanOrEqual(result.width);
          expect(y - boxes[i].height / 2).toBeGreaterThanOrEqual(0);
          expect(y + boxes[i].height / 2).toBeLessThanOrEqual(result.height);
        });
      }),
      { numRuns: 80 },
    );
  });

  test('a long network of residual blocks is placed block by block', () => {
    const links: Link[] = [];
    const blocks = 120;
    for (let i = 0; i < blocks; i++) {
      // Block i: node 3i is passed on and goes through two more.
      links.push({ from: 3 * i, to: 3 * i + 1, label: '' }, { from: 3 * i + 1, to: 3 * i + 2, label: '' });
      links.push({ from: 3 * i + 2, to: 3 * i + 3, label: '' }, { from: 3 * i, to: 3 * i + 3, label: '' });
    }
    const boxes = Array.from({ length: 3 * blocks + 1 }, () => box);
    const result = layOut(boxes, links);
    expectAttached(boxes, links, result);
    expect(result.width).toBeLessThan(600);
  });

  test('a graph too deep for the layered method still has a picture', () => {
    // Two paths side by side that exchange at every step: nothing to cut, nothing to merge.
    const depth = 3000;
    const links: Link[] = [];
    for (let i = 0; i < 2 * depth - 2; i += 2) {
      links.push({ from: i, to: i + 2, label: '' }, { from: i + 1, to: i + 3, label: '' });
      links.push({ from: i, to: i + 3, label: '' }, { from: i + 1, to: i + 2, label: '' });
    }
    const boxes = Array.from({ length: 2 * depth }, () => box);
    const result = layOut(boxes, links);
    expectAttached(boxes, links, result);
  });
});
