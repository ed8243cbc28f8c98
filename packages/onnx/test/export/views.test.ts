import fc from 'fast-check';
import { denseStrides, type Layout, type Shape, sizeOf } from 'trireme/graph';
import { describe, expect, it } from 'vitest';
import { planView, type ViewStep } from '../../src/export/views.js';

interface Dense {
  readonly shape: Shape;
  readonly values: readonly number[];
}

/** Elements that a layout picks, row-major. */
function picked({ shape, strides, offset }: Layout, values: readonly number[]): number[] {
  return shape
    .reduce<number[]>(
      (all, extent, axis) => all.flatMap((at) => Array.from({ length: extent }, (_, i) => at + i * strides[axis])),
      [offset],
    )
    .map((at) => values[at]);
}

/** One step on the host. */
function applied(x: Dense, step: ViewStep): Dense {
  const strides = denseStrides(x.shape);
  switch (step.kind) {
    case 'reshape':
      expect(sizeOf(step.shape)).toBe(sizeOf(x.shape));
      return { shape: step.shape, values: x.values };
    case 'transpose': {
      const shape = step.permutation.map((axis) => x.shape[axis]);
      return { shape, values: picked({ shape, strides: step.permutation.map((axis) => strides[axis]), offset: 0 }, x.values) };
    }
    case 'slice': {
      const shape = x.shape.with(step.axis, step.count);
      const moved = strides.with(step.axis, strides[step.axis] * step.step);
      return { shape, values: picked({ shape, strides: moved, offset: step.start * strides[step.axis] }, x.values) };
    }
    case 'gather': {
      const shape = x.shape.toSpliced(step.axis, 1, ...step.shape);
      const before = sizeOf(x.shape.slice(0, step.axis));
      const after = sizeOf(x.shape.slice(step.axis + 1));
      const values = Array.from({ length: before }, (_, i) => i).flatMap((i) =>
        step.positions.flatMap((p) => Array.from({ length: after }, (_, k) => x.values[(i * x.shape[step.axis] + p) * after + k])),
      );
      return { shape, values };
    }
    case 'expand': {
      const lead = step.shape.length - x.shape.length;
      const spread = step.shape.map((_, axis) => (axis < lead || x.shape[axis - lead] === 1 ? 0 : strides[axis - lead]));
      return { shape: step.shape, values: picked({ shape: step.shape, strides: spread, offset: 0 }, x.values) };
    }
    default:
      return step satisfies never;
  }
}

/** One change of a view, as tensors make them. */
const change = fc.record({
  kind: fc.constantFrom('permute', 'slice', 'flip', 'select', 'expand', 'split', 'merge'),
  a: fc.nat(50),
  b: fc.nat(50),
});

function changed(layout: Layout, { kind, a, b }: { readonly kind: string; readonly a: number; readonly b: number }): Layout {
  const { shape, strides, offset } = layout;
  if (shape.length === 0) return layout;
  const axis = a % shape.length;
  const extent = shape[axis];
  switch (kind) {
    case 'permute': {
      const order = shape.map((_, i) => i);
      order.splice(b % shape.length, 0, ...order.splice(axis, 1));
      return { shape: order.map((i) => shape[i]), strides: order.map((i) => strides[i]), offset };
    }
    case 'slice': {
      const start = b % extent;
      const step = 1 + (b % 2);
      return {
        shape: shape.with(axis, Math.ceil((extent - start) / step)),
        strides: strides.with(axis, strides[axis] * step),
        offset: offset + start * strides[axis],
      };
    }
    case 'flip':
      return { shape, strides: strides.with(axis, -strides[axis]), offset: offset + (extent - 1) * strides[axis] };
    case 'select':
      return { shape: shape.toSpliced(axis, 1), strides: strides.toSpliced(axis, 1), offset: offset + (b % extent) * strides[axis] };
    case 'expand':
      return { shape: shape.toSpliced(axis, 0, 1 + (b % 3)), strides: strides.toSpliced(axis, 0, 0), offset };
    case 'split': {
      const divisor = [2, 3].find((d) => extent % d === 0) ?? 1;
      return {
        shape: shape.toSpliced(axis, 1, divisor, extent / divisor),
        strides: strides.toSpliced(axis, 1, (strides[axis] * extent) / divisor, strides[axis]),
        offset,
      };
    }
    default: {
      const next = axis + 1;
      if (next >= shape.length || strides[axis] !== strides[next] * shape[next]) return layout;
      return { shape: shape.toSpliced(axis, 2, extent * shape[next]), strides: strides.toSpliced(axis, 2, strides[next]), offset };
    }
  }
}

describe('views as steps', () => {
  it('give the elements of the view, whatever views it is made of', () => {
    const shapes = fc.array(fc.constantFrom(1, 2, 3, 4, 6), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(shapes, fc.array(change, { maxLength: 5 }), (base, changes) => {
        const values = Array.from({ length: sizeOf(base) }, (_, i) => i);
        const start: Layout = { shape: base, strides: denseStrides(base), offset: 0 };
        const layout = changes.reduce(changed, start);
        fc.pre(sizeOf(layout.shape) < 5000);
        const steps = planView(base, layout, false);
        expect(steps).not.toBeNull();
        const made = (steps ?? []).reduce(applied, { shape: base, values });
        expect(made.shape).toEqual(layout.shape);
        expect(made.values).toEqual(picked(layout, values));
      }),
      { numRuns: 500 },
    );
  });

  it('are few: what a transposed, cut or split tensor is', () => {
    const kinds = (base: Shape, layout: Layout): string[] => (planView(base, layout, false) ?? []).map((step) => step.kind);
    const heads = { shape: [2, 4, 5, 8], strides: [160, 8, 32, 1], offset: 0 };
    expect(kinds([2, 5, 32], heads)).toEqual(['reshape', 'transpose']);
    expect(kinds([2, 5, 32], { shape: [2, 5, 16], strides: [160, 32, 1], offset: 16 })).toEqual(['slice']);
    expect(kinds([3, 4], { shape: [4, 3], strides: [1, 4], offset: 0 })).toEqual(['transpose']);
    expect(kinds([3, 4], { shape: [4], strides: [1], offset: 4 })).toEqual(['slice', 'reshape']);
    expect(kinds([4], { shape: [3, 4], strides: [0, 1], offset: 0 })).toEqual(['reshape', 'expand']);
    expect(kinds([8], { shape: [3, 4], strides: [2, 1], offset: 0 })).toEqual(['gather']);
  });
});
