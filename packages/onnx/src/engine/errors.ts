/** Errors of ONNX models. */
import { TriremeError } from 'trireme';

/** What goes wrong with a model as a model; the file itself being damaged is a FormatError. */
export class OnnxError extends TriremeError {}

export interface UnsupportedOperator {
  readonly domain: string;
  readonly opType: string;
  readonly opset: number;
  /** Names of the nodes that use it. */
  readonly nodes: readonly string[];
}

/** The model uses operators that are not there. All of them are listed. */
export class UnsupportedOperatorError extends OnnxError {
  readonly operators: readonly UnsupportedOperator[];
  constructor(operators: readonly UnsupportedOperator[]) {
    const lines = operators.map(({ domain, opType, opset, nodes }) => {
      const shown = nodes.slice(0, 4).join(', ');
      return `${domain === '' ? '' : `${domain}.`}${opType} (version ${opset}) in ${shown}${nodes.length > 4 ? ` and ${nodes.length - 4} more` : ''}`;
    });
    super(`the model uses ${operators.length} operator${operators.length === 1 ? '' : 's'} that are not supported: ${lines.join('; ')}`, {
      op: 'onnx',
      received: operators,
      expected: 'operators of ai.onnx, ai.onnx.ml and the supported ones of com.microsoft',
      fix: 'Give them with `customOps`, or export the model with other operators.',
    });
    this.operators = operators;
  }
}

/** The content of a value was wanted while a program is being recorded, when there are no numbers yet. */
export class DataDependentError extends OnnxError {}
