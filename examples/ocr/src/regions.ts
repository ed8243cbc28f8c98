/** From the detector's map of probabilities to rectangles: differentiable binarization (Liao et al., arXiv:1911.08947), section 3.5. */
import { cornersOf, grown, type Point, type Quad, type Rectangle, smallestRectangle } from './geometry.js';

export interface RegionOptions {
  /** Probability from which a pixel belongs to a line. Default 0.3. */
  readonly threshold?: number;
  /** Least mean probability inside of a region's rectangle. Default 0.6. */
  readonly boxThreshold?: number;
  /** The network marks lines narrower than they are: by how much rectangles grow. Default 1.6. */
  readonly unclip?: number;
  /** Least height of a region in pixels of the map. Default 3. */
  readonly minSize?: number;
  /** Most regions that are looked at. Default 1000. */
  readonly maxRegions?: number;
}

export interface Region {
  readonly quad: Quad;
  readonly score: number;
}

/** A map [height, width] of probabilities; coordinates of the result are positions between its pixels. */
export function findRegions(map: Float32Array, width: number, height: number, options: RegionOptions = {}): Region[] {
  const { threshold = 0.3, boxThreshold = 0.6, unclip = 1.6, minSize = 3, maxRegions = 1000 } = options;
  const found: Region[] = [];
  for (const border of connectedBorders(map, width, height, threshold, maxRegions)) {
    const rectangle = smallestRectangle(border);
    if (Math.min(rectangle.width, rectangle.height) < minSize) continue;
    const score = meanInside(map, width, height, rectangle);
    if (score < boxThreshold) continue;
    const larger = grown(rectangle, unclip);
    if (Math.min(larger.width, larger.height) < minSize + 2) continue;
    found.push({ quad: cornersOf(larger), score });
  }
  return found;
}

/** Corners of the outermost pixels of each connected region, row by row: enough for its hull. Pixels touch at sides and corners. */
function connectedBorders(map: Float32Array, width: number, height: number, threshold: number, most: number): Point[][] {
  const seen = new Uint8Array(width * height);
  const regions: Point[][] = [];
  for (let start = 0; start < map.length && regions.length < most; start++) {
    if (seen[start] !== 0 || map[start] <= threshold) continue;
    const rows = new Map<number, [number, number]>();
    const stack = [start];
    seen[start] = 1;
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      const [x, y] = [at % width, Math.floor(at / width)];
      const row = rows.get(y);
      if (row === undefined) rows.set(y, [x, x]);
      else if (x < row[0]) row[0] = x;
      else if (x > row[1]) row[1] = x;
      for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
          const next = v * width + u;
          if (seen[next] !== 0 || map[next] <= threshold) continue;
          seen[next] = 1;
          stack.push(next);
        }
      }
    }
    regions.push(
      Array.from(rows).flatMap(([y, [left, right]]): Point[] => [
        [left, y],
        [left, y + 1],
        [right + 1, y],
        [right + 1, y + 1],
      ]),
    );
  }
  return regions;
}

/** Mean of the pixels whose centres lie in a rectangle. */
function meanInside(map: Float32Array, width: number, height: number, rectangle: Rectangle): number {
  const [cos, sin] = [Math.cos(rectangle.angle), Math.sin(rectangle.angle)];
  const [cx, cy] = rectangle.center;
  const corners = cornersOf(rectangle);
  const clip = (value: number, limit: number): number => Math.max(0, Math.min(limit - 1, Math.floor(value)));
  const [xs, ys] = [corners.map(([x]) => x), corners.map(([, y]) => y)];
  let [sum, count] = [0, 0];
  for (let y = clip(Math.min(...ys), height); y <= clip(Math.max(...ys), height); y++) {
    for (let x = clip(Math.min(...xs), width); x <= clip(Math.max(...xs), width); x++) {
      const [dx, dy] = [x + 0.5 - cx, y + 0.5 - cy];
      if (Math.abs(dx * cos + dy * sin) > rectangle.width / 2 || Math.abs(dy * cos - dx * sin) > rectangle.height / 2) continue;
      sum += map[y * width + x];
      count++;
    }
  }
  return count === 0 ? 0 : sum / count;
}
