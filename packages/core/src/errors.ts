/** Typed errors. Each message says what happened, what was expected and how to fix it; the fields carry the values. */

export interface ErrorDetails {
  /** Operation or API that failed, e.g. `matmul`. */
  readonly op?: string;
  /** What was received, for programs that handle the error. */
  readonly received?: unknown;
  readonly expected?: string;
  readonly fix?: string;
  readonly cause?: unknown;
}

/** Base of every error Trireme throws on purpose. */
export class TriremeError extends Error {
  readonly details: ErrorDetails;
  /** Path of the layer whose forward failed (`encoder.0.linear`), '' outside modules. */
  layer = '';
  constructor(what: string, details: ErrorDetails = {}) {
    const parts = [details.op ? `${details.op}: ${what}` : what];
    if (details.expected) parts.push(`Expected ${details.expected}.`);
    if (details.fix) parts.push(details.fix);
    super(parts.join(' '), details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.details = details;
  }
  /** Called by each module the error passes through, innermost first. */
  atLayer(name: string): void {
    const before = this.layer;
    this.layer = before ? `${name}.${before}` : name;
    this.message = before ? this.message.replace(`[in ${before}]`, `[in ${this.layer}]`) : `${this.message} [in ${this.layer}]`;
  }
}

/** Shapes or axes that do not fit the operation. */
export class ShapeError extends TriremeError {}
/** An element type the operation does not accept. */
export class DTypeError extends TriremeError {}
/** An argument outside its domain. */
export class ArgumentError extends TriremeError {}
/** A freed tensor was used, or a tensor from a finished trace. */
export class LifetimeError extends TriremeError {}
/** The CPU heap (or a device's memory) is exhausted. The message lists the largest holders. */
export class OutOfMemoryError extends TriremeError {}
/** A value was read, or control flow depended on it, while a function was being traced. */
export class TraceError extends TriremeError {}
/** backward() / grad() misuse. */
export class AutogradError extends TriremeError {}
/** The kernel IR or a Program broke one of its own rules (a bug in Trireme). */
export class CompilerError extends TriremeError {}
/** A file that is malformed, truncated or over its limits. */
export class FormatError extends TriremeError {}
/** The environment lacks what was asked for (threads, GPU, file system). */
export class EnvironmentError extends TriremeError {}
/** A worker failed while running a kernel. */
export class WorkerError extends TriremeError {}
