/** The weights of a Keras model, found by the layers as they are built. */
import { FormatError, nn, noGrad, type Tensor, tensor } from 'trireme';

/** A weight as it is in the file, row-major. */
export interface Variable {
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array | Int32Array | Uint8Array | BigInt64Array | Int8Array | Int16Array;
}

/** Weights of one layer. */
export interface LayerVariables {
  /**
   * The variables of these names (Keras's own, in the order in which the layer makes them).
   * @throws FormatError that names the layer when one is missing
   */
  take(names: readonly string[]): Variable[];
  /** Whether there is a variable of this name (or at this position). */
  has(names: readonly string[], name: string): boolean;
  /** Those of a part of the layer: `cell`, `layer`, `forward_layer`, `query_dense`. */
  part(name: string, layerName?: string): LayerVariables;
  /** Those of a layer inside of this one. Called once for each layer, in the order of the configuration. */
  layer(name: string, className: string): LayerVariables;
}

/** A parameter from a variable, its axes put in another order. @throws FormatError for a variable of another rank */
export function weight(variable: Variable, rank: number, axes?: readonly number[]): Tensor {
  return nn.parameter(arranged(variable, rank, axes));
}

/** As {@link weight}, without gradient. */
export function statistic(variable: Variable): Tensor {
  return nn.buffer(arranged(variable, 1));
}

export function arranged({ shape, data }: Variable, rank: number, axes?: readonly number[]): Tensor {
  if (shape.length !== rank) {
    throw new FormatError(`a weight has shape [${shape.join(', ')}]`, { op: 'keras', received: shape, expected: `${rank} dimensions` });
  }
  return noGrad(() => {
    const plain = tensor(Float32Array.from(data as ArrayLike<number>, Number), { shape: [...shape] });
    if (axes === undefined) return plain;
    const moved = plain.permute([...axes]).contiguous();
    plain.dispose();
    return moved;
  });
}
