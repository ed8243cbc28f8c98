/** Where the nodes and edges of a graph stand: layers from top to bottom. */
import { Graph, layout } from '@dagrejs/dagre';

export interface Box {
  readonly width: number;
  readonly height: number;
}
export interface Link {
  /** Numbers of nodes; an edge goes from a lower to a higher one. */
  readonly from: number;
  readonly to: number;
  readonly label: string;
}
export interface Point {
  readonly x: number;
  readonly y: number;
}
export interface Layout {
  readonly width: number;
  readonly height: number;
  /** Middles of the nodes. */
  readonly nodes: readonly Point[];
  /** For each link its way from the edge of one node to that of the other, and where its label stands (left end, baseline). */
  readonly links: readonly { readonly points: readonly Point[]; readonly label: Point }[];
}

/** Between two nodes of a chain; a label fits in. */
const chainGap = 30;
const layerGap = 34;
const nodeGap = 28;
/** Approximate width of a letter of a label. */
const letter = 6.6;

/** Nodes one below the other with nothing else in between: they are laid out as one. */
interface Chain {
  readonly members: readonly number[];
  readonly width: number;
  readonly height: number;
}

function neighbours(
  count: number,
  links: readonly Link[],
): { readonly before: readonly Set<number>[]; readonly after: readonly Set<number>[] } {
  const before = Array.from({ length: count }, () => new Set<number>());
  const after = Array.from({ length: count }, () => new Set<number>());
  for (const { from, to } of links) {
    before[to].add(from);
    after[from].add(to);
  }
  return { before, after };
}

/** Chains in the order of their first nodes, which is a topological one. */
function chainsOf(boxes: readonly Box[], links: readonly Link[]): Chain[] {
  const { before, after } = neighbours(boxes.length, links);
  const next = (node: number): number | null => {
    const [only] = after[node];
    return after[node].size === 1 && before[only].size === 1 ? only : null;
  };
  const isHead = (node: number): boolean => {
    const [only] = before[node];
    return before[node].size !== 1 || next(only) !== node;
  };
  return boxes.flatMap((_, head) => {
    if (!isHead(head)) return [];
    const members = [head];
    for (let node = next(head); node !== null; node = next(node)) members.push(node);
    const sizes = members.map((node) => boxes[node]);
    return [
      {
        members,
        width: Math.max(...sizes.map((box) => box.width)),
        height: sizes.reduce((sum, box) => sum + box.height, 0) + chainGap * (members.length - 1),
      },
    ];
  });
}

interface ChainLink {
  readonly from: number;
  readonly to: number;
  readonly labelWidth: number;
  /** Keeps an order and is not drawn. */
  readonly isHidden?: boolean;
}

/**
 * Ranges of chains between those that everything passes through, [first, last] with neighbours sharing one: such parts are laid out
 * each for itself, so the work grows with the length of a network and not with its square.
 */
function partsOf(count: number, links: readonly ChainLink[]): (readonly [first: number, last: number])[] {
  const lastUse = new Array<number>(count).fill(-1);
  for (const { from, to } of links) lastUse[from] = Math.max(lastUse[from], to);
  const parts: (readonly [number, number])[] = [];
  let first = 0;
  // The furthest consumer of all chains before the one at hand.
  let reach = -1;
  for (let chain = 0; chain < count; chain++) {
    if (chain > first && chain < count - 1 && reach <= chain && lastUse[chain] > chain) {
      parts.push([first, chain]);
      first = chain;
    }
    reach = Math.max(reach, lastUse[chain]);
  }
  if (count > 0) parts.push([first, count - 1]);
  return parts;
}

interface Placed {
  readonly chains: Map<number, Point>;
  readonly links: Map<ChainLink, readonly Point[]>;
}

/** One part by dagre: the first chain, unless it begins the graph, stands for a point at the top, where the part before ended. */
function placePart(
  chains: readonly Chain[],
  links: readonly ChainLink[],
  [first, last]: readonly [number, number],
  isContinued: boolean,
): Placed {
  const graph = new Graph({ multigraph: true });
  graph.setGraph({ ranksep: layerGap, nodesep: nodeGap, edgesep: 16, rankdir: 'TB' });
  for (let chain = first; chain <= last; chain++) {
    const { width, height } = chains[chain];
    graph.setNode(String(chain), { width, height: isContinued && chain === first ? 1 : height });
  }
  for (const { from, to, labelWidth } of links) {
    graph.setEdge(
      String(from),
      String(to),
      labelWidth === 0 ? {} : { width: labelWidth, height: 14, labelpos: 'r', labeloffset: 6 },
      'link',
    );
  }
  layout(graph);
  const placed: Placed = { chains: new Map(), links: new Map() };
  for (let chain = first; chain <= last; chain++) {
    const { x, y } = graph.node(String(chain)) as { x: number; y: number };
    placed.chains.set(chain, { x, y });
  }
  for (const link of links) {
    if (link.isHidden) continue;
    const { points } = graph.edge(String(link.from), String(link.to), 'link') as { points: Point[] };
    placed.links.set(link, points);
  }
  return placed;
}

/** Layers by the longest way from the top, each in the order of the nodes: for graphs that are too deep for dagre. */
function placeSimply(
  chains: readonly Chain[],
  links: readonly ChainLink[],
  [first, last]: readonly [number, number],
  isContinued: boolean,
): Placed {
  const layer = new Map<number, number>();
  for (let chain = first; chain <= last; chain++) layer.set(chain, 0);
  for (const { from, to } of [...links].sort((a, b) => a.from - b.from)) {
    layer.set(to, Math.max(layer.get(to) ?? 0, (layer.get(from) ?? 0) + 1));
  }
  const rows: number[][] = [];
  for (const [chain, row] of layer) {
    rows[row] ??= [];
    rows[row].push(chain);
  }
  const placed: Placed = { chains: new Map(), links: new Map() };
  let y = 0;
  for (const row of rows) {
    const height = (chain: number): number => (isContinued && chain === first ? 1 : chains[chain].height);
    const tallest = Math.max(...row.map(height));
    let x = -row.reduce((sum, chain) => sum + chains[chain].width + nodeGap, -nodeGap) / 2;
    for (const chain of row) {
      placed.chains.set(chain, { x: x + chains[chain].width / 2, y: y + height(chain) / 2 });
      x += chains[chain].width + nodeGap;
    }
    y += tallest + 2 * layerGap;
  }
  for (const link of links) {
    const [a, b] = [placed.chains.get(link.from), placed.chains.get(link.to)];
    if (a === undefined || b === undefined) continue;
    const bottom = a.y + (isContinued && link.from === first ? 0.5 : chains[link.from].height / 2);
    const top = b.y - chains[link.to].height / 2;
    placed.links.set(link, [
      { x: a.x, y: bottom },
      { x: (a.x + b.x) / 2, y: (bottom + top) / 2 },
      { x: b.x, y: top },
    ]);
  }
  return placed;
}

function place(chains: readonly Chain[], links: readonly ChainLink[], part: readonly [number, number], isContinued: boolean): Placed {
  try {
    return placePart(chains, links, part, isContinued);
  } catch (error) {
    // dagre descends by recursion.
    if (error instanceof RangeError) return placeSimply(chains, links, part, isContinued);
    throw error;
  }
}

/**
 * What keeps a part between the chains it shares with its neighbours: without predecessors a chain would stand beside the one above, without
 * successors beside the one below.
 */
function orderLinks(
  links: readonly ChainLink[],
  [first, last]: readonly [number, number],
  isContinued: boolean,
  isLast: boolean,
): ChainLink[] {
  const fed = new Set(links.map(({ to }) => to));
  const used = new Set(links.map(({ from }) => from));
  const order: ChainLink[] = [];
  for (let chain = first + 1; chain < last || (isLast && chain === last); chain++) {
    if (isContinued && !fed.has(chain)) order.push({ from: first, to: chain, labelWidth: 0, isHidden: true });
    if (!isLast && !used.has(chain)) order.push({ from: chain, to: last, labelWidth: 0, isHidden: true });
  }
  if (!isLast && !fed.has(last) && last > first) order.push({ from: first, to: last, labelWidth: 0, isHidden: true });
  if (!isLast && !used.has(first) && last > first && fed.has(last)) order.push({ from: first, to: last, labelWidth: 0, isHidden: true });
  return order;
}

/** Links between the same two chains are drawn once. */
function chainLinks(chainOf: readonly number[], links: readonly Link[]): Map<string, ChainLink> {
  const found = new Map<string, ChainLink>();
  for (const { from, to, label } of links) {
    const [a, b] = [chainOf[from], chainOf[to]];
    if (a === b) continue;
    const before = found.get(`${a} ${b}`);
    const labelWidth = Math.max(before?.labelWidth ?? 0, label.length * letter);
    found.set(`${a} ${b}`, { from: a, to: b, labelWidth });
  }
  return found;
}

/** The links of each part, which lies between the chains it shares. */
function linksOf(
  parts: readonly (readonly [number, number])[],
  links: readonly ChainLink[],
): { part: readonly [number, number]; links: ChainLink[] }[] {
  const all = parts.map((part) => ({ part, links: [] as ChainLink[] }));
  let at = 0;
  for (const link of [...links].sort((a, b) => a.from - b.from)) {
    while (at < all.length - 1 && link.from >= all[at].part[1]) at++;
    all[at].links.push(link);
  }
  return all;
}

/** Layers of nodes with few crossings. Graphs too deep for the method get a simpler picture. */
export function layOut(boxes: readonly Box[], links: readonly Link[]): Layout {
  const chains = chainsOf(boxes, links);
  const chainOf = new Array<number>(boxes.length).fill(0);
  chains.forEach(({ members }, chain) => {
    for (const node of members) chainOf[node] = chain;
  });
  const between = chainLinks(chainOf, links);
  const all = [...between.values()];
  const middles = new Map<number, Point>();
  const ways = new Map<ChainLink, readonly Point[]>();
  const inside = linksOf(partsOf(chains.length, all), all);
  for (const { part, links: own } of inside) {
    const [first, last] = part;
    const joint = middles.get(first);
    const isLast = last === chains.length - 1;
    const placed = place(chains, [...own, ...orderLinks(own, part, joint !== undefined, isLast)], part, joint !== undefined);
    // Continue below the chain that both parts share.
    const start = placed.chains.get(first) ?? { x: 0, y: 0 };
    const shift = joint === undefined ? { x: 0, y: 0 } : { x: joint.x - start.x, y: joint.y + chains[first].height / 2 - start.y };
    const moved = ({ x, y }: Point): Point => ({ x: x + shift.x, y: y + shift.y });
    for (const [chain, point] of placed.chains) if (chain !== first || joint === undefined) middles.set(chain, moved(point));
    for (const [link, points] of placed.links) ways.set(link, points.map(moved));
  }
  return finish(boxes, links, chains, chainOf, between, middles, ways);
}

function finish(
  boxes: readonly Box[],
  links: readonly Link[],
  chains: readonly Chain[],
  chainOf: readonly number[],
  between: ReadonlyMap<string, ChainLink>,
  middles: ReadonlyMap<number, Point>,
  ways: ReadonlyMap<ChainLink, readonly Point[]>,
): Layout {
  const nodes = new Array<Point>(boxes.length);
  chains.forEach(({ members, height }, chain) => {
    const { x, y } = middles.get(chain) ?? { x: 0, y: 0 };
    let top = y - height / 2;
    for (const node of members) {
      nodes[node] = { x, y: top + boxes[node].height / 2 };
      top += boxes[node].height + chainGap;
    }
  });
  const drawn = links.map(({ from, to }) => {
    const link = between.get(`${chainOf[from]} ${chainOf[to]}`);
    const way = link === undefined ? undefined : ways.get(link);
    if (way === undefined) {
      const points = [
        { x: nodes[from].x, y: nodes[from].y + boxes[from].height / 2 },
        { x: nodes[to].x, y: nodes[to].y - boxes[to].height / 2 },
      ];
      return { points, label: { x: nodes[from].x + 7, y: (points[0].y + points[1].y) / 2 + 3 } };
    }
    const middle = way[Math.floor(way.length / 2)];
    // The way ends at the edges of chains, which may be wider than the nodes.
    const within = (x: number, node: number): number => {
      const room = Math.max(0, boxes[node].width / 2 - 10);
      return Math.min(Math.max(x, nodes[node].x - room), nodes[node].x + room);
    };
    const start = { x: within(way[0].x, from), y: nodes[from].y + boxes[from].height / 2 };
    const end = { x: within(way[way.length - 1].x, to), y: nodes[to].y - boxes[to].height / 2 };
    return { points: [start, ...way.slice(1, -1), end], label: { x: middle.x + 7, y: middle.y + 3 } };
  });
  return shifted(boxes, nodes, drawn);
}

/** Moves everything so that it begins at a margin from the corner. */
function shifted(boxes: readonly Box[], nodes: readonly Point[], links: Layout['links']): Layout {
  const margin = 24;
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  const cover = (x: number, y: number, width: number, height: number): void => {
    left = Math.min(left, x - width / 2);
    right = Math.max(right, x + width / 2);
    top = Math.min(top, y - height / 2);
    bottom = Math.max(bottom, y + height / 2);
  };
  nodes.forEach(({ x, y }, i) => {
    cover(x, y, boxes[i].width, boxes[i].height);
  });
  for (const { points, label } of links) {
    for (const { x, y } of points) cover(x, y, 0, 0);
    cover(label.x, label.y, 120, 0);
  }
  if (nodes.length === 0) return { width: 0, height: 0, nodes, links };
  const move = ({ x, y }: Point): Point => ({ x: x - left + margin, y: y - top + margin });
  return {
    width: right - left + 2 * margin,
    height: bottom - top + 2 * margin,
    nodes: nodes.map(move),
    links: links.map(({ points, label }) => ({ points: points.map(move), label: move(label) })),
  };
}
