/** Layers of several inputs. */
import { concat, FormatError, matmul, maximum, minimum, rsqrt, type Tensor } from 'trireme';
import type { Config } from '../formats/json.js';
import { channelsLast, type Laid, placeOf } from './laid.js';
import { type BuildContext, KerasLayer, type LayerTable } from './layer.js';

class Merge extends KerasLayer {
  readonly #merge: (inputs: readonly Laid[]) => Laid;
  constructor(merge: (inputs: readonly Laid[]) => Laid) {
    super();
    this.#merge = merge;
  }
  override forward(inputs: readonly Laid[]): readonly Laid[] {
    if (inputs.length < 2) throw new FormatError(`a merging layer has ${inputs.length} inputs`, { op: 'keras', expected: 'at least 2' });
    return [this.#merge(inputs)];
  }
}

/** All moved if they are all moved and of one rank; else as the layers mean them. */
function together(inputs: readonly Laid[]): { readonly xs: Tensor[]; readonly moved: boolean } {
  const moved = inputs.every((input) => input.moved && input.x.ndim === inputs[0].x.ndim);
  return { xs: inputs.map((input) => (moved ? input.x : channelsLast(input))), moved };
}

/** Masks of steps that count in every input. */
function masks(inputs: readonly Laid[]): Tensor | null {
  const known = inputs.flatMap(({ mask }) => (mask ? [mask] : []));
  return known.length === 0 ? null : known.reduce((a, b) => a.logicalAnd(b));
}

const elements = (combine: (xs: readonly Tensor[]) => Tensor) => (): KerasLayer =>
  new Merge((inputs) => {
    const { xs, moved } = together(inputs);
    return { x: combine(xs), moved, mask: masks(inputs) };
  });

const sum = (xs: readonly Tensor[]): Tensor => xs.reduce((a, b) => a.add(b));

const concatenate = ({ config }: BuildContext): KerasLayer => {
  const axis = config.has('axis') ? config.integer('axis', -32, 32) : -1;
  return new Merge((inputs) => {
    const { xs, moved } = together(inputs);
    return { x: concat(xs, placeOf({ x: xs[0], moved }, axis)), moved, mask: null };
  });
};

function dotAxes(config: Config): [number, number] {
  const value = config.get('axes');
  const [a, b] = Array.isArray(value) ? value : [value, value];
  if (!Number.isInteger(a) || !Number.isInteger(b)) config.fail(`.axes is ${JSON.stringify(value)}`, 'one axis or two');
  return [a as number, b as number];
}
const dot = ({ config }: BuildContext): KerasLayer => {
  const [first, second] = dotAxes(config);
  const normalized = config.boolean('normalize', false);
  const unit = (x: Tensor, axis: number): Tensor => (normalized ? x.mul(rsqrt(maximum(x.mul(x).sum([axis], true), 1e-12))) : x);
  return new Merge(([left, right]) => {
    const [a, b] = [channelsLast(left), channelsLast(right)];
    if (a.ndim > 3 || b.ndim > 3)
      throw new FormatError(`${config.path} joins ${a.ndim} and ${b.ndim} dimensions`, { op: 'keras', expected: 'at most 3' });
    const [x, y] = [unit(a, first).movedim(first, -1), unit(b, second).movedim(second, 1)];
    const rows = x.ndim === 2 ? x.unsqueeze(1) : x;
    const columns = y.ndim === 2 ? y.unsqueeze(-1) : y;
    const out = matmul(rows, columns);
    const shape = [a.shape[0], ...(x.ndim === 2 ? [] : [x.shape[1]]), ...(y.ndim === 2 ? [] : [y.shape[2]])];
    return { x: out.reshape(shape.length === 1 ? [a.shape[0], 1] : shape), moved: false };
  });
};

export const mergeLayers = {
  Add: elements(sum),
  Subtract: elements(([a, b]) => a.sub(b)),
  Multiply: elements((xs) => xs.reduce((a, b) => a.mul(b))),
  Average: elements((xs) => sum(xs).div(xs.length)),
  Maximum: elements((xs) => xs.reduce((a, b) => maximum(a, b))),
  Minimum: elements((xs) => xs.reduce((a, b) => minimum(a, b))),
  Concatenate: concatenate,
  Dot: dot,
} satisfies LayerTable;
