/** Rectangles that need not be upright. Coordinates in pixels, y down. */

export type Point = readonly [x: number, y: number];
/** Corners clockwise as seen on the screen; for a line of text from its upper left one. */
export type Quad = readonly [Point, Point, Point, Point];

export const distance = ([ax, ay]: Point, [bx, by]: Point): number => Math.hypot(ax - bx, ay - by);

/** Convex hull by Andrew's monotone chain, without points along its sides. */
export function convexHull(points: readonly Point[]): Point[] {
  const sorted = [...points].sort(([ax, ay], [bx, by]) => ax - bx || ay - by);
  if (sorted.length < 3) return sorted;
  const half = (list: readonly Point[]): Point[] => {
    const chain: Point[] = [];
    for (const p of list) {
      while (chain.length >= 2) {
        const [a, b] = chain.slice(-2);
        if ((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) > 0) break;
        chain.pop();
      }
      chain.push(p);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.toReversed())];
}

export interface Rectangle {
  readonly center: Point;
  /** Along the angle, and across it. */
  readonly width: number;
  readonly height: number;
  /** Radians from the x axis to the side `width`. */
  readonly angle: number;
}

/** The rectangle of least area around points: one of its sides lies along one of the hull's. */
export function smallestRectangle(points: readonly Point[]): Rectangle {
  const hull = convexHull(points);
  let best: Rectangle = { center: hull[0], width: 0, height: 0, angle: 0 };
  let least = Number.POSITIVE_INFINITY;
  hull.forEach((from, i) => {
    const to = hull[(i + 1) % hull.length];
    const angle = Math.atan2(to[1] - from[1], to[0] - from[0]);
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const along = hull.map(([x, y]) => x * cos + y * sin);
    const across = hull.map(([x, y]) => y * cos - x * sin);
    const [u0, u1, v0, v1] = [Math.min(...along), Math.max(...along), Math.min(...across), Math.max(...across)];
    const [width, height] = [u1 - u0, v1 - v0];
    if (width * height >= least) return;
    least = width * height;
    const [u, v] = [(u0 + u1) / 2, (v0 + v1) / 2];
    best = { center: [u * cos - v * sin, u * sin + v * cos], width, height, angle };
  });
  return best;
}

/** Grown by the same margin on all sides: what offsetting its outline by `area * ratio / perimeter` makes of a rectangle. */
export function grown(rectangle: Rectangle, ratio: number): Rectangle {
  const { width, height } = rectangle;
  const margin = width + height === 0 ? 0 : (width * height * ratio) / (2 * (width + height));
  return { ...rectangle, width: width + 2 * margin, height: height + 2 * margin };
}

export function cornersOf({ center: [x, y], width, height, angle }: Rectangle): Quad {
  const [ux, uy] = [(Math.cos(angle) * width) / 2, (Math.sin(angle) * width) / 2];
  const [vx, vy] = [(-Math.sin(angle) * height) / 2, (Math.cos(angle) * height) / 2];
  return readable([
    [x - ux - vx, y - uy - vy],
    [x + ux - vx, y + uy - vy],
    [x + ux + vx, y + uy + vy],
    [x - ux + vx, y - uy + vy],
  ]);
}

/** Begins with the corner whose side to the next one points most to the right. */
function readable(corners: Quad): Quad {
  const rightward = corners.map(([x], i) => (corners[(i + 1) % 4][0] - x) / Math.max(1e-9, distance(corners[i], corners[(i + 1) % 4])));
  const start = rightward.indexOf(Math.max(...rightward));
  const [a, b, c, d] = [0, 1, 2, 3].map((k) => corners[(start + k) % 4]);
  return [a, b, c, d];
}

/** Upright box around a quad: left, top, right, bottom. */
export function boundsOf(quad: Quad): readonly [number, number, number, number] {
  const [xs, ys] = [quad.map(([x]) => x), quad.map(([, y]) => y)];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}
